"""Formats of files with a person's own data. Whatever lists them reads :data:`FORMATS`."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import narwhals as nw
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.data.arrays import Layout, Shaped
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.registry import Registry, unknown


class FileRows(Protocol):
    """Observations that are read from a file as they are needed, a block of neighbours at a time.

    Attributes:
        path: of the file.
        layout: of the observations.
        block_rows: rows of the largest block.
        chunk_rows: rows of the largest piece that can only be read whole.
        chunk_bytes: its bytes.
    """

    path: Path
    layout: Layout
    block_rows: int
    chunk_rows: int
    chunk_bytes: int

    def __len__(self) -> int: ...

    def block_of(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Numbers of the blocks that rows (n,) lie in: (n,)."""

    def read(self, rows: NDArray[np.int64], out: Tensor | None = None) -> Tensor:
        """Observations in rows (n,), in their order: (n, *event)."""


Use = Literal["observations", "label", "row names", "left out", "refused"]


@dataclass(frozen=True)
class Column:
    """One column of a table."""

    name: str
    kind: str  # of its values
    use: Use  # what is done with it
    why: str  # in a few words


@dataclass(frozen=True)
class Format:
    """How files with some suffixes are read.

    Attributes:
        name: of the format.
        suffixes: of its files, each with its dot, or :data:`FOLDER`.
        holds: what such a file is, in one line.
        read: path -> arrays by name: ``x``, ``x_test``, labels and so on, as the data set ``file``
            explains. It raises a DataError if the file cannot be read. Where the format has rows,
            observations need no more than their shape and type.
            Further arguments are options of the data set that this format takes.
        rows: (path, layouts of ``x`` and ``x_test``) -> rows that are read as they are needed;
            None for a format that is read whole.
        frame: path -> the table as a data frame; None for a format of arrays. It takes those
            options of ``read`` that say how the file is written.
        pieces: (path, names of columns) -> arrays by name of some rows after the other: ``x``, of
            these columns in a table, and ``row_names``. It takes the options of ``read`` but for
            labels; ``categories`` has those of each column by its name. None for a format that is
            read whole or has rows.
    """

    name: str
    suffixes: tuple[str, ...]
    holds: str
    read: Callable[..., Mapping[str, Shaped]]
    rows: Callable[[Path, Mapping[str, Layout]], FileRows] | None = None
    frame: Callable[..., nw.DataFrame[Any]] | None = None
    pieces: Callable[..., Iterator[Mapping[str, Shaped]]] | None = None

    @property
    def options(self) -> tuple[str, ...]:
        """Options of the data set that reading takes."""
        return tuple(inspect.signature(self.read).parameters)[1:]

    @property
    def description(self) -> str:
        """The format in one line."""
        return f"{', '.join(self.suffixes)} ({self.holds})"


@dataclass(frozen=True)
class Unread:
    """An array that stays in its file: its shape and type. ``numpy.asarray`` reads it."""

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: object = None, copy: bool | None = None) -> np.ndarray:
        return self.read()


FOLDER = "a folder"
"""Instead of a suffix."""

_LINK = " where its link leads to"
_SMALL = 100 * 10**6  # bytes, which may be claimed by any file
_MOST_COMPRESSED = 200  # times, of what is worth reading
_STARTS = {
    b"version https://git-lfs": "it is a Git LFS pointer: fetch the data with git lfs pull",
    b"<": "it is a web page, as a failed download leaves",
    b"\x93numpy": "it holds a single array, as .npy does",
}

FORMATS: Registry[Format] = Registry("file format")


def suffixes() -> list[str]:
    """Suffixes of all files that can be read."""
    return sorted(suffix for known in FORMATS.values() for suffix in known.suffixes)


def find_format(path: Path) -> Format:
    """The format of a file; capitals in its suffix do not matter.

    Raises:
        DataError: if no format has its suffix, or there is no such file.
    """
    suffix = FOLDER if path.is_dir() else path.suffix.lower()
    for known in FORMATS.values():
        if suffix in known.suffixes:
            if not (path.is_file() or path.is_dir()):
                what = "this is no file" if path.exists() else "there is no such file"
                raise DataError(f"{path}: {what}{_LINK * path.is_symlink()}")
            return known
    raise DataError(f"{path}: {unknown('suffix', path.suffix, suffixes())}")


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Around reads of a file: libraries raise almost anything if it is damaged.

    Raises:
        DataError: that the path, or an array in it, cannot be read as ``what``.
    """
    try:
        yield
    except (DataError, MemoryError):
        raise
    except Exception as error:
        found = _found_instead(path) or f"{error}" or type(error).__name__
        raise DataError(f"{path}: cannot be read as {what} ({found})") from error


def _found_instead(path: Path) -> str:
    """What the file is, by its first bytes, if something else often takes a file's place."""
    try:
        with path.open("rb") as file:
            start = file.read(32).lstrip().lower()
    except OSError:
        return ""
    return next((what for first, what in _STARTS.items() if start.startswith(first)), "")


def check_claim(name: str, claimed: int, stored: int, path: Path) -> None:
    """Refuse an array that few bytes claim to be large, before anything is allocated for it.

    Args:
        name: of the array.
        claimed: its bytes in memory.
        stored: its bytes in the file.
        path: of the file.

    Raises:
        DataError: if no data of the world are stored in so few bytes.
    """
    if claimed > _SMALL and claimed > _MOST_COMPRESSED * stored:
        raise DataError(
            f"{path}: array {name!r} claims {claimed / 1e6:,.0f} MB and is stored in "
            f"{stored / 1e6:,.3f} MB, so it is damaged or almost empty; if it is as it should be, "
            "write it without compression"
        )
