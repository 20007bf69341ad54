"""Observations as data for a page: pictures on one sheet of tiles, rows as numbers."""

from __future__ import annotations

import base64
import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, features

from pyro_mfcvae.figures.grids import as_image
from pyro_mfcvae.figures.seen import Seen

_WIDEST, _NARROWEST = 48, 8  # pixels of a tile's sides
_QUALITY = 90


def show(seen: Seen, x: np.ndarray, columns: Sequence[int]) -> dict[str, Any]:
    """Observations, or means of p(x | z), (n, *event), as the page's script takes them.

    Args:
        seen: whose observations they are.
        x: real numbers.
        columns: of a table that are shown.

    Returns:
        ``sheet`` of pictures, or ``values`` (n, columns) of rows, None where one is missing.
    """
    if seen.model.observation.kind == "table":
        return {"values": [[short(value) for value in row] for row in x[:, list(columns)]]}
    low, high = seen.model.observation.low, seen.model.observation.high
    shares = (x - low) / ((high - low) or 1.0)
    return {"sheet": _sheet([as_image(picture) for picture in shares])}


def short(value: float) -> float | None:
    """A number to four digits, which JSON has no word for if it is not finite."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def _sheet(pictures: Sequence[np.ndarray]) -> dict[str, Any]:
    """Pictures (H, W) or (H, W, 3 or 4) in rows, with the size of a tile in pixels."""
    height, width = pictures[0].shape[:2]
    scale = min(1.0, _WIDEST / max(height, width))
    size = [max(round(scale * side), _NARROWEST) for side in (width, height)]
    tiles = [Image.fromarray((255 * picture).round().astype(np.uint8)) for picture in pictures]
    mode = "RGBA" if tiles[0].mode == "RGBA" else "RGB"
    n_columns = math.ceil(math.sqrt(len(tiles)))
    n_rows = -(-len(tiles) // n_columns)
    sheet = Image.new(mode, (n_columns * size[0], n_rows * size[1]))
    smooth = Image.Resampling.BOX if scale < 1 else Image.Resampling.NEAREST
    for i, tile in enumerate(tiles):
        at = (i % n_columns * size[0], i // n_columns * size[1])
        sheet.paste(tile.convert(mode).resize((size[0], size[1]), smooth), at)
    kind, file = "webp" if features.check("webp") else "png", BytesIO()
    exactly = {"lossless": scale == 1, "quality": _QUALITY}  # a shrunk picture has lost more
    sheet.save(file, kind, **(exactly if kind == "webp" else {"optimize": True}))
    source = f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"source": source, "width": size[0], "height": size[1], "columns": n_columns}
