"""Marks that several figures share: colours, ellipses, numbers, lines of one point."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.floating]


def panel_grid(
    n: int, n_columns: int, size: tuple[float, float], margin: tuple[float, float], **shared: Any
) -> tuple[Figure, list[Axes]]:
    """A figure with n panels in rows, the places behind the last one left empty.

    Args:
        n: panels, one at least.
        n_columns: at most.
        size: width and height of each, in inches.
        margin: what is added to the width and the height of all.
        **shared: what ``Figure.subplots`` shares between the panels.
    """
    from matplotlib.figure import Figure

    n_columns = min(n, n_columns)
    n_rows = -(-n // n_columns)
    width, height = margin[0] + size[0] * n_columns, margin[1] + size[1] * n_rows
    figure = Figure(figsize=(width, height), layout="constrained")
    panels = list(figure.subplots(n_rows, n_columns, squeeze=False, **shared).flat)
    for axes in panels[n:]:
        axes.remove()
    return figure, panels[:n]


def class_colors(n: int) -> Array:
    """Distinct colours for n classes, (n, 3); along a rainbow where there are more than ten."""
    import matplotlib as mpl

    if n <= 10:
        return np.array(cast(Any, mpl.colormaps["tab10"]).colors)[:n]
    return mpl.colormaps["turbo"](np.linspace(0.03, 0.97, n))[:, :3]


def cluster_colors(n: int) -> Array:
    """Colours for n clusters, (n, 3), those of neighbours in the list far apart."""
    import matplotlib as mpl
    from matplotlib.colors import hsv_to_rgb

    if n <= 10:
        return np.array(cast(Any, mpl.colormaps["tab10"]).colors)[:n]
    k = np.arange(n)
    hue = k * 0.618 % 1
    saturation, value = np.choose(k % 2, (0.85, 0.5)), np.choose(k // 2 % 2, (0.85, 0.65))
    return hsv_to_rgb(np.stack([hue, saturation, value], axis=1))


def draw_ellipse(axes: Axes, mean: Array, covariance: Array, color: str | Array) -> None:
    """An ellipse at one standard deviation around the mean (2,), of a covariance (2, 2)."""
    from matplotlib.patches import Ellipse

    variances, directions = np.linalg.eigh(covariance)
    width, height = 2 * np.sqrt(np.clip(variances, 0, None))
    angle = np.degrees(np.arctan2(directions[1, 0], directions[0, 0]))
    style = {"fill": False, "edgecolor": color, "lw": 0.8}
    axes.add_patch(Ellipse((mean[0], mean[1]), width, height, angle=angle, **style))


def name_apart(axes: Axes, names: Sequence[str], points: Array, room: Array) -> None:
    """Write names beside points (n, 2), the first ones first, where others leave room (2,)."""
    from matplotlib import patheffects

    outline = [patheffects.withStroke(linewidth=1.5, foreground="white")]
    style: dict[str, Any] = {"textcoords": "offset points", "fontsize": 7, "path_effects": outline}
    written: list[Array] = []
    for name, point in zip(names, points, strict=True):
        if all((np.abs(point - other) > room).any() for other in written):
            axes.annotate(name, point, (2, 2), **style)
            written.append(point)


def mark_single_points(axes: Axes) -> None:
    """Give a marker to every line through one point, which would draw nothing."""
    for line in axes.lines:
        if len(np.asarray(line.get_xdata())) == 1 and line.get_marker() in ("None", None, ""):
            line.set_marker("o")
