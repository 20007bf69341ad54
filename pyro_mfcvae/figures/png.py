"""Figures as PNG files: of any size in inches, but of bounded size in pixels."""

from __future__ import annotations

import io
import math
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

DPI = 130
_LONGEST = 12_000  # pixels of a side; WebP, which pages use, ends at 16,383
_MOST = 40e6  # pixels


def as_png(figure: Figure, details: str = "") -> bytes:
    """A figure as PNG, at 130 dots per inch, or as many as its largest size leaves.

    A letter that the font lacks is drawn as a box.

    Args:
        figure: to be drawn.
        details: on what it shows, for captions; kept in the file.
    """
    width, height = figure.get_size_inches()
    dpi = min(DPI, _LONGEST / max(width, height), math.sqrt(_MOST / (width * height)))
    content = io.BytesIO()
    metadata = {"Description": details} if details else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        figure.savefig(content, format="png", dpi=dpi, metadata=metadata)
    return content.getvalue()
