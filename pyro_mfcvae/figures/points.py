"""Observations with two features as points in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from typing_extensions import override

from pyro_mfcvae.figures.canvas import Array, Canvas, Group
from pyro_mfcvae.figures.marks import cluster_colors, name_apart, panel_grid

_PANEL, _ALONE = 2.1, 4.5  # inches, of one among several and of the only one
_N_COLUMNS = 5
_SIMILAR = 4.0  # ratio of the features' ranges up to which they have one scale
_FURTHEST = 3.0  # ranges of the ground that a window goes beyond it on each side, at most


@dataclass(frozen=True, eq=False)
class Points(Canvas):
    """The canvas of points: where pictures have a row there is a panel, with other points in grey.

    Lines lead from observations, which are rings, to what becomes of them, or along a way from dark
    to bright; donors and the ends of ways are stars.

    Attributes:
        ground: the points in grey, (N, 2).
        width: of the data's range, for a window around points that are all the same.
    """

    ground: Array
    width: float = 1.0

    layout: ClassVar[dict[str, str]] = {
        "clusters": "Each cluster has a panel: its members are in colour, the ten surest in black.",
        "samples": "Each cluster has a panel.",
        "swaps": "Each donor has a panel, as a star; lines lead from inputs to what becomes of "
        "them.",
        "traversal": "Each dimension has a panel; the input is a star.",
        "interpolation": "Each pair has a panel; the inputs are stars.",
        "means": "Each row's cluster has a panel; the numbers are those of the columns' clusters.",
        "reconstructions": "Lines lead from rings, the observations, to dots.",
    }
    n_reconstructed = 200
    n_samples = 200
    shows_all_members = True

    @override
    def draw_groups(self, groups: Sequence[Group], title: str, n_marked: int = 0) -> Figure:
        names = [f"{group.panel}, {group.label}".removeprefix(", ") for group in groups]
        points = [group.observations for group in groups]
        figure, panels = self._panels(names, title, points)
        for axes, dots, color in zip(panels, points, cluster_colors(len(names)), strict=True):
            axes.scatter(*dots.T, s=4, color=color, lw=0)
            if n_marked:
                axes.scatter(*dots[:n_marked].T, s=9, color="black", lw=0)
        return figure

    @override
    def draw_moves(
        self,
        start: Array,
        end: Array,
        labels: Sequence[str],
        title: str,
        numbers: Sequence[Sequence[int]] = (),
    ) -> Figure:
        n_sets = len(start)
        names = [" and ".join(map(str, numbered)) for numbered in numbers] or [""] * n_sets
        figure, panels = self._panels(names, title, [*np.concatenate([start, end], 1)])
        for axes, x, moved in zip(panels, start, end, strict=True):
            n_colors = len(x) if n_sets > 1 else 1
            for i in range(n_colors):
                _draw_moves(axes, x[i::n_colors], moved[i::n_colors], f"C{i}")
        return figure

    @override
    def draw_swaps(
        self, x: Array, donors: Array, swapped: Array, title: str, numbers: Sequence[Sequence[int]]
    ) -> Figure:
        names = [f"donor {m}" for m in numbers[1]]
        drawn = [np.stack([*x, *swapped[:, m], donor]) for m, donor in enumerate(donors)]
        figure, panels = self._panels(names, title, drawn)
        for m, (axes, donor) in enumerate(zip(panels, donors, strict=True)):
            _draw_moves(axes, x, swapped[:, m], "C0")
            _draw_stars(axes, donor)
        return figure

    @override
    def draw_paths(
        self,
        pictures: Array,
        labels: Sequence[str],
        heads: Sequence[str],
        title: str,
        start: Array,
        end: Array | None = None,
    ) -> Figure:
        words = (heads[0], heads[-1]) if end is None else ("from", "to")
        starts = start if len(start) == len(pictures) else np.tile(start, (len(pictures), 1))
        stars = np.stack([starts] if end is None else [starts, end], 1)
        figure, panels = self._panels(labels, title, [*np.concatenate([pictures, stars], 1)])
        colors = mpl.colormaps["viridis"](np.linspace(0, 0.85, pictures.shape[1]))
        for axes, path, points in zip(panels, pictures, stars, strict=True):
            axes.plot(*path.T, color="0.5", lw=0.8)
            axes.scatter(*path.T, s=12, color=colors, lw=0, zorder=3)
            for point, word in zip((path[0], path[-1]), words, strict=True):
                axes.annotate(word, point, (3, 3), textcoords="offset points", fontsize=6)
            _draw_stars(axes, points)
        return figure

    @override
    def draw_means(self, pictures: Array, clusters: Sequence[Sequence[str]], title: str) -> Figure:
        names = [f"row {k}" for k in clusters[0]] if len(clusters) > 1 else [""]
        drawn = [*pictures] if len(clusters) > 1 else [pictures]
        figure, panels = self._panels(names, title, drawn)
        for axes, points in zip(panels, drawn, strict=True):
            axes.scatter(*points.T, s=12, color="C0", lw=0)
            room = np.array([0.05, 0.04]) * [np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())]
            name_apart(axes, clusters[-1], points, room)
        return figure

    def _panels(
        self, names: Sequence[str], title: str, drawn: Sequence[Array]
    ) -> tuple[Figure, list[Axes]]:
        """A figure with a panel for each name, all of the same window, with the ground in it.

        Args:
            names: of the panels.
            title: of the figure.
            drawn: what each panel is for, (n, 2); where some of it lies outside the window, the
                panel says how much.
        """
        low, high = self._window(np.concatenate(drawn))
        n_columns = min(len(names), _N_COLUMNS)
        panel = _PANEL if len(names) > 1 else _ALONE
        more = max(0.5, 5.0 - panel * n_columns)
        figure, panels = panel_grid(
            len(names), n_columns, (panel, panel), (more, 0.7), sharex=True, sharey=True
        )
        for axes, name, points in zip(panels, names, drawn, strict=True):
            self._prepare(axes, low, high)
            axes.set_title(name, fontsize=8)
            n_outside = (~((points >= low) & (points <= high)).all(1)).sum()
            if n_outside:
                at: dict[str, Any] = {"fontsize": 6, "ha": "right", "transform": axes.transAxes}
                axes.text(0.98, 0.02, f"{n_outside} outside", **at)
        for axes in panels[-n_columns:]:  # there may be none below
            axes.tick_params(labelbottom=True)
        figure.supxlabel("feature 0", fontsize=8)
        figure.supylabel("feature 1", fontsize=8)
        figure.suptitle(title, fontsize=9, x=0.01, ha="left", wrap=True)
        return figure, panels

    def _window(self, drawn: Array) -> tuple[Array, Array]:
        """Lower left and upper right corner, (2,) each: around the ground, and what is drawn.

        One point that lies far away must not make all others small, so the window goes no further
        than ``_FURTHEST`` times the ground's range beyond it.
        """
        low, high = self.ground.min(0), self.ground.max(0)
        span = high - low
        span = np.where(span > 0, span, span.max() or self.width)
        seen = drawn[np.isfinite(drawn).all(1)]
        near = seen.clip(low - _FURTHEST * span, high + _FURTHEST * span)
        both = np.concatenate([self.ground, near])
        return both.min(0) - 0.1 * span, both.max(0) + 0.1 * span

    def _prepare(self, axes: Axes, low: Array, high: Array) -> None:
        """Draw the ground in a window."""
        size = np.clip(3000 / len(self.ground), 2, 12)
        axes.scatter(*self.ground.T, s=size, color="0.85", lw=0, zorder=0)
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        if (high - low).max() < _SIMILAR * (high - low).min():
            axes.set_aspect("equal")
        axes.tick_params(labelsize=7)


def _draw_moves(axes: Axes, start: Array, end: Array, color: str) -> None:
    """Rings at observations, dots at what becomes of them, and lines between."""
    axes.scatter(*start.T, s=14, facecolors="none", edgecolors="black", lw=0.6)
    axes.scatter(*end.T, s=9, color=color, lw=0)
    for a, b in zip(start, end, strict=True):
        axes.plot(*np.stack([a, b]).T, color=color, lw=0.6, alpha=0.7)


def _draw_stars(axes: Axes, points: Array) -> None:
    axes.plot(*points.T, "*", color="black", ms=11, mec="white")
