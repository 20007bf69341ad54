"""What kind of values each column of a table has, and the likelihood that suits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from pyro_mfcvae.config import Component

_MOST_COUNTED = 20  # the mean of whole numbers above which a normal density serves as well


@dataclass(frozen=True)
class ColumnKind:
    """One column of a table.

    Attributes:
        name: how to call it.
        kind: of likelihood ``columns``.
        loc: where its values lie, on the scale that its kind is modelled on.
        scale: their standard deviation there.
        n_missing: cells without a value.
        reason: why it is of that kind.
    """

    name: str
    kind: str
    loc: float
    scale: float
    n_missing: int
    reason: str


def describe_columns(
    x: Tensor, names: Sequence[str] = (), n_classes: Mapping[int, int] | None = None
) -> list[ColumnKind]:
    """The columns of a table, by what their known values allow.

    Args:
        x: rows (N, D); NaN tells a missing value.
        names: of the columns; none calls them by their positions.
        n_classes: {column: number of its classes} of the categories, whose values count from 0.
    """
    classes = n_classes or {}
    names = names or [str(i) for i in range(x.shape[1])]
    return [_describe(name, x[:, i].double(), classes.get(i)) for i, name in enumerate(names)]


def are_mixed(columns: Sequence[ColumnKind], one_unit: bool = False) -> bool:
    """Whether columns need a likelihood each: some cell is missing, or some are no numbers.

    Args:
        columns: of a table.
        one_unit: they are measured in one unit, so that 0 and 1 are numbers as others are.
    """
    classes = ("categorical",) if one_unit else ("binary", "categorical")
    return any(c.n_missing or c.kind.startswith(classes) for c in columns)


def columns_likelihood(columns: Sequence[ColumnKind], missing: bool) -> Component:
    """Settings of the likelihood that suits such columns, of whose cells some may be missing."""
    return Component(
        name="columns",
        options={
            "kinds": [column.kind for column in columns],
            "loc": [column.loc for column in columns],
            "scale": [column.scale for column in columns],
            "missing": missing,
        },
    )


def _describe(name: str, values: Tensor, n_classes: int | None) -> ColumnKind:
    known = values[~values.isnan()]
    n_missing = len(values) - len(known)
    if n_classes is not None:
        kind, reason = f"categorical:{n_classes}", f"{n_classes} categories"
        return ColumnKind(name, kind, 0.0, 1.0, n_missing, reason)
    if len(known.unique()) < 2:
        loc = known[0].item() if len(known) else 0.0
        return ColumnKind(
            name, "real", loc, 1.0, n_missing, "one value at most, which tells nothing"
        )
    if bool(((known == 0) | (known == 1)).all()):
        return ColumnKind(name, "binary", 0.0, 1.0, n_missing, "only 0 and 1")
    kind, on_its_scale, reason = _number(known)
    return ColumnKind(
        name, kind, on_its_scale.mean().item(), on_its_scale.std().item(), n_missing, reason
    )


def _number(known: Tensor) -> tuple[str, Tensor, str]:
    """The kind of numbers, and the numbers on the scale that they are modelled on."""
    if known.min() == 0 and bool((known == known.round()).all()) and known.mean() <= _MOST_COUNTED:
        return "count", known.log1p(), f"whole numbers from 0, on average {known.mean():.3g}"
    if known.min() > 0 and _skewness(known) > 1 and abs(_skewness(known.log())) < 1:
        return "positive", known.log(), "above 0, and symmetric only on a logarithmic scale"
    return "real", known, f"numbers from {known.min():.4g} to {known.max():.4g}"


def _skewness(values: Tensor) -> float:
    deviations = values - values.mean()
    return (deviations.pow(3).mean() / deviations.pow(2).mean().pow(1.5)).item()
