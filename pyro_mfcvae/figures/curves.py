"""Curves over training: the ELBO's terms, agreement with labels, and the fade weights."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from typing_extensions import override

from pyro_mfcvae.figures.marks import mark_single_points
from pyro_mfcvae.figures.names import readable
from pyro_mfcvae.figures.registry import RunFigure, register_figure
from pyro_mfcvae.figures.seen import Recorded
from pyro_mfcvae.tables import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Records = Sequence[dict[str, Any]]

_MOST = 1e100  # of a value that is drawn
_FACET = "[0-9]{1,2}"


@register_figure("curves")
class Curves(RunFigure[Recorded]):
    """ELBO, weighted KLs, agreement of each facet's clusters with labels, and fade weights."""

    heading = "Training curves"
    shows = "the ELBO, its terms and the fade weights over the training"
    reads = "metrics"
    section = "training"
    place = 13

    @override
    def fits(self, recorded: Recorded) -> str | None:
        return None if split_records(recorded.metrics, "train") else "there are no log points"

    @override
    def compute(self, recorded: Recorded) -> Recorded:
        return recorded

    @override
    def draw(self, result: Recorded) -> Figure:
        from matplotlib.figure import Figure

        train, test = (split_records(result.metrics, split) for split in ("train", "test"))
        factors = _factors(test)
        heights = [2.6, 2.6, *(1.8 for _ in factors), 1.0]
        size = (9, 0.7 + sum(heights))
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
        _draw_elbo(panels[0], train, test)
        _draw_kl(panels[1], train, result)
        for axes, (j, names) in zip(panels[2:], factors.items(), strict=False):
            _draw_agreement(axes, test, j, names, result)
        _draw_fade(panels[-1], train, result)
        for axes in panels:
            mark_single_points(axes)
            if axes.get_legend_handles_labels()[0]:
                axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8, frameon=False)
            axes.grid(alpha=0.3)
            axes.tick_params(labelsize=8)
        panels[-1].set_xlabel("step", fontsize=9)
        figure.align_ylabels()
        panels[0].set_title(printable(result.name).replace("$", r"\$"), fontsize=10, loc="left")
        return figure


def split_records(records: Records | None, split: str) -> Records:
    """Log points of ``train`` or ``test``."""
    return [record for record in records or () if record["split"] == split]


def drawable(values: Iterable[float]) -> np.ndarray:
    """Values (n,), NaN for those that no figure has room for: a file may hold any number."""
    return np.array([value if abs(value) < _MOST else np.nan for value in values], dtype=float)


def set_limits(axes: Axes, shown: Sequence[np.ndarray], low: float = 0, high: float = 1) -> None:
    """Limits of the height, with a margin, at the lowest and highest of these quantiles."""
    known = [values[~np.isnan(values)] for values in shown]
    known = [values for values in known if len(values)]
    if known:
        bottom = min(np.quantile(values, low, method="lower") for values in known)
        top = max(np.quantile(values, high, method="higher") for values in known)
        size = max(abs(top), abs(bottom))
        differ = top - bottom > max(1e-9 * size, 1 / _MOST)
        margin = 0.08 * (top - bottom) if differ else max(1.0, 0.08 * size)
        axes.set_ylim(bottom - margin, top + margin)


def _series(records: Records, name: str) -> tuple[list[int], np.ndarray]:
    """Steps and values of one quantity."""
    steps = [record["step"] for record in records]
    return steps, drawable(record["values"].get(name, np.nan) for record in records)


def _names(records: Records) -> list[str]:
    """What was measured at any log point."""
    return list(dict.fromkeys(name for record in records for name in record["values"]))


def _draw_elbo(axes: Axes, train: Records, test: Records) -> None:
    shown = []
    for color, (name, label) in enumerate((("elbo", "ELBO"), ("reconstruction", "log p(x | z)"))):
        steps, values = _series(train, name)
        axes.plot(steps, values, color=f"C{color}", label=label)
        shown.append(_after_the_start(steps, values))
        if test:
            steps, values = _series(test, name)
            axes.plot(steps, values, "--", color=f"C{color}", label=f"{label}, held out")
            shown.append(_after_the_start(steps, values))
    set_limits(axes, shown, low=0.02)
    axes.set_ylabel("nats per observation", fontsize=9)


def _draw_kl(axes: Axes, train: Records, recorded: Recorded) -> None:
    shown, names = [np.zeros(1)], _names(train)
    for j in _facets(train):
        raised = f"kl_weight_{j}" in names
        steps, weights = _series(train, f"kl_weight_{j}" if raised else f"fade_{j}")
        for name, style in (("z", "-"), ("c", ":")):
            kl = _series(train, f"kl_{name}_{j}")[1]
            if name == "c" and not np.nan_to_num(kl).any():
                continue  # one cluster only, or c is summed out of the model
            kl = weights * kl
            label = f"KL of {name}, {recorded.facet_title(j)}"
            axes.plot(steps, kl, style, color=f"C{j}", label=label)
            shown.append(_after_the_start(steps, kl))
    set_limits(axes, shown, high=0.98)
    axes.set_ylabel("weight × KL, nats", fontsize=9)


def _draw_fade(axes: Axes, train: Records, recorded: Recorded) -> None:
    for j in _facets(train):
        axes.plot(*_series(train, f"fade_{j}"), color=f"C{j}", label=recorded.facet_title(j))
    axes.set_ylabel("fade weight", fontsize=9)
    axes.set_ylim(-0.08, 1.08)


def _facets(train: Records) -> list[int]:
    found = (re.fullmatch(rf"fade_({_FACET})", name) for name in _names(train))
    return sorted({int(match[1]) for match in found if match})


def _factors(test: Records) -> dict[int, list[str]]:
    """The factors by which each facet was judged."""
    factors: dict[int, list[str]] = {}
    for name in _names(test):
        if match := re.fullmatch(rf"nmi_({_FACET})_(.+)", name):
            factors.setdefault(int(match[1]), []).append(match[2])
    return factors


def _draw_agreement(
    axes: Axes, test: Records, j: int, factors: Sequence[str], recorded: Recorded
) -> None:
    """One line per factor; grey and unnamed beyond those that agree best in the end."""
    import matplotlib as mpl

    series = {factor: _series(test, f"nmi_{j}_{factor}") for factor in factors}
    colors = cast(Any, mpl.colormaps["Dark2"]).colors  # not those of the facets
    best = sorted(factors, key=lambda factor: -series[factor][1][-1])[: len(colors)]
    others = [factor for factor in factors if factor not in best]
    colored = best if others else factors
    for color, factor in zip(colors, colored, strict=False):
        axes.plot(*series[factor], ".-", ms=4, color=color, label=readable(factor))
    for i, factor in enumerate(others):
        label = f"{len(others)} other factors" if i == 0 else None
        axes.plot(*series[factor], color="0.8", lw=0.8, zorder=1, label=label)
    axes.set_ylabel(f"{recorded.facet_title(j)}:\nNMI, held out", fontsize=9)
    axes.set_ylim(-0.04, 1.04)


def _after_the_start(steps: Sequence[int], values: np.ndarray) -> np.ndarray:
    """The values after the first tenth of the steps, where the extremes are."""
    return values[np.asarray(steps) >= 0.1 * steps[-1]]
