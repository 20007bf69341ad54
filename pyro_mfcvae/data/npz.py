"""numpy's formats: ``.npz``, an archive that is read as it unpacks, and ``.npy``, one array."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np

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
    Format("npy", (".npy",), "a single array, of numpy.save", _read_npy),
)
