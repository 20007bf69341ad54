"""How every facet agrees with every factor, measure by measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyro_mfcvae.evaluation.measures import find_measure
from pyro_mfcvae.figures.names import readable

_COLORS = "Blues"

# Inches.
_WIDTH = 17.0
_CELL = (0.5, 0.36)
_ROW_LABELS, _GAP = 1.15, 0.25
_MARGIN, _TITLE, _PANEL_TITLE = 0.1, 0.5, 0.3
_LETTER = 0.065
_PANEL_WIDTH = 2.3  # that of the longest measure's name
_LEAST_WIDTH = 5.0


def agreement_matrices(
    matrices: Mapping[str, NDArray[np.floating]],
    factors: Sequence[str],
    n_clusters: Sequence[int],
    title: str = "",
) -> Figure:
    """A heat map for every measure: facets in rows, factors in columns, in percent.

    Args:
        matrices: {measure: (J, F)}, one measure at least, as
            :func:`~pyro_mfcvae.evaluation.agreement_matrices` returns them; nan is left empty.
        factors: names of the F factors.
        n_clusters: K_j of the J facets.
        title: above the panels.

    Raises:
        ValueError: if there is no measure, or a matrix does not have J rows and F columns.
    """
    shape = (len(n_clusters), len(factors))
    wrong = {
        name: np.shape(values) for name, values in matrices.items() if np.shape(values) != shape
    }
    if wrong or not matrices or 0 in shape:
        raise ValueError(f"expected matrices of shape {shape}, at least one, got {wrong}")
    columns = [readable(factor) for factor in factors]
    grid = _grid(len(matrices), shape, columns)
    figure = Figure(figsize=grid.size, layout="none")
    width, height = grid.size
    for i, (measure, values) in enumerate(matrices.items()):
        left, top = grid.corner(i)
        axes = figure.add_axes(
            (
                (left + _ROW_LABELS) / width,
                (top - _PANEL_TITLE - grid.drawn[1]) / height,
                grid.drawn[0] / width,
                grid.drawn[1] / height,
            )
        )
        axes.set_yticks(range(shape[0]), [f"facet {j}, K = {n}" for j, n in enumerate(n_clusters)])
        axes.set_xticks(range(shape[1]), columns, rotation=90 if grid.upright else 0)
        _draw(axes, np.asarray(values))
        figure.text(
            left / width,
            (top - 0.05) / height,
            find_measure(measure).title,
            ha="left",
            va="top",
            fontsize=9,
        )
    figure.text(_MARGIN / width, 1 - 0.22 / height, title, ha="left", va="center", fontsize=10)
    return figure


@dataclass(frozen=True)
class _Grid:
    """Where panels stand, in inches.

    Attributes:
        n_across: panels in a line.
        n_lines: lines of them.
        drawn: width and height of a heat map.
        panel: width and height of a panel, with its title and labels.
        upright: whether the factors' names are too long to lie.
    """

    n_across: int
    n_lines: int
    drawn: tuple[float, float]
    panel: tuple[float, float]
    upright: bool

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the figure."""
        width = _MARGIN + self.n_across * self.panel[0]
        return max(width, _LEAST_WIDTH), _TITLE + self.n_lines * self.panel[1]

    def corner(self, i: int) -> tuple[float, float]:
        """Upper left corner of a panel, from the left and from below."""
        line, column = divmod(i, self.n_across)
        return _MARGIN + column * self.panel[0], self.size[1] - _TITLE - line * self.panel[1]


def _grid(n_panels: int, shape: tuple[int, int], columns: Sequence[str]) -> _Grid:
    drawn = (shape[1] * _CELL[0], shape[0] * _CELL[1])
    longest = max(map(len, columns)) * _LETTER
    upright = longest > _CELL[0]
    names = (longest if upright else 2 * _LETTER) + 0.2
    panel = (max(_ROW_LABELS + drawn[0], _PANEL_WIDTH) + _GAP, _PANEL_TITLE + drawn[1] + names)
    n_lines = -(-n_panels // max(1, int(_WIDTH / panel[0])))
    return _Grid(-(-n_panels // n_lines), n_lines, drawn, panel, upright)


def _draw(axes: Axes, values: NDArray[np.floating]) -> None:
    axes.imshow(values, cmap=_COLORS, vmin=0, vmax=1, aspect="auto", interpolation="nearest")
    axes.tick_params(length=2, pad=2, labelsize=8)
    for (j, f), value in np.ndenumerate(values):
        if np.isnan(value):
            continue
        axes.text(
            f,
            j,
            f"{100 * value:z.1f}",
            ha="center",
            va="center",
            fontsize=8,
            color="white" if value > 0.6 else "black",
        )
