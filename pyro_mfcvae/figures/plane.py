"""Points in the plane and densities over it, in panels of the same window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyro_mfcvae.figures.latents import cluster_colors, one_deviation

Array = NDArray[np.floating]
IntArray = NDArray[np.int64]
Window = tuple[float, float, float, float]

_PANEL = 2.9  # inches


@dataclass(frozen=True, eq=False)
class Plane:
    """One panel: points, a density, or both.

    Attributes:
        title: above it.
        points: (N, 2).
        groups: cluster or class of each point, (N,); None draws all in grey.
        density: on a grid over the window, (G, G), rows from below; None leaves it out.
        means: of mixture components, (K, 2), each with its number.
        covariances: of these, (K, 2, 2), as ellipses of one standard deviation.
        window: left, right, lower and upper end; None fits the points.
    """

    title: str
    points: Array | None = None
    groups: IntArray | None = None
    density: Array | None = None
    means: Array | None = None
    covariances: Array | None = None
    window: Window | None = None


def window_around(points: Array, margin: float = 0.1) -> Window:
    """Left, right, lower and upper end of a square around points (N, 2)."""
    low, high = points.min(0), points.max(0)
    half = (0.5 + margin) * max((high - low).max(), 1e-6)
    center = 0.5 * (low + high)
    return (center[0] - half, center[0] + half, center[1] - half, center[1] + half)


def grid_points(window: Window, n: int) -> Array:
    """Points of an n x n grid over a window, (n * n, 2), row by row from below."""
    x, y = np.linspace(*window[:2], n), np.linspace(*window[2:], n)
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def planes(rows: Sequence[Sequence[Plane | None]], title: str = "", note: str = "") -> Figure:
    """Panels in rows; None leaves a place empty.

    Args:
        rows: of panels.
        title: above all.
        note: below all.

    Raises:
        ValueError: if there is no panel.
    """
    n_columns = max((len(row) for row in rows), default=0)
    if not n_columns:
        raise ValueError("expected panels to draw, got none")
    size = (_PANEL * n_columns, 0.8 + (_PANEL + 0.2) * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for places, row in zip(axes, rows, strict=True):
        for place, plane in zip(places, [*row, *[None] * (n_columns - len(row))], strict=True):
            if plane is None:
                place.remove()
            else:
                _draw(place, plane)
    figure.suptitle(title, fontsize=11)
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    return figure


def _draw(axes: Axes, plane: Plane) -> None:
    if plane.density is not None and plane.window is not None:
        axes.imshow(plane.density, origin="lower", extent=plane.window, cmap="magma", vmin=0)
    if plane.points is not None:
        colors = "0.5"
        if plane.groups is not None:
            colors = cluster_colors(int(plane.groups.max()) + 1)[plane.groups]
        axes.scatter(*plane.points.T, c=colors, s=3, lw=0)
    if plane.means is not None:
        _draw_components(axes, plane)
    if plane.window is not None:
        axes.set_xlim(plane.window[:2])
        axes.set_ylim(plane.window[2:])
    axes.set_aspect("equal", "box" if plane.window is not None else "datalim")
    axes.set_title(plane.title, fontsize=9)
    axes.tick_params(labelsize=7)


def _draw_components(axes: Axes, plane: Plane) -> None:
    color = "black" if plane.density is None else "white"
    if plane.covariances is not None:
        for mean, covariance in zip(plane.means, plane.covariances, strict=True):
            ellipse = one_deviation(mean, covariance)
            ellipse.set(fill=False, edgecolor=color, lw=0.8)
            axes.add_patch(ellipse)
    for k, mean in enumerate(plane.means):
        axes.annotate(str(k), mean, fontsize=7, color=color, ha="center", va="center")
