"""3D Shapes, from its published file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Annotated

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor

from pyro_mfcvae.data.arrays import Layout
from pyro_mfcvae.data.folders import data_folder
from pyro_mfcvae.data.hdf5 import Hdf5Rows, list_arrays
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.pictures import Size
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.scenes import HUES, ORIENTATIONS_DEGREES, SCALES, SHAPE_NAMES
from pyro_mfcvae.data.shapes import factor_grid, factor_labels
from pyro_mfcvae.errors import DataError

FILE = "3dshapes.h5"
SOURCE = (
    "https://console.cloud.google.com/storage/browser/3d-shapes "
    "(described at https://github.com/google-deepmind/3d-shapes)"
)
PUBLISHED_SIZE = 64
FACTOR_VALUES = MappingProxyType(
    {
        "floor_hue": HUES,
        "wall_hue": HUES,
        "object_hue": HUES,
        "scale": SCALES,
        "shape": np.arange(len(SHAPE_NAMES)),
        "orientation": ORIENTATIONS_DEGREES,
    }
)
Fraction = Annotated[float, Field(gt=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32, strict=True)]  # of numpy's RandomState
_TOLERANCE = 0.01  # of a factor's values, in units of their spacing
_ROWS_AT_ONCE = 1000


@register_dataset("shapes3d")
def shapes3d(
    data_dir: str | None = None,
    factors: Mapping[str, Sequence[int]] | None = None,
    size: Size = 32,
    test_fraction: Fraction = 0.2,
    split_seed: Seed = 0,
) -> Dataset:
    """The published scenes of 3D Shapes (C. Burgess and H. Kim, 2018), all or a part of the grid.

    Pictures, their order and the split are those of the MFCVAE paper's own code: rows in the
    order of the file, resized bilinearly (64 to 32 pixels: the mean of 2 x 2, halves rounded up),
    and a share of them drawn for training by numpy's ``RandomState``.

    Args:
        data_dir: folder that holds ``3dshapes.h5`` or ``Shapes3D/3dshapes.h5``; None takes
            MFCVAE_DATA, or ``data`` in the working folder.
        factors: {factor: indices of its values}; a factor left out takes all of its values.
            None takes all 480,000 scenes, 1.5 GB at 32 pixels.
        size: height and width of the pictures in pixels.
        test_fraction: share of the scenes that is held out.
        split_seed: seed of the random split.

    Returns:
        pictures, uint8 (N, 3, size, size), with one label per factor that varies.

    Raises:
        DataError: if the file is missing, damaged, or holds something else.
        ConfigError: if a factor's indices are out of range.
    """
    grid = factor_grid(factors or {})
    path = _find(data_folder(data_dir))
    with _from_source():
        images, labels = _arrays(path)
        indices = _factor_indices(labels, path)
    chosen = [np.isin(indices[:, i], wanted) for i, wanted in enumerate(grid.values())]
    rows = np.flatnonzero(np.logical_and.reduce(chosen))
    if len(rows) == 0:
        raise DataError(f"{path}: none of its {len(indices)} pictures has the factors {grid}")
    x = torch.empty((len(rows), 3, size, size), dtype=torch.uint8)
    n = max(_ROWS_AT_ONCE, 4 * images.chunk_rows)  # few chunks are unpacked twice
    for start in range(0, len(rows), n):
        with _from_source():
            read = images.read(rows[start : start + n])
        for i, pictures in enumerate(read.split(100)):  # few enough for the processor's cache
            first = start + 100 * i
            x[first : first + len(pictures)] = _resize(pictures, size)
    train, test = _published_split(len(rows), test_fraction, split_seed)
    return Dataset("shapes3d", x, train, test, *factor_labels(grid, indices[rows]))


def _find(folder: Path) -> Path:
    places = [folder / FILE, folder / "Shapes3D" / FILE]
    for path in places:
        if path.is_file():
            return path
    raise DataError(
        f"3D Shapes is neither at {places[0]} nor at {places[1]}. Get {FILE} from {SOURCE}, and "
        "give the folder that holds it with --data-dir or MFCVAE_DATA"
    )


@contextmanager
def _from_source() -> Iterator[None]:
    """Around all that the file may be to blame for."""
    try:
        yield
    except DataError as error:
        raise DataError(f"{error}; get {FILE} anew from {SOURCE}") from error


def _arrays(path: Path) -> tuple[Hdf5Rows, np.ndarray]:
    """The file's images, as rows (64, 64, 3), and its labels, float32 (N, 6)."""
    found, picture = list_arrays(path), (PUBLISHED_SIZE, PUBLISHED_SIZE, 3)
    for name in ("images", "labels"):
        if name not in found:
            raise DataError(
                f"{path}: must hold the data sets 'images' and 'labels', got no {name!r} among "
                f"{sorted(found) or 'nothing'}"
            )
    images, labels = found["images"], found["labels"]
    if images.dtype != np.uint8 or images.shape[1:] != picture:
        raise DataError(
            f"{path}: images must be uint8 of shape (N, {', '.join(map(str, picture))}), got "
            f"{images.dtype} {images.shape}"
        )
    expected = (len(images), len(FACTOR_VALUES))
    if labels.dtype.kind not in "fiu" or labels.shape != expected:
        raise DataError(
            f"{path}: labels must be numbers of shape {expected}, a row for each picture and a "
            f"column for each of {', '.join(FACTOR_VALUES)}, got {labels.dtype} {labels.shape}"
        )
    values = Hdf5Rows(path, {"labels": Layout(expected[1:], torch.float32, False)})
    rows = Hdf5Rows(path, {"images": Layout(picture, torch.uint8, False)})
    return rows, values.read(np.arange(len(values))).numpy()


def _factor_indices(labels: np.ndarray, path: Path) -> np.ndarray:
    """Indices (N, 6) of the factors' values (N, 6)."""
    indices = np.empty(labels.shape, dtype=np.int64)
    for i, (factor, values) in enumerate(FACTOR_VALUES.items()):
        place = (labels[:, i].astype(np.float64) - values[0]) / (values[1] - values[0])
        nearest = np.rint(place).clip(0, len(values) - 1)
        wrong = ~(np.abs(place - nearest) <= _TOLERANCE)  # so that nan is wrong, too
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(
                f"{path}: {factor} must be one of {len(values)} evenly spaced values from "
                f"{values[0]:g} to {values[-1]:g}, got {labels[row, i]:g} in row {row} of labels"
            )
        indices[:, i] = nearest
    return indices


def _resize(pictures: Tensor, size: int) -> Tensor:
    """uint8 (N, 64, 64, 3) -> uint8 (N, 3, size, size)."""
    x = pictures.movedim(-1, 1)
    if size == PUBLISHED_SIZE:
        return x
    return (F.interpolate(x.float(), (size, size), mode="bilinear") + 0.5).floor().to(torch.uint8)


def _published_split(n: int, test_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and held-out part, drawn as the first authors' code does."""
    n_train = int(n * (1 - test_fraction) + 1e-9)  # 1 - 0.9 is a little less than 0.1
    train = np.zeros(n, dtype=bool)
    train[np.random.RandomState(seed).choice(n, n_train, replace=False)] = True
    return torch.from_numpy(np.flatnonzero(train)), torch.from_numpy(np.flatnonzero(~train))
