"""Pictures in rows and columns, with labels: the layout that all figures of pictures share.

Observations come as arrays (*event): pictures have their channels first and are grey unless they
have 3 or 4 channels; those of one row or column, such as spectra, are lines, one per channel; rows
of a table are strips of colour, one cell per feature.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from pyro_mfcvae.figures.names import readable

Array = NDArray[np.floating]
Pair = tuple[float, float]
Limit = float | Array

# All in inches.
_CELL, _STRIP = 0.55, 0.3  # least height of a picture, and of a table's row
_LINE, _LETTER = 0.17, 0.075  # of a title
_KEY_LINE, _KEY_LETTER = 0.13, 0.056
_HEAD, _LABEL_LETTER = 0.16, 0.066  # of the smaller texts
_GAP, _MARGIN = 0.16, 0.1
_KEY = 0.22  # of the line that explains a table's colours
_LEAST_WIDTH = 4.0
_MOST_NAMED, _NAME = 30, 40  # columns of a table, and letters of a name
_NARROWEST, _WIDEST = 0.25, 8.0  # width of a picture, of its height


@dataclass(frozen=True, eq=False)
class Panel:
    """Rows of observations with a label to the left of each.

    Attributes:
        rows: observations (*event) each; rows may differ in length, and None leaves a place empty.
        labels: one for each row.
        heads: above the columns; none leaves no room for them.
        captions: above each observation; none leaves no room for them.
        title: above the panel.
        together: numbers of rows and of columns after each of which there is a gap; 0 for none.
    """

    rows: Sequence[Sequence[Array | None]]
    labels: Sequence[str]
    heads: Sequence[str] = ()
    captions: Sequence[Sequence[str]] = ()
    title: str = ""
    together: tuple[int, int] = (0, 0)

    @property
    def n_columns(self) -> int:
        """Length of the longest row."""
        return max(map(len, self.rows), default=0)

    @property
    def left(self) -> float:
        """Room for the labels, in inches."""
        return 0.15 + _LABEL_LETTER * max(map(len, self.labels), default=0)

    def size(self, cell: Pair) -> Pair:
        """Height and width in inches, without what stands above."""
        bottom, right = self.corner(len(self.rows) - 1, self.n_columns - 1, cell)
        return bottom + cell[0], right + cell[1]

    def corner(self, row: int, column: int, cell: Pair) -> Pair:
        """Upper left corner of a place, in inches from that of the panel."""
        height, width = cell
        gaps = [
            n // m * _GAP if m else 0 for n, m in zip((row, column), self.together, strict=True)
        ]
        if self.captions:
            gaps[0] += (row + 1) * _HEAD
        return row * height + gaps[0], self.left + column * width + gaps[1]


def split_panel(panel: Panel, n_rows: int) -> list[Panel]:
    """The panel as several of about the same height, of at most n_rows rows each."""
    n = len(panel.rows)
    n_panels = max(-(-n // n_rows), 1)
    ends = [round(i * n / n_panels) for i in range(n_panels + 1)]
    return [
        replace(
            panel,
            rows=panel.rows[a:b],
            labels=panel.labels[a:b],
            captions=panel.captions[a:b],
            title=panel.title if a == 0 else "",
        )
        for a, b in pairwise(ends)
    ]


def draw_panels(
    panels: Sequence[Panel],
    title: str = "",
    low: Limit = 0.0,
    high: Limit = 1.0,
    columns: Sequence[str] = (),
) -> Figure:
    """Panels side by side.

    Args:
        panels: at least one, of observations of one shape.
        title: above all; broken into lines where the figure is narrow.
        low: the observations' least value, or that of each feature of a table's row.
        high: the observations' greatest value, likewise.
        columns: names of the features of a table's row, where they have names.

    Raises:
        ValueError: if there is no observation to draw.
    """
    pictures = (p for panel in panels for row in panel.rows for p in row if p is not None)
    example = next(pictures, None)
    if example is None:
        raise ValueError("expected observations to draw, got none")
    cell = _cell_size(example.shape, max(panel.n_columns for panel in panels))
    sizes = [panel.size(cell) for panel in panels]
    width = max(sum(w for _, w in sizes) + _GAP * (len(panels) - 1) + _MARGIN, _LEAST_WIDTH)
    lines = _wrap(title, width)
    titles = [_wrap(panel.title, w) for panel, (_, w) in zip(panels, sizes, strict=True)]
    above = _MARGIN + _LINE * (len(lines) + max(map(len, titles)))
    heads = _HEAD * any(panel.heads for panel in panels) + 0.04
    top = above + heads
    key = textwrap.wrap(_key(example.shape, columns), int((width - 2 * _MARGIN) / _KEY_LETTER))
    below = _MARGIN + (_KEY + _KEY_LINE * (len(key) - 1) if key else 0.0)
    size = (width, top + max(h for h, _ in sizes) + below)
    figure = Figure(figsize=size, layout="none")  # type: ignore[arg-type]  # the stubs lack it
    axes = figure.add_axes((0, 0, 1, 1), xlim=(0, size[0]), ylim=(size[1], 0))
    axes.set_axis_off()
    x = 0.0
    for panel, (_, w), title_lines in zip(panels, sizes, titles, strict=True):
        _draw(panel, axes, (top, x), cell, (low, np.where(high > low, high - low, 1.0)))
        _write(axes, x + panel.left, above, "\n".join(title_lines), 9, va="bottom")
        x += w + _GAP
    _write(axes, _MARGIN, size[1] - 0.06, "\n".join(key), 7, va="bottom")
    _write(axes, _MARGIN, _MARGIN, "\n".join(lines), 10, va="top")
    return figure


def _draw(panel: Panel, axes: Axes, at: Pair, cell: Pair, limits: tuple[Limit, Array]) -> None:
    """Draw a panel, but not its title, with its upper left corner there.

    Limits are the least value and the width of the range.
    """
    (top, left), (height, width), (low, extent) = at, cell, limits
    for i, row in enumerate(panel.rows):
        for k, picture in enumerate(row):
            y, x = panel.corner(i, k, cell)
            if picture is not None:
                box = _shrink((left + x, top + y, width, height), 0.04)
                shares = (picture - low) / extent
                if _is_line(picture.shape):
                    _draw_lines(axes, shares.reshape(len(shares), -1), box)
                    continue
                axes.imshow(
                    as_image(shares),
                    cmap="gray",
                    vmin=0,
                    vmax=1,
                    aspect="auto",
                    interpolation="nearest",
                    extent=(box[0], box[0] + box[2], box[1] + box[3], box[1]),
                )
        y, _ = panel.corner(i, 0, cell)
        _write(axes, left + panel.left - 0.06, top + y + height / 2, panel.labels[i], 8, "right")
    for k, head in enumerate(panel.heads):
        y, x = panel.corner(0, k, cell)
        _write(axes, left + x + width / 2, top - 0.03, head, 8, "center", "bottom")
    for i, captions in enumerate(panel.captions):
        for k, caption in enumerate(captions):
            y, x = panel.corner(i, k, cell)
            _write(axes, left + x + width / 2, top + y - 0.005, caption, 7, "center", "bottom")


def _is_line(event: tuple[int, ...]) -> bool:
    return len(event) == 3 and min(event[1:]) == 1 < max(event[1:])


def _draw_lines(axes: Axes, channels: Array, box: tuple[float, ...]) -> None:
    """Draw channels (C, T) from 0 to 1 as lines in a box of left, top, width and height."""
    x, y, width, height = box
    axes.add_patch(Rectangle((x, y), width, height, color="0.95", lw=0))
    steps = np.linspace(x, x + width, channels.shape[1])
    for k, channel in enumerate(channels):
        axes.plot(steps, y + height * (1 - np.clip(channel, 0, 1)), color=f"C{k}", lw=0.6)


def _write(
    axes: Axes, x: float, y: float, text: str, size: int, ha: str = "left", va: str = "center"
) -> None:
    if text:
        axes.figure.text(x, y, text, transform=axes.transData, fontsize=size, ha=ha, va=va)


def _wrap(title: str, width: float) -> list[str]:
    """Lines of a title that is as wide as this at most, in inches."""
    n_letters = max(int((width - 2 * _MARGIN) / _LETTER), 10)
    return [part for line in title.splitlines() for part in textwrap.wrap(line, n_letters)]


def as_image(picture: Array) -> Array:
    """A picture (C, H, W) or a row (D,) -> (H, W) or (H, W, 3 or 4), clipped to [0, 1]."""
    if picture.ndim == 1:
        return mpl.colormaps["viridis"](np.clip(picture, 0, 1))[None, :, :3]
    if picture.shape[0] not in (3, 4):  # no colours: show the mean of the channels
        return np.clip(picture.mean(0), 0, 1)
    return np.clip(np.moveaxis(picture, 0, -1), 0, 1)


def _key(event: tuple[int, ...], columns: Sequence[str]) -> str:
    """How values are drawn that are no pictures."""
    if _is_line(event):
        return (
            f"lines: values 0 to {max(event[1:]) - 1} from left to right, from the lowest value in "
            "the data to the highest"
        )
    if len(event) > 1:
        return ""
    numbered = f"features 0 to {event[0] - 1}"
    few = len(columns) <= _MOST_NAMED
    named = ", ".join(readable(name, _NAME) for name in columns) if few else ""
    cells = f"cells: {named or numbered}; " if event[0] > 1 else ""
    return f"{cells}blue is the lowest value of a feature in the data, yellow the highest"


def _cell_size(event: tuple[int, ...], n_columns: int) -> Pair:
    """Height and width in inches."""
    if len(event) == 1:
        return _STRIP, max(_CELL, 8 / n_columns)
    if _is_line(event):
        return _CELL, max(2 * _CELL, 8 / n_columns)
    return _CELL, _CELL * min(max(event[2] / event[1], _NARROWEST), _WIDEST)


def _shrink(box: tuple[float, float, float, float], by: float) -> tuple[float, ...]:
    x, y, width, height = box
    return (x + by * width, y + by * height, (1 - 2 * by) * width, (1 - 2 * by) * height)
