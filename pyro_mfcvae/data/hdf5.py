"""Rows of HDF5 data sets, read a block of neighbours at a time."""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.data.arrays import Layout
from pyro_mfcvae.data.formats import FORMATS, Format, Unread, check_claim, reading
from pyro_mfcvae.errors import DataError

if TYPE_CHECKING:
    import h5py
    from numpy.typing import NDArray

_COPY = "write the values themselves into this file"
_HEAP = b"GCOL\1\0\0\0"
_BLOCK = 512 * 2**10  # bytes that a block has at most, unless a single chunk has more


class Hdf5Rows:
    """The rows of one or several data sets of a file, one after the other, as observations.

    HDF5 unpacks whole chunks and is slow at scattered rows. Rows are therefore read in blocks of
    neighbours, each a whole number of chunks. The layouts, by the data sets' names, have
    observations of one shape and type. Attributes are those of
    :class:`~pyro_mfcvae.data.formats.FileRows`.

    Raises:
        DataError: if the file is missing, damaged, or lacks one of them.
    """

    def __init__(self, path: Path, layouts: Mapping[str, Layout]) -> None:
        self.path = Path(os.path.abspath(path))  # the working folder may change
        self._names, self._layouts = tuple(layouts), tuple(layouts.values())
        self.layout = self._layouts[0]
        self._size: int | None = None
        self._found: list[tuple[tuple[int, ...], np.dtype]] | None = None
        self._process = -1
        self._opened: list[Any] = []
        arrays = self._arrays()
        row_bytes = [math.prod(array.shape[1:]) * array.dtype.itemsize for array in arrays]
        chunks = [array.chunks[0] if array.chunks else 1 for array in arrays]
        self.chunk_bytes, self.chunk_rows = max(
            (chunk * n, chunk) for chunk, n in zip(chunks, row_bytes, strict=True)
        )
        steps = [
            chunk * max(_BLOCK // (chunk * n), 1)
            for chunk, n in zip(chunks, row_bytes, strict=True)
        ]
        self.block_rows = max(steps)
        n_blocks = [-(-len(array) // step) for array, step in zip(arrays, steps, strict=True)]
        self._steps = np.array(steps)
        self._starts = np.cumsum([0, *map(len, arrays)])
        self._first_blocks = np.cumsum([0, *n_blocks])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_process": -1, "_opened": []}

    def block_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the blocks that rows (n,) lie in: (n,)."""
        i = self._array_of(rows)
        return self._first_blocks[i] + (rows - self._starts[i]) // self._steps[i]

    def read(self, rows: NDArray[np.int64], out: Tensor | None = None) -> Tensor:
        """Observations in rows (n,) of all data sets together, in their order: (n, *event).

        ``out``, on the CPU, is where to put them.

        Raises:
            DataError: if the file can no longer be read, or has changed.
        """
        shape = (len(rows), *self.layout.event)
        x = torch.empty(shape, dtype=self.layout.dtype) if out is None else out
        values = x.numpy()  # torch's own indexing would start threads in a thread that reads ahead
        order = np.argsort(rows, kind="stable")
        cuts = np.flatnonzero(np.diff(self.block_of(rows[order]))) + 1
        arrays = self._arrays()
        for places in np.split(order, cuts) if len(rows) else ():
            chosen = rows[places]
            block = self._neighbours(arrays, int(chosen[0]), int(chosen[-1]) + 1)
            values[places] = block[chosen - chosen[0]]
        self._check_unchanged()  # beyond the end of a truncated file HDF5 reads zeros
        return x

    def _neighbours(self, arrays: Sequence[h5py.Dataset], start: int, stop: int) -> np.ndarray:
        """Observations in rows from start to before stop, which lie in one data set."""
        i = int(self._array_of(start))
        first = int(self._starts[i])
        with reading(self.path, "HDF5"):
            values = arrays[i][start - first : stop - first]
        return self._layouts[i].observations(values)

    def _array_of(self, rows: NDArray[np.int64] | int) -> NDArray[np.int64]:
        """Numbers of the data sets that rows (n,) lie in: (n,)."""
        return np.searchsorted(self._starts, rows, side="right") - 1

    def _arrays(self) -> list[h5py.Dataset]:
        """The data sets, opened anew in another process, where HDF5's own handle is of no use."""
        self._check_unchanged()
        if self._process != os.getpid():
            with reading(self.path, "HDF5"):
                file = open_hdf5(self.path)
                found = {name: _find(file, name, self.path) for name in self._names}
                arrays = [array for array in found.values() if array is not None]
            kinds = [(array.shape, array.dtype) for array in arrays]
            if self._found not in (None, kinds):
                raise self._changed("arrays of other shapes or types")
            self._found, self._opened, self._process = kinds, arrays, os.getpid()
        return self._opened

    def _check_unchanged(self) -> None:
        try:
            size = self.path.stat().st_size
        except OSError as error:
            raise DataError(
                f"{self.path}: there is no such file ({error.strerror}); put it back, or give its "
                "folder with --data-dir"
            ) from None
        if self._size is None:
            self._size = size
        elif size != self._size:
            raise self._changed(f"{size} bytes instead of {self._size}")

    def _changed(self, how: str) -> DataError:
        return DataError(
            f"{self.path}: the file has changed since it was opened, it now has {how}; put the old "
            "one back, or begin anew"
        )


def open_hdf5(path: Path) -> h5py.File:
    """The file, open for reading.

    Raises:
        DataError: if it is missing or damaged.
    """
    import h5py

    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    with reading(path, "HDF5"):
        return h5py.File(path, "r")


def list_arrays(path: Path) -> dict[str, Unread]:
    """The file's arrays by name, unread; those without any numbers are left out.

    Raises:
        DataError: if it is missing or damaged, or an array has parts in other files.
    """
    with reading(path, "HDF5"), open_hdf5(path) as file:
        found = {name: _find(file, name, path) for name in file}
        return {
            name: _unread(path, name, array)
            for name, array in found.items()
            if array is not None and array.shape is not None
        }


def _find(file: h5py.File, name: str, path: Path) -> h5py.Dataset | None:
    """The data set of this name, if it is one; data come from this file alone.

    A link to another place of the file is followed once: the next link might leave the file.
    """
    import h5py

    with reading(path, f"HDF5, array {name!r}"):
        if isinstance(file.get(name, getlink=True), h5py.ExternalLink):
            raise DataError(f"{path}: {name!r} lies in another file; {_COPY}")
        access = h5py.h5p.create(h5py.h5p.LINK_ACCESS)
        access.set_nlinks(1)
        opened = h5py.h5o.open(file.id, name.encode(), access)
        if not isinstance(opened, h5py.h5d.DatasetID):
            return None
        array = h5py.Dataset(opened)
        check_own(array, name, path)
    return array


def check_own(array: h5py.Dataset, name: str, path: Path) -> None:
    """Refuse a data set whose values lie elsewhere, or that few bytes claim to be large.

    Raises:
        DataError: if its values are not its own.
    """
    if array.is_virtual or array.external is not None:
        raise DataError(f"{path}: array {name!r} is made of other data sets or files; {_COPY}")
    if array.dtype.hasobject:
        width = array.file.id.get_create_plist().get_sizes()[1]
        _check_heaps(path, path.stat().st_mtime_ns, width)
    chunk = math.prod(array.chunks or ()) * array.dtype.itemsize
    claimed = max(math.prod(array.shape or ()) * array.dtype.itemsize, chunk)
    check_claim(name, claimed, array.id.get_storage_size(), path)


@lru_cache(maxsize=1)
def _check_heaps(path: Path, changed: int, width: int) -> None:
    """Refuse text in which HDF5's library, as of version 2.0.0, would go around forever.

    Text of varying length lies in heaps, 16 bytes of head and then objects. Of an object that takes
    no bytes the library never comes to the next one.

    Args:
        path: of the file.
        changed: when.
        width: bytes of a size in it.

    Raises:
        DataError: if there is such an object.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as held:
        start = -1
        while (start := held.find(_HEAP, start + 1)) >= 0:
            place = start + 16
            stop = start + int.from_bytes(held[start + 8 : start + 8 + width], "little")
            while place + 16 <= min(stop, len(held)):
                size = int.from_bytes(held[place + 8 : place + 8 + width], "little")
                is_free = held[place : place + 2] == bytes(2)
                step = size if is_free else 16 + -(-size // 8) * 8
                if step % 2 ** (8 * width) == 0:
                    raise DataError(
                        f"{path}: its heap of text is damaged at byte {place}; write the file "
                        "anew, as h5repack does"
                    )
                place += step


def _unread(path: Path, name: str, array: h5py.Dataset) -> Unread:
    import h5py

    what = f"HDF5, array {name!r}"
    is_text = h5py.check_string_dtype(array.dtype) is not None
    if array.dtype.hasobject and not is_text:
        raise DataError(
            f"{path}: array {name!r} holds lists of varying length or references; write numbers "
            "or text"
        )

    def read() -> np.ndarray:
        with reading(path, what), open_hdf5(path) as file:
            return np.asarray(file[name][()])

    return Unread(array.shape, np.dtype(str) if is_text else array.dtype, read)


FORMATS.add(
    Format(
        "HDF5",
        (".h5", ".hdf5"),
        "data sets by name, which may exceed the memory and are streamed then",
        list_arrays,
        Hdf5Rows,
    )
)
