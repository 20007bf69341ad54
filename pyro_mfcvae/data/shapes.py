"""The default data: rendered scenes of a room, nothing to download."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.config.parts import Whole
from pyro_mfcvae.data.folders import memoise
from pyro_mfcvae.data.observations import Dataset, random_split
from pyro_mfcvae.data.pictures import Size, resize
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.scenes import FACTORS, SHAPE_NAMES, render_scenes
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.registry import unknown

RENDERED_SIZE = 64
_CACHE_VERSION = 1  # counts up when the renderer's pictures change


@register_dataset("shapes")
def shapes(
    size: Size = RENDERED_SIZE,
    factors: Mapping[str, Sequence[int]] | None = None,
    test_fraction: float = 0.2,
    split_seed: Whole = 0,
) -> Dataset:
    """Scenes of a room with one object, in the six factors of 3D Shapes.

    Args:
        size: height and width of the pictures in pixels; 64 x 64 renderings are resized
            bilinearly.
        factors: {factor: indices of its values}; a factor left out takes all of its values.
            None is configuration 1 of the MFCVAE paper: one wall hue and one object hue, all
            else varies, 4,800 scenes.
        test_fraction: share of the scenes that is held out.
        split_seed: seed of the random split.

    Returns:
        pictures, uint8 (N, 3, size, size), with one label per factor that varies.

    Raises:
        ConfigError: if the size or a factor's indices are out of range.
    """
    grid = factor_grid({"wall_hue": [5], "object_hue": [6]} if factors is None else factors)
    indices = np.array(list(itertools.product(*grid.values())))
    pictures = resize(torch.from_numpy(_render(indices)).movedim(-1, 1), size)
    train, test = random_split(len(indices), test_fraction, split_seed)
    return Dataset("shapes", pictures, train, test, *factor_labels(grid, indices))


def factor_grid(factors: Mapping[str, Sequence[int]]) -> dict[str, list[int]]:
    """{factor: sorted indices of its values}, all values of a factor that is not given.

    Raises:
        ConfigError: if a factor is unknown or an index out of range.
    """
    for factor in factors:
        if factor not in FACTORS:
            raise unknown("factor", factor, FACTORS)
    grid = {}
    for factor, n_values in FACTORS.items():
        values = sorted(set(factors.get(factor, range(n_values))))
        if not values or not all(isinstance(v, int) and 0 <= v < n_values for v in values):
            raise ConfigError(
                f"{factor} takes indices from 0 to {n_values - 1}, at least one, got "
                f"{list(factors[factor])}"
            )
        grid[factor] = values
    return grid


def factor_labels(
    grid: Mapping[str, Sequence[int]], indices: np.ndarray
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Labels and class names of the factors that vary.

    The grid is that of :func:`factor_grid`, and gives the order of the columns of the indices
    (N, 6) of the scenes' values.

    Returns:
        {factor: long (N,)}, places in the grid's indices, and {factor: names of its classes}.
    """
    labels, names = {}, {}
    for column, (factor, values) in zip(indices.T, grid.items(), strict=True):
        if len(values) > 1:
            labels[factor] = torch.from_numpy(np.searchsorted(values, column))
            names[factor] = tuple(_value_name(factor, value) for value in values)
    return labels, names


def _value_name(factor: str, value: int) -> str:
    return SHAPE_NAMES[value] if factor == "shape" else f"{factor.replace('_', ' ')} {value}"


def _render(indices: np.ndarray) -> np.ndarray:
    """Renderings (N, 64, 64, 3), uint8, kept in the user's cache folder."""

    def render() -> list[np.ndarray]:
        return [render_scenes(indices, size=RENDERED_SIZE)]

    shape = (len(indices), RENDERED_SIZE, RENDERED_SIZE, 3)
    try:
        return memoise("scenes", [_CACHE_VERSION, indices.tolist()], shape, render)
    except DataError:  # a cache that cannot be written costs seconds, no more
        return render()[0]
