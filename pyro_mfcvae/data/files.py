"""The user's own data, from an .npz file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.data.observations import Dataset, random_split
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.errors import DataError

_CHANNELS = (1, 3, 4)
_UNREADABLE = (
    OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error
)  # fmt: skip
_RESERVED = ("x", "x_test", "labels", "labels_test", "label_names")


@register_dataset("file")
def file(path: str, test_fraction: float = 0.2, split_seed: int = 0) -> Dataset:
    """Observations and, if there are any, labels of a person's own.

    The ``.npz`` file holds ``x``: rows (N, features), grey pictures (N, height, width), or
    pictures with 1, 3 or 4 channels first or last; uint8 from 0 to 255, or real numbers. Labels
    are optional: ``labels`` (N,) or (N, factors) with ``label_names`` (factors,), or one array
    (N,) under each factor's own name. ``x_test`` fixes the held-out part, which is else drawn at
    random; its labels are ``labels_test``, or follow those of ``x`` in the same array.

    Args:
        path: of the file.
        test_fraction: share that is held out, without ``x_test``.
        split_seed: seed of the random split.

    Raises:
        DataError: if the file is missing, damaged, or its arrays have other shapes or types.
    """
    arrays = _read(Path(path).expanduser())
    x = observations_from_array(arrays["x"], f"{path}: x")
    n = len(x)
    if "x_test" in arrays:
        x = torch.cat([x, _held_out(arrays["x_test"], x, path)])
        order = torch.arange(len(x))
        train, test = order[:n], order[n:]
    else:
        train, test = random_split(n, test_fraction, split_seed)
    labels, names = _labels(arrays, len(x), path)
    return Dataset(Path(path).stem, x, train, test, labels, names)


def _held_out(array: np.ndarray, x: Tensor, path: str) -> Tensor:
    x_test = observations_from_array(array, f"{path}: x_test")
    if x_test.shape[1:] != x.shape[1:] or x_test.dtype != x.dtype:
        raise DataError(
            f"{path}: x_test must be like x, {x.dtype} of shape (N, *{tuple(x.shape[1:])}), got "
            f"{x_test.dtype} {tuple(x_test.shape)}"
        )
    return x_test


def observations_from_array(array: np.ndarray, what: str) -> Tensor:
    """Rows or pictures as uint8 or float32, channels first.

    Raises:
        DataError: if the array has another number of dimensions or a type that is no number.
    """
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * 255
    if array.dtype != np.uint8:
        if not (np.issubdtype(array.dtype, np.floating) or np.issubdtype(array.dtype, np.integer)):
            raise DataError(f"{what} must hold numbers, got dtype {array.dtype}")
        array = array.astype(np.float32)
    if array.ndim not in (2, 3, 4) or 0 in array.shape:
        raise DataError(
            f"{what} must be rows (N, features), grey pictures (N, height, width) or pictures with "
            f"channels (N, channels, height, width), none empty, got shape {array.shape}"
        )
    x = torch.from_numpy(np.ascontiguousarray(array))
    if x.dim() == 2:
        return x
    if x.dim() == 3:
        return x.unsqueeze(1)
    first, last = x.shape[1] in _CHANNELS, x.shape[-1] in _CHANNELS
    if last and (not first or x.shape[1] == x.shape[2]):  # (N, 4, 4, 3) is square, channels last
        return x.movedim(-1, 1).contiguous()
    if first:
        return x
    raise DataError(
        f"{what} has shape {tuple(x.shape)}: pictures need 1, 3 or 4 channels in the second or the "
        "last place"
    )


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix != ".npz":
        raise DataError(f"{path}: only .npz files can be read, write one with numpy.savez")
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise ValueError("it holds a single array, as .npy does")
        with opened as archive:
            arrays = {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as .npz ({error})") from error
    if "x" not in arrays:
        raise DataError(
            f"{path}: holds no array 'x' of observations, only {sorted(arrays) or 'nothing'}"
        )
    return arrays


def _labels(
    arrays: dict[str, np.ndarray], n: int, path: str
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Each factor's classes counted from 0, and the classes' names."""
    columns = {name: array for name, array in arrays.items() if name not in _RESERVED}
    if "labels" in arrays:
        table = _table(arrays["labels"], f"{path}: labels")
        if "labels_test" in arrays:
            test = _table(arrays["labels_test"], f"{path}: labels_test")
            if test.shape[1] != table.shape[1]:
                raise DataError(
                    f"{path}: labels_test must have the {table.shape[1]} columns of labels, got "
                    f"{test.shape[1]}"
                )
            table = np.concatenate([table, test])
        default = np.array([f"label_{i}" for i in range(table.shape[1])])
        given = arrays.get("label_names", default)
        if given.shape != (table.shape[1],):
            raise DataError(
                f"{path}: label_names needs one name per column of labels ({table.shape[1]}), got "
                f"shape {given.shape}"
            )
        columns |= {str(name): table[:, i] for i, name in enumerate(given)}
    labels, names = {}, {}
    for factor, column in columns.items():
        if column.shape != (n,):
            raise DataError(
                f"{path}: labels {factor!r} must have shape ({n},), one for each observation, got "
                f"{column.shape}"
            )
        if np.issubdtype(column.dtype, np.floating) and not (column == np.round(column)).all():
            raise DataError(
                f"{path}: labels {factor!r} must be classes (whole numbers or text), got real "
                "numbers; give them as part of x, or leave them out"
            )
        values, classes = np.unique(column, return_inverse=True)
        labels[factor] = torch.from_numpy(classes.astype(np.int64))
        names[factor] = tuple(str(value) for value in values)
    return labels, names


def _table(array: np.ndarray, what: str) -> np.ndarray:
    """Labels (M,) or (M, factors) as (M, factors)."""
    if array.ndim not in (1, 2):
        raise DataError(f"{what} must have shape (N,) or (N, factors), got {array.shape}")
    return array.reshape(len(array), -1)
