"""The figures of pictures, for observations with two features: points in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyro_mfcvae.figures.latents import cluster_colors, number_apart
from pyro_mfcvae.figures.pictures import Chosen, cluster_members, cluster_order, typical_label

Array = NDArray[np.floating]

_PANEL, _ALONE = 2.1, 4.5  # inches, of one among several and of the only one
_N_COLUMNS = 5
_SIMILAR = 4.0  # ratio of the features' ranges up to which they have one scale
_FURTHEST = 3.0  # ranges of the ground that a window goes beyond it on each side, at most


@dataclass(frozen=True, eq=False)
class PointFigures:
    """Scatter plots that stand in for grids of pictures, method by method.

    A method takes what the function of its name in :mod:`pyro_mfcvae.figures` takes. Where that has
    a row of pictures, there is a panel, with other observations in grey behind it.

    Attributes:
        ground: the observations in grey, (N, 2), like all points with values in [0, 1].
        low: what 0 stands for.
        high: what 1 stands for.
    """

    ground: Array
    low: float = 0.0
    high: float = 1.0

    def cluster_examples(
        self,
        x: Chosen,
        responsibilities: Array,
        n_clusters: int | None = 10,
        n_examples: int = 10,
        title: str = "",
    ) -> Figure:
        """The members of each cluster, and in black the surest ones."""
        order = cluster_order(responsibilities)[:n_clusters]
        names = [typical_label(responsibilities, k) for k in order]
        chosen = [x[cluster_members(responsibilities, k)] for k in order]
        figure, panels = self._panels(names, title, chosen)
        for axes, points, color in zip(panels, chosen, cluster_colors(len(order)), strict=True):
            members = self._at(points)
            axes.scatter(*members.T, s=4, color=color, lw=0)
            axes.scatter(*members[:n_examples].T, s=9, color="black", lw=0)
        return figure

    def cluster_samples(self, pictures: Array, clusters: Sequence[int], title: str = "") -> Figure:
        """Points drawn from each cluster."""
        return self._sampled(list(pictures), [f"cluster {k}" for k in clusters], title)

    def facet_samples(
        self,
        pictures: Sequence[Array],
        clusters: Sequence[Sequence[int]],
        facets: Sequence[int],
        title: str = "",
    ) -> Figure:
        """Points drawn from each cluster of several facets."""
        names = [
            f"facet {j}, cluster {k}"
            for j, chosen in zip(facets, clusters, strict=True)
            for k in chosen
        ]
        return self._sampled([points for of_facet in pictures for points in of_facet], names, title)

    def reconstructions(self, x: Array, x_mean: Array, title: str = "") -> Figure:
        """Observations, and a line from each to its reconstruction."""
        figure, (axes,) = self._panels([""], title, [(x, x_mean)])
        self._moves(axes, x, x_mean, "C0")
        return figure

    def swaps(self, x: Array, donors: Array, swapped: Array, title: str = "") -> Figure:
        """For each donor, which is a star, lines from observations to what becomes of them."""
        names = [f"donor {m}" for m in range(len(donors))]
        drawn = [(x, swapped[:, m], donor) for m, donor in enumerate(donors)]
        figure, panels = self._panels(names, title, drawn)
        for m, (axes, donor) in enumerate(zip(panels, donors, strict=True)):
            self._moves(axes, x, swapped[:, m], "C0")
            axes.plot(*self._at(donor), "*", color="black", ms=11, mec="white")
        return figure

    def swapped_pairs(self, inputs: Array, swapped: Array, title: str = "") -> Figure:
        """For each pair, lines from both observations to what becomes of them."""
        names = [f"pair {i}" for i in range(len(inputs))]
        figure, panels = self._panels(names, title, list(zip(inputs, swapped, strict=True)))
        for axes, pair, moved in zip(panels, inputs, swapped, strict=True):
            for i, color in enumerate(("C0", "C1")):
                self._moves(axes, pair[i : i + 1], moved[i : i + 1], color)
        return figure

    def traversal(
        self,
        pictures: Array,
        offsets: Sequence[float],
        labels: Sequence[str],
        title: str = "",
        inputs: Sequence[Array | None] = (),
    ) -> Figure:
        """A line for each row, its first and last offset written beside it; stars are inputs.

        An input that is None is the same as in the row before.
        """
        stars: list[tuple[Array, ...]] = []  # none, or one for each row
        for _, given in zip_longest(pictures, inputs):
            stars.append((stars[-1] if stars else ()) if given is None else (given,))
        drawn = [(path, *star) for path, star in zip(pictures, stars, strict=True)]
        figure, panels = self._panels(labels, title, drawn)
        ends = [f"{offset:+g} sd" for offset in (offsets[0], offsets[-1])]
        for axes, path, star in zip(panels, pictures, stars, strict=True):
            self._path(axes, path, ends)
            for point in star:
                axes.plot(*self._at(point), "*", color="black", ms=11, mec="white")
        return figure

    def interpolation(
        self, start: Array, end: Array, pictures: Array, labels: Sequence[str], title: str = ""
    ) -> Figure:
        """A line for each pair of observations, which are stars."""
        drawn = list(zip(pictures, start, end, strict=True))
        figure, panels = self._panels(labels, title, drawn)
        for axes, path, *pair in zip(panels, pictures, start, end, strict=True):
            self._path(axes, path, ("from", "to"))
            axes.plot(*self._at(np.stack(pair)).T, "*", color="black", ms=11, mec="white", ls="")
        return figure

    def cluster_mean_grid(
        self, pictures: Array, clusters: Sequence[int], title: str = ""
    ) -> Figure:
        """The means of clusters, with their numbers where there is room."""
        figure, (axes,) = self._panels([""], title, [pictures])
        self._numbered(axes, pictures, clusters)
        return figure

    def cluster_mean_matrix(
        self, pictures: Array, rows: Sequence[int], columns: Sequence[int], title: str = ""
    ) -> Figure:
        """For each cluster in the rows, the means of pairs with the numbered ones in columns."""
        figure, panels = self._panels([f"row {k}" for k in rows], title, pictures)
        for axes, points in zip(panels, pictures, strict=True):
            self._numbered(axes, points, columns)
        return figure

    def _sampled(self, drawn: Sequence[Array], names: Sequence[str], title: str) -> Figure:
        figure, panels = self._panels(names, title, drawn)
        for axes, points, color in zip(panels, drawn, cluster_colors(len(names)), strict=True):
            axes.scatter(*self._at(points).T, s=4, color=color, lw=0)
        return figure

    def _panels(
        self, names: Sequence[str], title: str, drawn: Sequence[Sequence[Array]]
    ) -> tuple[Figure, list[Axes]]:
        """A figure with a panel for each name, all of the same window, with the ground in it.

        Args:
            names: of the panels.
            title: of the figure.
            drawn: what each panel is for, (2,) or (n, 2) each; where some of it lies outside the
                window, the panel says how much.
        """
        points = [self._at(np.vstack([np.empty((0, 2)), *panel])) for panel in drawn]
        low, high = self._window(np.concatenate(points))
        n_columns = min(len(names), _N_COLUMNS)
        n_rows = -(-len(names) // n_columns)
        panel = _PANEL if len(names) > 1 else _ALONE
        size = (max(panel * n_columns + 0.5, 5.0), panel * n_rows + 0.7)
        figure = Figure(figsize=size, layout="constrained")
        grid = figure.subplots(n_rows, n_columns, sharex=True, sharey=True, squeeze=False)
        panels = list(grid.flat)
        for axes in panels[len(names) :]:
            axes.remove()
        panels = panels[: len(names)]
        for axes, name, of_panel in zip(panels, names, points, strict=True):
            self._prepare(axes, low, high)
            axes.set_title(name, fontsize=8)
            inside = ((of_panel >= low) & (of_panel <= high)).all(1)
            if not inside.all():
                axes.text(
                    0.98,
                    0.02,
                    f"{(~inside).sum()} outside",
                    fontsize=6,
                    ha="right",
                    transform=axes.transAxes,
                )
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
        ground = self._at(self.ground)
        low, high = ground.min(0), ground.max(0)
        span = high - low
        span = np.where(span > 0, span, span.max() or self.high - self.low)
        seen = drawn[np.isfinite(drawn).all(1)]
        near = seen.clip(low - _FURTHEST * span, high + _FURTHEST * span)
        both = np.concatenate([ground, near])
        return both.min(0) - 0.1 * span, both.max(0) + 0.1 * span

    def _prepare(self, axes: Axes, low: Array, high: Array) -> None:
        """Draw the ground in a window."""
        ground = self._at(self.ground)
        size = np.clip(3000 / len(ground), 2, 12)
        axes.scatter(*ground.T, s=size, color="0.85", lw=0, zorder=0)
        axes.set_xlim(low[0], high[0])
        axes.set_ylim(low[1], high[1])
        if (high - low).max() < _SIMILAR * (high - low).min():
            axes.set_aspect("equal")
        axes.tick_params(labelsize=7)

    def _at(self, points: Array) -> Array:
        """Points where they lie in the data's own range."""
        return self.low + (self.high - self.low) * np.asarray(points)

    def _moves(self, axes: Axes, start: Array, end: Array, color: str) -> None:
        """Rings at observations, dots at what became of them, and lines between."""
        start, end = self._at(start), self._at(end)
        axes.scatter(*start.T, s=14, facecolors="none", edgecolors="black", lw=0.6)
        axes.scatter(*end.T, s=9, color=color, lw=0)
        for a, b in zip(start, end, strict=True):
            axes.plot(*np.stack([a, b]).T, color=color, lw=0.6, alpha=0.7)

    def _path(self, axes: Axes, points: Array, ends: Sequence[str]) -> None:
        """A line through points from dark to bright, with a word at both ends."""
        points = self._at(points)
        colors = mpl.colormaps["viridis"](np.linspace(0, 0.85, len(points)))
        axes.plot(*points.T, color="0.5", lw=0.8)
        axes.scatter(*points.T, s=12, color=colors, lw=0, zorder=3)
        for point, word in zip((points[0], points[-1]), ends, strict=True):
            axes.annotate(word, point, (3, 3), textcoords="offset points", fontsize=6)

    def _numbered(self, axes: Axes, points: Array, numbers: Sequence[int]) -> None:
        points = self._at(points)
        axes.scatter(*points.T, s=12, color="C0", lw=0)
        room = np.array([0.05, 0.04]) * [np.ptp(axes.get_xlim()), np.ptp(axes.get_ylim())]
        number_apart(axes, numbers, points, room)
