"""Heat maps in panels beside and below each other, with names and numbers at a size to be read."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pyro_mfcvae.figures.names import thin

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = "Blues"

# Inches.
_WIDTH, _LEAST_WIDTH = 17.0, 5.0
_TITLE, _LINE = 0.5, 0.17
_GAP, _MARGIN = 0.25, 0.1
_LETTER = 0.063
_LEAST_DRAWN = 0.7


@dataclass(frozen=True, eq=False)
class HeatMap:
    """One panel.

    Attributes:
        title: above it.
        values: from 0 to 1, (R, C).
        rows: names of the R rows.
        columns: names of the C columns; some are left out where there is no room.
        cell: width and height of a value, in inches.
        left: room for the rows' names, in inches.
        write: a value as it stands in its cell; None where there is no room.
        separators: numbers of rows that have a line below.
        least_width: of the panel with its names, in inches.
    """

    title: str
    values: NDArray[np.floating]
    rows: Sequence[str]
    columns: Sequence[str]
    cell: tuple[float, float]
    left: float
    write: Callable[[float], str] | None = None
    separators: Sequence[int] = ()
    least_width: float = 0.0

    @property
    def drawn(self) -> tuple[float, float]:
        """Width and height of the values, in inches."""
        return self.values.shape[1] * self.cell[0], self.values.shape[0] * self.cell[1]

    @property
    def upright(self) -> bool:
        """Whether the columns' names are too long to lie."""
        return max(map(len, self.columns)) * _LETTER > self.cell[0]

    @property
    def above(self) -> float:
        """Room for the title, in inches."""
        return 0.1 + _LINE * len(self.title.splitlines())

    @property
    def width(self) -> float:
        """In inches, with all that is written."""
        return max(self.left + max(self.drawn[0], _LEAST_DRAWN), self.least_width) + _GAP

    @property
    def height(self) -> float:
        """In inches, with all that is written."""
        longest = max(map(len, self.columns)) if self.upright else 2
        return self.above + self.drawn[1] + 0.27 + longest * _LETTER


def draw_heat_maps(panels: Sequence[HeatMap], title: str = "", below: float = 0.0) -> Figure:
    """Panels in as few lines as the width allows, of about the same width.

    Args:
        panels: one at least.
        title: above all.
        below: room that is left at the bottom, in inches.
    """
    from matplotlib.figure import Figure

    lines = _arrange(panels)
    width = max(_LEAST_WIDTH, *(_MARGIN + sum(p.width for p in line) for line in lines))
    height = _TITLE + sum(max(p.height for p in line) for line in lines) + below
    figure = Figure(figsize=(width, height), layout="none")  # type: ignore[arg-type]  # the stubs lack it
    top = height - _TITLE
    for line in lines:
        left = _MARGIN
        for panel in line:
            _draw(figure, panel, left, top)
            left += panel.width
        top -= max(panel.height for panel in line)
    at = (_MARGIN / width, 1 - 0.22 / height)
    figure.text(*at, title, ha="left", va="center", fontsize=10)
    return figure


def _arrange(panels: Sequence[HeatMap]) -> list[list[HeatMap]]:
    """Panels in lines: the narrowest ones of the least number that the width allows."""
    widths = np.cumsum([0.0, *(panel.width for panel in panels)])
    narrower = sorted({b - a for i, a in enumerate(widths) for b in widths[i + 1 :]} | {_WIDTH})
    n_lines = len(_fill(panels, _WIDTH))
    return next(lines for w in narrower if len(lines := _fill(panels, w)) <= n_lines)


def _fill(panels: Sequence[HeatMap], width: float) -> list[list[HeatMap]]:
    lines: list[list[HeatMap]] = [[]]
    for panel in panels:
        if lines[-1] and sum(p.width for p in lines[-1]) + panel.width > width + 1e-9:
            lines.append([])
        lines[-1].append(panel)
    return lines


def _draw(figure: Figure, panel: HeatMap, left: float, top: float) -> None:
    """Draw a panel whose upper left corner lies at (left, top), in inches from below."""
    width, height = figure.get_size_inches()
    box = np.array([left + panel.left, top - panel.above - panel.drawn[1], *panel.drawn])
    axes = figure.add_axes(tuple(box / [width, height, width, height]))
    axes.imshow(panel.values, cmap=COLORS, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    _label(axes, panel)
    for i in panel.separators:
        axes.axhline(i + 0.5, color="0.5", lw=0.5)
    if panel.write is not None:
        style: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "fontsize": 7 if panel.cell[0] < 0.4 else 8,
        }
        for (i, k), value in np.ndenumerate(panel.values):
            if text := panel.write(value):
                axes.text(k, i, text, color="white" if value > 0.6 else "black", **style)
    figure.text(left / width, top / height, panel.title, ha="left", va="top", fontsize=9)


def _label(axes: Axes, panel: HeatMap) -> None:
    points = [72 * size for size in panel.cell]
    axes.set_yticks(range(len(panel.rows)), panel.rows, fontsize=min(8, 0.8 * points[1]))
    size = min(8, max(5, 0.9 * points[0] if panel.upright else 8))
    shown = thin(len(panel.columns), int(len(panel.columns) * points[0] // size) or 1)
    names = [panel.columns[i] for i in shown]
    axes.set_xticks(shown, names, fontsize=size, rotation=90 * panel.upright)
    axes.tick_params(length=2, pad=2)
