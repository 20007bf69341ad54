"""Which classes the members of each cluster have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter
from numpy.typing import NDArray

from pyro_mfcvae.evaluation.accuracies import contingency, normalized_mutual_information
from pyro_mfcvae.figures.names import class_labels, readable, thinned

IntArray = NDArray[np.int64]

_COLORS = "Blues"
_MOST_NUMBERS = (30, 15)  # rows and columns up to which there is room for numbers

# Inches.
_WIDTH = 17.0
_ROW_LABELS, _GAP = 0.8, 0.25
_TITLE, _PANEL_TITLE, _COLOR_BAR = 0.5, 0.4, 0.55
_LETTER = 0.06


@dataclass(frozen=True)
class _Panel:
    """One factor's shares of classes (rows, C), the rows' labels, and where it stands."""

    title: str
    shares: NDArray[np.floating]
    rows: list[str]
    columns: list[str]
    cell: tuple[float, float]

    @property
    def numbered(self) -> bool:
        return _has_numbers(*self.shares.shape)

    @property
    def upright(self) -> bool:
        """Whether the classes' names are too long to lie."""
        return max(map(len, self.columns)) * _LETTER > self.cell[0]

    @property
    def width(self) -> float:
        return _ROW_LABELS + max(self.shares.shape[1] * self.cell[0], 0.7) + _GAP

    @property
    def height(self) -> float:
        longest = max(map(len, self.columns)) if self.upright else 2
        return _PANEL_TITLE + len(self.rows) * self.cell[1] + 0.12 + longest * _LETTER + 0.15


def confusion(
    labels: Mapping[str, IntArray],
    clusters: IntArray,
    class_names: Mapping[str, Sequence[str]],
    title: str = "",
) -> Figure:
    """The share of each class among the members of each of one facet's clusters.

    There is a panel for every factor. Rows are the clusters that have members, sorted by their
    most frequent class, then by their size, falling; a row's label has the cluster's number and
    its number of members n. Columns are classes. Where there is room, the shares are written as
    percentages, zeros left out.

    Args:
        labels: classes (N,) by factor, one factor at least.
        clusters: clusters (N,).
        class_names: names of all of a factor's classes, by factor.
        title: above the panels.
    """
    panels = [
        _panel(factor, np.asarray(classes), clusters, class_names[factor])
        for factor, classes in labels.items()
    ]
    lines = _lines(panels)
    width = max(5.0, *(sum(panel.width for panel in line) for line in lines))
    height = _TITLE + sum(max(p.height for p in line) for line in lines) + _COLOR_BAR
    figure = Figure(figsize=(width, height), layout="none")
    top = height - _TITLE
    for line in lines:
        left = 0.1
        for panel in line:
            _draw(figure, panel, left, top)
            left += panel.width
        top -= max(panel.height for panel in line)
    _color_bar(figure)
    figure.text(0.1 / width, 1 - 0.22 / height, title, ha="left", va="center", fontsize=10)
    return figure


def _has_numbers(n_rows: int, n_columns: int) -> bool:
    return n_rows <= _MOST_NUMBERS[0] and n_columns <= _MOST_NUMBERS[1]


def _panel(
    factor: str, classes: IntArray, clusters: IntArray, class_names: Sequence[str]
) -> _Panel:
    counts = contingency(classes, clusters, n_classes=len(class_names))
    sizes = counts.sum(1)
    order = np.lexsort((-sizes, counts.argmax(1)))
    order = order[sizes[order] > 0]
    n_columns = counts.shape[1]
    cell = (
        0.34 if _has_numbers(len(order), n_columns) else min(0.2, max(0.05, 5 / n_columns)),
        min(0.25, max(0.13, 8 / len(order))),
    )
    nmi = normalized_mutual_information(classes, clusters)
    return _Panel(
        f"{readable(factor)}\nNMI {nmi:.2f}",
        counts[order] / sizes[order, None],
        [f"{k}  n {sizes[k]}" for k in order],
        class_labels(factor, class_names),
        cell,
    )


def _lines(panels: Sequence[_Panel]) -> list[list[_Panel]]:
    """Panels side by side as far as the width allows."""
    lines: list[list[_Panel]] = [[]]
    for panel in panels:
        if lines[-1] and sum(p.width for p in lines[-1]) + panel.width > _WIDTH:
            lines.append([])
        lines[-1].append(panel)
    return lines


def _draw(figure: Figure, panel: _Panel, left: float, top: float) -> None:
    """Draw a panel whose upper left corner lies at (left, top), in inches from below."""
    width, height = figure.get_size_inches()
    n_rows, n_columns = panel.shares.shape
    size = (n_columns * panel.cell[0], n_rows * panel.cell[1])
    axes = figure.add_axes(
        (
            (left + _ROW_LABELS) / width,
            (top - _PANEL_TITLE - size[1]) / height,
            size[0] / width,
            size[1] / height,
        )
    )
    axes.imshow(panel.shares, cmap=_COLORS, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    _label(axes, panel)
    _separate(axes, panel)
    if panel.numbered:
        for (i, k), share in np.ndenumerate(panel.shares):
            if share >= 0.005:
                axes.text(
                    k,
                    i,
                    f"{100 * share:.0f}",
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="white" if share > 0.6 else "black",
                )
    figure.text(left / width, top / height, panel.title, ha="left", va="top", fontsize=9)


def _label(axes: Axes, panel: _Panel) -> None:
    points = [72 * size for size in panel.cell]
    axes.set_yticks(range(len(panel.rows)), panel.rows, fontsize=min(8, 0.8 * points[1]))
    column_size = min(8, max(5, 0.9 * points[0] if panel.upright else 8))
    shown = thinned(len(panel.columns), int(len(panel.columns) * points[0] // column_size) or 1)
    axes.set_xticks(
        shown,
        [panel.columns[i] for i in shown],
        fontsize=column_size,
        rotation=90 if panel.upright else 0,
    )
    axes.tick_params(length=2, pad=2)


def _separate(axes: Axes, panel: _Panel) -> None:
    """A line between clusters that stand for different classes."""
    majority = panel.shares.argmax(1)
    for i in np.flatnonzero(np.diff(majority)):
        axes.axhline(i + 0.5, color="0.5", lw=0.5)


def _color_bar(figure: Figure) -> None:
    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.9 / width, 0.4 / height, 2.4 / width, 0.1 / height))
    figure.colorbar(
        ScalarMappable(Normalize(0, 1), _COLORS),
        cax=axes,
        orientation="horizontal",
        format=PercentFormatter(1),
        ticks=[0, 0.5, 1],
    )
    axes.tick_params(labelsize=7)
    axes.text(
        1.06, 0.5, "of the cluster's members", transform=axes.transAxes, va="center", fontsize=8
    )
