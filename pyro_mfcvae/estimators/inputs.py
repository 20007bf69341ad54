"""What an estimator is given, as observations, and what comes out, in the same units."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import validate_data
from torch import Tensor

from pyro_mfcvae.data.arrays import layout_of
from pyro_mfcvae.data.categories import categories_of, codes_of, doubt_of, texts_of
from pyro_mfcvae.errors import DataWarning

Standardize = bool | Literal["together"]

_MOST_NAMED = 3  # columns
_FAR = 1e6  # standard deviations


@dataclass(frozen=True, eq=False)
class Units:
    """How values of X become observations, and back.

    Attributes:
        event: shape of one observation, (features,) or (channels, height, width).
        shift: of every value, or of each column.
        scale: what they are divided by then.
        is_bytes: whether observations stay uint8, which the model sees as values / 255.
    """

    event: tuple[int, ...]
    shift: NDArray[np.float64]
    scale: NDArray[np.float64]
    is_bytes: bool = False

    @classmethod
    def of(
        cls, values: np.ndarray, standardize: Standardize, kept: NDArray[np.bool_] | None = None
    ) -> Units:
        """The units of rows (N, features) or pictures (N, channels, height, width).

        Pictures get values in [0, 1], columns what is asked for.

        Args:
            values: the rows or pictures.
            standardize: what is asked for.
            kept: columns (features,) that stay as they are in any case.

        Raises:
            ValueError: if another thing is asked for.
        """
        if standardize not in (True, False, "together"):
            raise ValueError(f'standardize is True, False or "together", got {standardize!r}')
        event, zero, one = values.shape[1:], np.zeros(1), np.ones(1)
        if values.dtype == np.uint8:
            return cls(event, zero, 255 * one, is_bytes=True)
        if len(event) > 1:
            low, high = float(values.min()), float(values.max())
            return cls(event, zero + low, one * ((high - low) or 1.0))
        if not standardize:
            return cls(event, zero, one)
        mean, var, scale = _moments(values)
        if standardize == "together":
            return cls(event, mean, one * (math.sqrt(var.mean()) or 1.0))
        if kept is not None:
            mean, scale = np.where(kept, 0.0, mean), np.where(kept, 1.0, scale)
        return cls(event, mean, scale)

    def observations(self, values: np.ndarray) -> Tensor:
        """Values (N, *event) as observations, uint8 or float32."""
        if self.is_bytes:
            return torch.from_numpy(np.array(values))
        return torch.from_numpy(((values - self.shift) / self.scale).astype(np.float32))

    def values(self, observations: np.ndarray) -> NDArray[np.float64]:
        """Observations (..., *event) as the model sees them, in the units of X."""
        return observations * self.scale + self.shift


def _moments(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and scale, 1 where a column is constant, of columns (N, features).

    Raises:
        ValueError: if values are too large for their variance to be a number.
    """
    with np.errstate(all="ignore"):
        scaler = StandardScaler().fit(values)
        # Of what is far from zero, such as times, rounding hides how it varies.
        is_far = np.abs(scaler.mean_) > _FAR * np.sqrt(scaler.var_)
        middle = np.where(is_far, np.nanmedian(values, 0), 0.0)
        if is_far.any():
            scaler = StandardScaler().fit(values - middle)
    if not np.isfinite(scaler.var_).all():
        column = int(np.argmin(np.isfinite(scaler.var_)))
        largest = float(np.nanmax(np.abs(values[:, column])))
        raise ValueError(
            f"X has values as large as {largest:.3g} in column {column}, too large to be "
            "standardised; bring it to another unit, or take out what stands for missing values"
        )
    return scaler.mean_ + middle, scaler.var_, scaler.scale_


def read_rows(estimator: Any, X: Any, reset: bool) -> np.ndarray:
    """Rows (N, features), float64, or pictures (N, channels, height, width), uint8 or float64.

    Args:
        estimator: is told the number and the names of features, or holds them against X.
        X: array-like (N, features), whose cells may be missing (NaN), a data frame, whose columns
            of text are categories, or pictures (N, height, width),
            (N, channels, height, width) or (N, height, width, channels).
        reset: whether it is told.

    Raises:
        ValueError: if X is not of this kind, or not like what the estimator was fitted to.
    """
    if isinstance(X, np.ndarray) and X.ndim > 2:
        return _read_pictures(estimator, X, reset)
    values = validate_data(
        estimator,
        _encode_categories(estimator, X, reset),
        reset=reset,
        dtype=np.float64,
        ensure_all_finite=False,
        ensure_min_samples=2 if reset else 1,
    )
    if reset:
        _check_columns(estimator, values)
    takes_missing = reset or estimator.model_.likelihood.takes_missing
    _check_values(estimator, values, np.isinf(values) if takes_missing else ~np.isfinite(values))
    return values


def row_names(X: Any) -> Any:
    """The index of a data frame that has one, else None.

    Warns:
        DataWarning: if several rows have one name.
    """
    frame = as_frame(X)
    names = None if frame is None else nw.maybe_get_index(frame)
    if names is not None and not names.is_unique:
        first = names[names.duplicated()][0]
        warnings.warn(
            f"several rows of X have one name, {first!r} first; with results beside them, joins "
            "multiply these rows: X.reset_index(drop=True) numbers them",
            DataWarning,
            stacklevel=2,
        )
    return names


def as_frame(X: Any) -> nw.DataFrame[Any] | None:
    """X if it is a data frame of pandas, polars or the like, else None."""
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    return frame if isinstance(frame, nw.DataFrame) else None


def _read_pictures(estimator: Any, X: np.ndarray, reset: bool) -> np.ndarray:
    layout = layout_of(X.shape, X.dtype, "X")
    values = layout.observations(X)
    if reset:
        if len(X) < 2:
            raise ValueError(f"expected at least 2 pictures to fit to, got n_samples={len(X)}")
        estimator.n_features_in_ = int(np.prod(layout.event))
        vars(estimator).pop("feature_names_in_", None)
    elif (layout.event, values.dtype == np.uint8) != (
        estimator.units_.event,
        estimator.units_.is_bytes,
    ):
        raise ValueError(
            f"expected pictures {estimator.units_.event} as at fitting, got {layout.event} "
            f"of {values.dtype}"
        )
    if values.dtype != np.uint8 and not np.isfinite(values).all():
        first = int(np.argmin(np.isfinite(values).reshape(len(values), -1).all(1)))
        raise ValueError(f"X has NaN or inf in picture {first}; leave it out")
    return values if values.dtype == np.uint8 else values.astype(np.float64)


def _encode_categories(estimator: Any, X: Any, reset: bool) -> Any:
    """X with the columns of a data frame that are no numbers as codes, NaN where they are missing.

    Raises:
        ValueError: if a column holds other things than text, or categories that fitting has not
            seen.
    """
    if reset:
        estimator.categories_ = {}
    frame = as_frame(X)
    if frame is None:
        return X
    columns = []
    for name, dtype in frame.schema.items():
        if dtype.is_numeric() or isinstance(dtype, (nw.Boolean, nw.Unknown)):
            continue
        if isinstance(dtype, nw.Object) and not any(isinstance(v, str) for v in frame[name]):
            continue  # scikit-learn looks into objects
        where = f"column {name!r}"
        texts = texts_of(frame[name], where)
        if reset:
            if doubt := doubt_of(texts):
                told = f"{where} has {doubt}; it tells little of other rows, so leave it out"
                warnings.warn(told, DataWarning, stacklevel=2)
            estimator.categories_[name] = [*categories_of(texts)]
        codes = codes_of(texts, estimator.categories_.get(name, ()), where)
        columns.append(nw.new_series(name, codes, nw.Float64, backend=frame.implementation))
    return frame.with_columns(*columns).to_native() if columns else X


def _check_columns(estimator: Any, values: np.ndarray) -> None:
    """Refuse columns of rows (N, features) without any value, and warn of those with one only."""
    is_known = ~np.isnan(values)
    if (empty := np.flatnonzero(~is_known.any(0))).size:
        raise ValueError(f"X has no value in {_column(estimator, empty[0])}; leave it out")
    lowest = np.where(is_known, values, np.inf).min(0)
    constant = np.flatnonzero(lowest == np.where(is_known, values, -np.inf).max(0))
    if constant.size:
        names = ", ".join(_column(estimator, i) for i in constant[:_MOST_NAMED])
        rest = constant.size - _MOST_NAMED
        warnings.warn(
            f"X has one value only in {names}{f' and {rest} more' if rest > 0 else ''}, which "
            "tells no rows apart; leave such columns out",
            DataWarning,
            stacklevel=2,
        )


def _check_values(estimator: BaseEstimator, values: np.ndarray, wrong: np.ndarray) -> None:
    if not wrong.any():
        return
    row, column = (int(i) for i in np.argwhere(wrong)[0])
    value = "NaN" if np.isnan(values[row, column]) else "inf"
    where = f"row {row}, {_column(estimator, column)}"
    raise ValueError(
        f"X has {value} in {where} ({int(wrong.sum())} such values in "
        f"{int(wrong.any(1).sum())} rows); leave these rows out, or fill them in "
        "(sklearn.impute.SimpleImputer)"
    )


def _column(estimator: BaseEstimator, number: int) -> str:
    """A column of X by its name, or its number where it has none."""
    names = getattr(estimator, "feature_names_in_", None)
    return f"column {number if names is None else repr(names[number])}"
