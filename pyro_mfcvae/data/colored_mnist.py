"""MNIST digits in colour: three factors with ground truth in one picture."""

from __future__ import annotations

import colorsys
from typing import Annotated, cast

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pyro_mfcvae.config.parts import Whole
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.vision import mnist

# Every foreground stands out against every background, at a contrast ratio (WCAG 2) above 3.
FOREGROUND_SATURATION, FOREGROUND_VALUE = 0.4, 1.0
BACKGROUND_SATURATION, BACKGROUND_VALUE = 1.0, 0.3
MAX_COLORS = 100  # hues that stay distinct in 8 bits
Colors = Annotated[int, Field(ge=1, le=MAX_COLORS, strict=True)]
_ROWS_AT_ONCE = 500


@register_dataset("colored-mnist")
def colored_mnist(
    data_dir: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    n_foregrounds: Colors = 10,
    n_backgrounds: Colors = 10,
    color_seed: Whole = 0,
    download: bool = True,
) -> Dataset:
    """MNIST digits of one colour on a ground of another.

        x = background + (foreground - background) * grey,

    with colours drawn independently of each other and of the digit. Hues are evenly spaced;
    foregrounds are bright and pale, backgrounds dark and saturated. A digit keeps its colours
    whatever n_train and n_test are. These options, data_dir, download and the errors are those of
    ``mnist``.

    Returns:
        pictures, uint8 (N, 3, 28, 28), with the labels ``digit``, ``foreground`` and
        ``background``; a colour that does not vary has no label.
    """
    grey = mnist(data_dir, n_train, n_test, download)
    palettes = {
        "foreground": _palette(n_foregrounds, FOREGROUND_SATURATION, FOREGROUND_VALUE),
        "background": _palette(n_backgrounds, BACKGROUND_SATURATION, BACKGROUND_VALUE),
    }
    labels, names, colors = dict(grey.labels), dict(grey.class_names), []
    for i, (factor, palette) in enumerate(palettes.items()):
        draws = np.concatenate(
            [
                np.random.default_rng([color_seed, i, j]).integers(len(palette), size=len(part))
                for j, part in enumerate((grey.train, grey.test))
            ]
        )
        colors.append(palette[draws])
        if len(palette) > 1:
            labels[factor] = torch.from_numpy(draws)
            names[factor] = tuple(f"#{r:02x}{g:02x}{b:02x}" for r, g, b in palette)
    x = torch.from_numpy(_paint(cast(Tensor, grey.x).numpy(), *colors))
    return Dataset("colored-mnist", x, grey.train, grey.test, labels, names)


def _palette(n_colors: int, saturation: float, value: float) -> np.ndarray:
    """Colours of evenly spaced hues, uint8 (n_colors, 3)."""
    colors = [colorsys.hsv_to_rgb(i / n_colors, saturation, value) for i in range(n_colors)]
    return np.rint(255 * np.array(colors)).astype(np.uint8)


def _paint(grey: np.ndarray, foreground: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Pictures, uint8 (N, 3, H, W), of digits (N, 1, H, W) in colours (N, 3), all uint8."""
    x = np.empty((len(grey), 3, *grey.shape[2:]), dtype=np.uint8)
    for start in range(0, len(grey), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        share = grey[rows].astype(np.uint16)
        front, back = (color[rows, :, None, None] for color in (foreground, background))
        # At most 255 * 255 + 127, which 16 bits hold; 127 makes the division round.
        x[rows] = (front * share + back * (255 - share) + 127) // 255
    return x
