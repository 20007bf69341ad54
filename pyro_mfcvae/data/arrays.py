"""What arrays of a person's own may be: observations in several layouts, labels of several kinds.

The rules are the same whatever file the arrays lie in.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.errors import DataError

_CHANNELS = (1, 3, 4)
_RESERVED = ("x", "x_test", "labels", "labels_test", "label_names")


class Shaped(Protocol):
    """An array in memory or in a file."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Layout:
    """How an array of rows or pictures becomes observations."""

    event: tuple[int, ...]  # shape of one observation, (features,) or (channels, height, width)
    dtype: torch.dtype  # of observations, uint8 or float32
    channels_last: bool  # whether the array has the channels in its last place

    @property
    def row_bytes(self) -> int:
        """Bytes of one observation in memory."""
        return math.prod(self.event) * self.dtype.itemsize

    def observations(self, array: np.ndarray) -> np.ndarray:
        """Some rows (n, ...) of the array as observations (n, *event), not always contiguous."""
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * 255
        elif array.dtype != np.uint8:
            array = array.astype(np.float32)
        array = np.moveaxis(array, -1, 1) if self.channels_last else array
        return array.reshape(len(array), *self.event)

    def tensor(self, array: np.ndarray) -> Tensor:
        """Some rows (n, ...) of the array as observations (n, *event)."""
        return torch.from_numpy(np.ascontiguousarray(self.observations(array)))


def layout_of(shape: tuple[int, ...], dtype: np.dtype, what: str) -> Layout:
    """The layout of an array of rows (N, features) or pictures, which messages call ``what``.

    Raises:
        DataError: if the array has another number of dimensions or a type that is no number.
    """
    fractions = dtype in (np.uint8, np.bool_)
    if not (fractions or np.issubdtype(dtype, np.floating) or np.issubdtype(dtype, np.integer)):
        raise DataError(f"{what} must hold numbers, got dtype {dtype}")
    if len(shape) not in (2, 3, 4) or 0 in shape:
        raise DataError(
            f"{what} must be rows (N, features), grey pictures (N, height, width) or pictures with "
            f"channels (N, channels, height, width), none empty, got shape {shape}"
        )
    read_as = torch.uint8 if fractions else torch.float32
    if len(shape) < 4:
        return Layout(shape[1:] if len(shape) == 2 else (1, *shape[1:]), read_as, False)
    first, last = shape[1] in _CHANNELS, shape[-1] in _CHANNELS
    if last and (not first or shape[1] == shape[2]):  # (N, 4, 4, 3) is square, channels last
        return Layout((shape[-1], *shape[1:-1]), read_as, True)
    if first:
        return Layout(shape[1:], read_as, False)
    raise DataError(
        f"{what} has shape {shape}: pictures need 1, 3 or 4 channels in the second or the last "
        "place"
    )


def observation_layouts(arrays: Mapping[str, Shaped], path: str) -> dict[str, Layout]:
    """Layouts of a file's array ``x`` and, where there is one, of ``x_test``, which must be equal.

    The arrays are all of the file's by name, read or not.

    Raises:
        DataError: if there is no ``x``, or one of them is not such as it must be.
    """
    if "x" not in arrays:
        raise DataError(
            f"{path}: holds no array 'x' of observations, only {sorted(arrays) or 'nothing'}"
        )
    layouts = {
        name: layout_of(tuple(arrays[name].shape), arrays[name].dtype, f"{path}: {name}")
        for name in ("x", "x_test")
        if name in arrays
    }
    x, x_test = layouts["x"], layouts.get("x_test", layouts["x"])
    if (x_test.event, x_test.dtype) != (x.event, x.dtype):
        raise DataError(
            f"{path}: x_test must be like x, {x.dtype} of shape (N, *{x.event}), got "
            f"{x_test.dtype} {(len(arrays['x_test']), *x_test.event)}"
        )
    return layouts


def factor_names(names: Mapping[str, object]) -> list[str]:
    """Those of a file's arrays that are the labels of one factor."""
    return [name for name in names if name not in _RESERVED]


def check_column(factor: str, shape: tuple[int, ...], n: int, path: str) -> None:
    """Raise a DataError unless labels have shape (n,)."""
    if shape != (n,):
        raise DataError(
            f"{path}: labels {factor!r} must have shape ({n},), one for each observation, got "
            f"{shape}"
        )


def labels_from_arrays(
    arrays: Mapping[str, np.ndarray], n: int, path: str
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Each factor's n classes counted from 0, and the classes' names.

    The arrays are all of the file's by name, or at least those that are labels.

    Raises:
        DataError: if there is not one label per observation and factor, or labels are no classes.
    """
    columns = {name: arrays[name] for name in factor_names(arrays)}
    if "labels" in arrays:
        columns |= _named_columns(arrays, path)
    labels, names = {}, {}
    for factor, column in columns.items():
        check_column(factor, column.shape, n, path)
        if np.issubdtype(column.dtype, np.floating) and not (column == np.round(column)).all():
            raise DataError(
                f"{path}: labels {factor!r} must be classes (whole numbers or text), got real "
                "numbers; give them as part of x, or leave them out"
            )
        values, classes = np.unique(column, return_inverse=True)
        labels[factor] = torch.from_numpy(classes.astype(np.int64))
        names[factor] = tuple(str(value) for value in values)
    return labels, names


def _named_columns(arrays: Mapping[str, np.ndarray], path: str) -> dict[str, np.ndarray]:
    """Columns of ``labels``, with those of ``labels_test`` below them, by their names."""
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
    return {str(name): table[:, i] for i, name in enumerate(given)}


def _table(array: np.ndarray, what: str) -> np.ndarray:
    """Labels (M,) or (M, factors) as (M, factors)."""
    if array.ndim not in (1, 2):
        raise DataError(f"{what} must have shape (N,) or (N, factors), got {array.shape}")
    return array.reshape(len(array), -1)
