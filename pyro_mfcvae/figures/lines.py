"""Lines that have something to show however few points they go through."""

from __future__ import annotations

from matplotlib.axes import Axes


def mark_single_points(axes: Axes) -> None:
    """Give a marker to every line through one point, which would draw nothing."""
    for line in axes.lines:
        if len(line.get_xdata()) == 1 and line.get_marker() in ("None", None, ""):
            line.set_marker("o")
