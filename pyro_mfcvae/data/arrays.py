"""What arrays of a person's own may be: observations in several layouts, labels of several kinds.

The rules are the same whatever file the arrays lie in. Shapes and types are checked before anything
is read.
"""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.config.observation import MISSING
from pyro_mfcvae.errors import DataError, DataWarning, did_you_mean

_CHANNELS = (1, 3, 4)
RESERVED = (
    *("x", "x_test", "labels", "labels_test", "label_names"),
    *("feature_names", "row_names", "category_names"),
)
_CLASSES = "classes (whole numbers or text)"
_EXACT = 2**53  # up to which real numbers tell whole numbers apart
_MOST_FACTORS = 1000
IDENTIFIERS_FROM = 20  # labels, of which nobody can say that they are identifiers


class Shaped(Protocol):
    """An array in memory, or one in a file that ``numpy.asarray`` reads."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the whole array."""

    @property
    def dtype(self) -> np.dtype:
        """Of its values."""

    def __len__(self) -> int: ...


@dataclass(frozen=True)
class Layout:
    """How an array of rows or pictures becomes observations."""

    event: tuple[int, ...]  # shape of one observation, (features,) or (channels, height, width)
    dtype: torch.dtype  # of observations, uint8 or float32
    channels_last: bool  # whether the array has the channels in its last place
    unit: float = 1.0  # of the array's real numbers
    what: str = "x"  # the array is called in messages

    @property
    def row_bytes(self) -> int:
        """Bytes of one observation in memory."""
        return math.prod(self.event) * self.dtype.itemsize

    def observations(self, array: np.ndarray) -> np.ndarray:
        """Some rows (n, ...) of the array as observations (n, *event), not always contiguous.

        Raises:
            DataError: if 32 bits cannot hold a number.
        """
        if array.dtype == np.bool_:
            array = array.astype(np.uint8) * 255
        elif array.dtype != np.uint8:
            array = self._as_float32(array) / np.float32(self.unit)
        array = np.moveaxis(array, -1, 1) if self.channels_last else array
        return array.reshape(len(array), *self.event)

    def tensor(self, array: np.ndarray) -> Tensor:
        """Some rows (n, ...) of the array as observations (n, *event)."""
        return torch.from_numpy(np.ascontiguousarray(self.observations(array)))

    def _as_float32(self, array: np.ndarray) -> np.ndarray:
        with np.errstate(over="ignore"):
            narrow = array.astype(np.float32)
        if array.dtype.itemsize > narrow.dtype.itemsize:
            lost = np.isinf(narrow) & np.isfinite(array)
            if lost.any():
                raise DataError(
                    f"{self.what} has numbers that 32 bits cannot hold, such as "
                    f"{array[lost][0]:.3g}; bring it to another unit, or take out what stands for "
                    "missing values"
                )
        return narrow


def layout_of(shape: tuple[int, ...], dtype: np.dtype, what: str) -> Layout:
    """The layout of an array of rows (N, features) or pictures, which messages call ``what``.

    Raises:
        DataError: if the array has another number of dimensions or a type that is no number.
    """
    if dtype.kind not in "biuf":
        raise DataError(f"{what} must hold numbers, got dtype {dtype}")
    if len(shape) not in (2, 3, 4) or min(shape) < 1:
        raise DataError(
            f"{what} must be rows (N, features), grey pictures (N, height, width) or pictures with "
            f"channels (N, channels, height, width), none empty, got shape {shape}"
        )
    read_as = torch.uint8 if dtype in (np.uint8, np.bool_) else torch.float32
    if len(shape) == 2:
        return Layout(shape[1:], read_as, False, what=what)
    unit = float(np.iinfo(np.uint16).max) if (dtype.kind, dtype.itemsize) == ("u", 2) else 1.0
    if len(shape) == 3:
        return Layout((1, *shape[1:]), read_as, False, unit, what)
    first, last = shape[1] in _CHANNELS, shape[-1] in _CHANNELS
    if last and (not first or shape[1] == shape[2]):  # (N, 4, 4, 3) is square, channels last
        return Layout((shape[-1], *shape[1:-1]), read_as, True, unit, what)
    if first:
        return Layout(shape[1:], read_as, False, unit, what)
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
    if (x_test.event, x_test.dtype, x_test.unit) != (x.event, x.dtype, x.unit):
        raise DataError(
            f"{path}: x_test must be like x, {arrays['x'].dtype} of shape (N, *{x.event}), got "
            f"{arrays['x_test'].dtype} {(len(arrays['x_test']), *x_test.event)}"
        )
    return layouts


def names_from_arrays(
    arrays: Mapping[str, Shaped], which: str, n: int, path: str
) -> tuple[str, ...]:
    """The n names in ``feature_names`` or ``row_names``; none without that array.

    Raises:
        DataError: if there is another number of them, or they are no text.
    """
    if which not in arrays:
        return ()
    if tuple(arrays[which].shape) != (n,):
        raise DataError(f"{path}: {which} must have shape ({n},), got {arrays[which].shape}")
    names = _texts(np.asarray(arrays[which]), f"{path}: {which}")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        first, second = [i for i, name in enumerate(names) if name == twice[0]][:2]
        raise DataError(
            f"{path}: {which} must differ, got {twice[0]!r} in places {first} and {second}; rename "
            "one, or leave the names out (of a data frame, with reset_index(drop=True))"
        )
    return names


def labels_from_arrays(
    arrays: Mapping[str, Shaped], n: int, path: str, only: Sequence[str] | None = None
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Each factor's n classes counted from 0, or :data:`MISSING`, and the classes' names.

    The arrays are all of the file's by name; ``only`` some of them are labels, if it is given.
    What looks like identifiers is left out with a warning.

    Raises:
        DataError: if there is not one label per observation and factor, or labels are no classes.
    """
    own = [name for name in arrays if name not in RESERVED]
    named = _names_of_columns(arrays, path)
    if unknown := sorted(set(only or ()) - {*own, *named}):
        raise DataError(
            f"{path}: there are no labels {', '.join(map(repr, unknown))}, only "
            f"{', '.join([*own, *named]) or 'none'}{did_you_mean(unknown[0], [*own, *named])}"
        )
    own = [name for name in own if only is None or name in only]
    if twice := [name for name, count in Counter([*own, *named]).items() if count > 1]:
        raise DataError(f"{path}: there are several labels {twice[0]!r}; rename all but one")
    n_labels = sum(arrays[part].shape[0] for part in _parts(arrays))
    shapes = {name: tuple(arrays[name].shape) for name in own} | dict.fromkeys(named, (n_labels,))
    for factor, shape in shapes.items():
        if shape != (n,):
            raise DataError(
                f"{path}: labels {factor!r} must have shape ({n},), one for each observation, got "
                f"{shape}"
            )
    columns = {name: np.asarray(arrays[name]) for name in own}
    if named:
        tables = [np.asarray(arrays[part]) for part in _parts(arrays)]
        table = np.concatenate([values.reshape(len(values), -1) for values in tables])
        columns |= {
            name: column
            for name, column in zip(named, table.T, strict=True)
            if only is None or name in only
        }
    labels, names = {}, {}
    for factor, column in columns.items():
        codes, classes = classes_of(column, f"{path}: labels {factor!r}")
        n_missing, n_known = int((codes == MISSING).sum()), int((codes != MISSING).sum())
        if are_identifiers(len(classes), n_known):
            warnings.warn(
                f"{path}: {factor!r} has {len(classes)} values in {n_known} rows, as identifiers "
                "have; it is no factor to judge by",
                DataWarning,
                stacklevel=2,
            )
            continue
        if n_missing:
            warnings.warn(
                f"{path}: labels {factor!r} are missing in {n_missing} of {n} rows; measures leave "
                "these rows out",
                DataWarning,
                stacklevel=2,
            )
        labels[factor], names[factor] = torch.from_numpy(codes), classes
    return labels, names


def are_identifiers(n_values: int, n_rows: int) -> bool:
    """Whether so many rows with so many different values look like identifiers."""
    return n_rows >= IDENTIFIERS_FROM and n_values > n_rows / 2


def categories_from_arrays(
    arrays: Mapping[str, Shaped], features: Sequence[str], path: str
) -> dict[str, tuple[str, ...]]:
    """The categories in ``category_names`` by their columns; none without that array.

    Args:
        arrays: all of the file's by name.
        features: names of the columns.
        path: of the file, for messages.

    Raises:
        DataError: if these are no pairs of a column's name and a category, or one comes twice.
    """
    if "category_names" not in arrays:
        return {}
    what = f"{path}: category_names"
    pairs = np.asarray(arrays["category_names"])
    if pairs.ndim != 2 or pairs.shape[1] != 2:
        raise DataError(
            f"{what} must be pairs of a column's name and a category, (n, 2), got "
            f"shape {pairs.shape}"
        )
    found: dict[str, list[str]] = {}
    for name, text in zip(*(_texts(part, what) for part in pairs.T), strict=True):
        if name not in features or text in found.setdefault(name, []):
            told = "has a category twice" if name in features else "is no name in feature_names"
            raise DataError(f"{what}: column {name!r} {told}, in the pair with {text!r}")
        found[name].append(text)
    return {name: tuple(texts) for name, texts in found.items()}


def classes_of(column: np.ndarray, what: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Classes (N,) counted from 0, or :data:`MISSING`, and their names; messages say ``what``.

    Missing are NaN, None and empty text.

    Raises:
        DataError: if they are no classes.
    """
    if column.dtype.kind == "f":
        known = ~np.isnan(column)
        if not np.isfinite(column[known]).all() or (column[known] % 1).any():
            raise DataError(
                f"{what} must be {_CLASSES}, got real numbers; give them as part of x, or leave "
                "them out"
            )
        if (np.abs(column[known]) < _EXACT).all():
            column = np.where(known, column, 0).astype(np.int64)
    elif column.dtype.kind in "SUO":
        texts = np.array(_texts(column, what), dtype=object)
        known = texts != ""
        column = texts
    elif column.dtype.kind in "biu":
        known = np.ones(len(column), dtype=bool)
    else:
        raise DataError(f"{what} must be {_CLASSES}, got dtype {column.dtype}; write them as text")
    values, codes = np.unique(column[known], return_inverse=True)
    classes = np.full(len(column), MISSING, dtype=np.int64)
    classes[known] = codes
    return classes, tuple(str(value) for value in values)


def _texts(column: np.ndarray, what: str) -> tuple[str, ...]:
    """Values as text; those that are missing are empty."""
    try:
        return tuple(
            value.decode() if isinstance(value, bytes) else _text(value)
            for value in column.tolist()
        )
    except UnicodeDecodeError as error:
        raise DataError(f"{what} must be text, got bytes that are no UTF-8 ({error})") from error
    except SystemError as error:  # of Python, about a number that is no letter's
        raise DataError(f"{what} must be text, got what is no Unicode ({error})") from error
    except TypeError as error:
        raise DataError(f"{what} must be {_CLASSES}, got {error}") from error


def _text(value: object) -> str:
    if value is None or value != value:
        return ""
    if not isinstance(value, str | bool | int | float):
        raise TypeError(type(value).__name__)
    return str(value)


def _parts(arrays: Mapping[str, Shaped]) -> list[str]:
    return [name for name in ("labels", "labels_test") if name in arrays and "labels" in arrays]


def _names_of_columns(arrays: Mapping[str, Shaped], path: str) -> Sequence[str]:
    """Names of the columns of ``labels``, below which those of ``labels_test`` lie."""
    n_columns = 0
    for part in _parts(arrays):
        shape = tuple(arrays[part].shape)
        if len(shape) not in (1, 2):
            raise DataError(f"{path}: {part} must have shape (N,) or (N, factors), got {shape}")
        n = shape[1] if len(shape) == 2 else 1
        if part == "labels_test" and n != n_columns:
            raise DataError(
                f"{path}: labels_test must have the {n_columns} columns of labels, got {n}"
            )
        n_columns = n
    if n_columns > _MOST_FACTORS:
        raise DataError(
            f"{path}: labels has {n_columns} columns, each a factor to judge by, and at most "
            f"{_MOST_FACTORS} are read; give numbers that are to be clustered as part of x"
        )
    if "label_names" not in arrays or not n_columns:
        return [f"label_{i}" for i in range(n_columns)]
    if tuple(arrays["label_names"].shape) != (n_columns,):
        raise DataError(
            f"{path}: label_names needs one name per column of labels ({n_columns}), got shape "
            f"{arrays['label_names'].shape}"
        )
    return _texts(np.asarray(arrays["label_names"]), f"{path}: label_names")
