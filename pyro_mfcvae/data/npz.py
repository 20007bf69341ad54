"""The format ``.npz``: a zip archive with an array in each member, which is read as it unpacks."""

from __future__ import annotations

import math
import zipfile
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
        return {
            info.filename.removesuffix(".npy"): _unread(path, archive, info)
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }


def _unread(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Unread:
    name = info.filename.removesuffix(".npy")
    what = f".npz, array {name!r}"
    with reading(path, what), archive.open(info) as member:
        shape, is_fortran, dtype = _read_header(member)
        if dtype.hasobject:
            raise DataError(
                f"{path}: array {name!r} holds Python objects, which are not read from files; save "
                f"numbers or text, such as {name}.astype(str)"
            )
        size, found = math.prod(shape) * dtype.itemsize, info.file_size - member.tell()
        if size != found or min(shape, default=1) < 0:
            raise ValueError(f"{dtype} {shape} takes {size} bytes, and there are {found}")
        check_claim(name, size, min(info.compress_size, path.stat().st_size), path)

    def read() -> np.ndarray:
        with reading(path, what), zipfile.ZipFile(path) as archive, archive.open(info) as member:
            _read_header(member)
            values = bytearray()
            while piece := member.read(_PIECE):
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


FORMATS.add(Format("npz", (".npz",), "arrays by name, of numpy.savez", _read_npz))
