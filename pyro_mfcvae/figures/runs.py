"""Curves of several runs over each other, from their log points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from typing_extensions import override

from pyro_mfcvae.evaluation.results import log_name, logged_factors
from pyro_mfcvae.figures.curves import Records, drawable, set_limits
from pyro_mfcvae.figures.marks import mark_single_points, panel_grid
from pyro_mfcvae.figures.names import readable
from pyro_mfcvae.figures.registry import RunFigure, register_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

_STYLES = ("-", "--", ":", "-.")  # of facets
_N_PANELS = 6
_MEASURE = "majority_accuracy"


@dataclass(frozen=True, eq=False)
class Line:
    """One quantity of one run over its epochs.

    Attributes:
        label: in the legend.
        epochs: with fractions, (n,).
        values: (n,).
        color: number of the run.
        style: of the line.
    """

    label: str
    epochs: np.ndarray
    values: np.ndarray
    color: int
    style: str


Lines = Mapping[str, Sequence[Line]]  # by title of a panel


class OverEpochs(RunFigure[Lines]):
    """Lines of several runs, given as log points by their names."""

    per = ()
    reads = "runs"
    section = "training"

    @override
    def fits(self, runs: Mapping[str, Records]) -> str | None:
        return None if any(self.compute(runs).values()) else "no run has such log points"


@register_figure("elbo-of-runs")
class ElboOfRuns(OverEpochs):
    """The ELBO of each run while it trained, and dashed that of held-out observations."""

    heading = "ELBO over epochs"
    shows = "the ELBO of each run while it trained, and dashed that of held-out observations"
    place = 14

    @override
    def compute(self, runs: Mapping[str, Records]) -> Lines:
        lines = [
            Line(f"{readable(name, 40)}{what}", *_series(records, split, "elbo"), color, style)
            for color, (name, records) in enumerate(runs.items())
            for split, style, what in (("train", "-", ""), ("test", "--", ", held out"))
        ]
        return {"": [line for line in lines if len(line.values)]}

    @override
    def draw(self, result: Lines) -> Figure:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(9, 4.5), layout="constrained")
        axes = figure.subplots()
        _draw(figure, [axes], result)
        shown = [
            line.values[line.epochs >= 0.1 * line.epochs[-1]]
            for lines in result.values()
            for line in lines
        ]
        set_limits(axes, shown, low=0.02)
        axes.set_ylabel("ELBO, nats per observation")
        return figure


@register_figure("accuracy-of-runs")
class AccuracyOfRuns(OverEpochs):
    """Majority accuracy on held-out observations: a panel per factor, a line per run and facet."""

    heading = "Accuracy over epochs"
    shows = (
        "majority accuracy of each run on held-out observations while it trained, by factor; each "
        "facet has a line style of its own"
    )
    place = 15

    @override
    def compute(self, runs: Mapping[str, Records]) -> Lines:
        panels: dict[str, list[Line]] = {}
        for color, (name, records) in enumerate(runs.items()):
            for j, factor in _logged_agreements(records):
                label = f"{readable(name, 40)}, facet {j}"
                series = _series(records, "test", log_name(_MEASURE, j, factor))
                line = Line(label, *series, color, _STYLES[j % len(_STYLES)])
                panels.setdefault(factor, []).append(line)
        # Those first that some facet of some run tells best in the end.
        best = sorted(panels, key=lambda factor: -max(line.values[-1] for line in panels[factor]))
        return {factor: panels[factor] for factor in best[:_N_PANELS]}

    @override
    def draw(self, result: Lines) -> Figure:
        from matplotlib.ticker import PercentFormatter

        width = 9 / min(2, len(result))
        figure, panels = panel_grid(len(result), 2, (width, 2.9), (0, 0.8), sharey=True)
        _draw(figure, panels, result)
        for axes, factor in zip(panels, result, strict=True):
            axes.set_title(readable(factor), fontsize=10)
            axes.yaxis.set_major_formatter(PercentFormatter(1))
            axes.set_ylim(0, 1.02)
        panels[0].set_ylabel("majority accuracy, held out")
        return figure


def _logged_agreements(records: Records) -> list[tuple[int, str]]:
    """Facets and factors whose agreement was logged."""
    names = {name for record in records if record["split"] == "test" for name in record["values"]}
    return sorted(logged_factors([*names], _MEASURE))


def _series(records: Records, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs, with fractions where the last log point tells how long one is, and values."""
    own = [record for record in records if record["split"] == split and name in record["values"]]
    values = drawable(record["values"][name] for record in own)
    last: dict[str, Any] = records[-1] if records else {"epoch": 0, "step": 0}
    if split == "train" and last["epoch"] and last["step"]:
        epochs_per_step = last["epoch"] / last["step"]
        return np.array([record["step"] * epochs_per_step for record in own]), values
    return np.array([record["epoch"] for record in own], dtype=float), values


def _draw(figure: Figure, panels: Sequence[Axes], result: Lines) -> None:
    """Draw the lines, with one legend for all panels."""
    handles: dict[str, Line2D] = {}
    for axes, lines in zip(panels, result.values(), strict=True):
        for line in lines:
            style: dict[str, Any] = {"color": f"C{line.color % 10}", "lw": 1.2, "label": line.label}
            (drawn,) = axes.plot(line.epochs, line.values, line.style, **style)
            handles.setdefault(line.label, drawn)
        mark_single_points(axes)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    style = {"loc": "outside lower center", "fontsize": 8, "frameon": False, "ncols": 2}
    figure.legend(handles.values(), handles.keys(), **style)
