"""numpy's formats: ``.npz``, an archive that is read as it unpacks, and ``.npy``, one array."""

from __future__ import annotations

import math
import os
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.data.arrays import Layout
from pyro_mfcvae.data.formats import FORMATS, Format, Unread, check_claim, reading
from pyro_mfcvae.errors import DataError

_PIECE = 2**20  # bytes
_HEADERS = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}


def _read_npz(path: Path) -> dict[str, Unread]:
    """The archive's arrays by name, unread; members that are no arrays are left alone."""
    with reading(path, ".npz"), zipfile.ZipFile(path) as archive:
        members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    arrays = {}
    for info in members:
        name, opened = info.filename.removesuffix(".npy"), partial(_open_member, path, info)
        arrays[name] = _unread(path, name, opened, info.file_size, info.compress_size)
    return arrays


def _read_npy(path: Path) -> dict[str, Unread]:
    """The file's array as ``x``, unread."""
    size = path.stat().st_size
    return {"x": _unread(path, "x", lambda: path.open("rb"), size, size)}


class NpyRows:
    """The rows of a ``.npy`` file, which is mapped into memory for as long as a block is read.

    Attributes are those of :class:`~pyro_mfcvae.data.formats.FileRows`.
    """

    def __init__(self, path: Path, layouts: Mapping[str, Layout]) -> None:
        self.path = Path(os.path.abspath(path))  # the working folder may change
        self.layout = layouts["x"]
        array = self._mapped()
        self._shape = array.shape
        self.chunk_rows, self.chunk_bytes = 1, array[:1].nbytes
        self.block_rows = max(_PIECE // self.chunk_bytes, 1)

    def __len__(self) -> int:
        return self._shape[0]

    def block_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the blocks that rows (n,) lie in: (n,)."""
        return rows // self.block_rows

    def read(self, rows: NDArray[np.int64], out: Tensor | None = None) -> Tensor:
        """Observations in rows (n,), in their order: (n, *event).

        ``out``, on the CPU, is where to put them.

        Raises:
            DataError: if the file can no longer be read, or has changed.
        """
        shape = (len(rows), *self.layout.event)
        x = torch.empty(shape, dtype=self.layout.dtype) if out is None else out
        values, array = x.numpy(), self._mapped()
        if array.shape[1:] != self._shape[1:] or len(array) < len(self):
            raise DataError(
                f"{self.path}: the file has changed since it was opened; put the old one back, or "
                "begin anew"
            )
        for start in range(0, len(rows), self.block_rows):
            places = slice(start, start + self.block_rows)
            values[places] = self.layout.observations(array[rows[places]])
        return x

    def _mapped(self) -> np.ndarray:
        with reading(self.path, ".npy"):
            return np.load(self.path, mmap_mode="r", allow_pickle=False)


@contextmanager
def _open_member(path: Path, info: zipfile.ZipInfo) -> Iterator[IO[bytes]]:
    with zipfile.ZipFile(path) as archive, archive.open(info) as member:
        yield member


def _unread(
    path: Path,
    name: str,
    opened: Callable[[], AbstractContextManager[IO[bytes]]],
    file_size: int,
    stored: int,
) -> Unread:
    """An array of this name; ``opened`` opens its file, whose bytes take ``stored`` at the path."""
    what = f"{path.suffix.lower()}, array {name!r}"
    with reading(path, what), opened() as file:
        shape, is_fortran, dtype = _read_header(file)
        if dtype.hasobject:
            raise DataError(
                f"{path}: array {name!r} holds Python objects, which are not read from files; save "
                f"numbers or text, such as {name}.astype(str)"
            )
        size, found = math.prod(shape) * dtype.itemsize, file_size - file.tell()
        if size != found or min(shape, default=1) < 0:
            raise ValueError(f"{dtype} {shape} takes {size} bytes, and there are {found}")
        check_claim(name, size, min(stored, path.stat().st_size), path)

    def read() -> np.ndarray:
        with reading(path, what), opened() as file:
            _read_header(file)
            values = bytearray()
            while piece := file.read(_PIECE):
                values += piece
            array = np.frombuffer(values, dtype)
            return array.reshape(shape[::-1]).T if is_fortran else array.reshape(shape)

    return Unread(shape, dtype, read)


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether it is in Fortran's order, and type."""
    try:
        return _HEADERS[np.lib.format.read_magic(member)](member)
    except MemoryError as error:  # of Python's parser, if something is nested too deeply
        raise ValueError("its header is no header") from error


FORMATS.add(
    Format("npz", (".npz",), "arrays by name, of numpy.savez", _read_npz),
    Format(
        "npy",
        (".npy",),
        "a single array, of numpy.save, which may exceed the memory",
        _read_npy,
        NpyRows,
    ),
)
