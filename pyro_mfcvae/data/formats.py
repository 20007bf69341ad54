"""Formats of files with a person's own data. Whatever lists them reads :data:`FORMATS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

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


@dataclass(frozen=True)
class Format:
    """How files with some suffixes are read.

    Attributes:
        name: of the format.
        suffixes: of its files, each with its dot.
        holds: what such a file is, in one line.
        read: path -> arrays by name: ``x``, ``x_test``, labels and so on, as the data set ``file``
            explains. It raises a DataError if the file cannot be read. Where the format has rows,
            observations need no more than their shape and type.
        rows: (path, layouts of ``x`` and ``x_test``) -> rows that are read as they are needed;
            None for a format that is read whole.
    """

    name: str
    suffixes: tuple[str, ...]
    holds: str
    read: Callable[[Path], Mapping[str, Shaped]]
    rows: Callable[[Path, Mapping[str, Layout]], FileRows] | None = None

    @property
    def description(self) -> str:
        """The format in one line."""
        return f"{', '.join(self.suffixes)} ({self.holds})"


@dataclass(frozen=True)
class Unread:
    """An array that stays in its file: its shape and type."""

    shape: tuple[int, ...]
    dtype: np.dtype

    def __len__(self) -> int:
        return self.shape[0]


FORMATS: Registry[Format] = Registry("file format")


def suffixes() -> list[str]:
    """Suffixes of all files that can be read."""
    return sorted(suffix for known in FORMATS.values() for suffix in known.suffixes)


def find_format(path: Path) -> Format:
    """The format of a file.

    Raises:
        DataError: if no format has its suffix, or there is no such file.
    """
    for known in FORMATS.values():
        if path.suffix in known.suffixes:
            if not path.exists():
                raise DataError(f"{path}: there is no such file")
            return known
    raise DataError(f"{path}: {unknown('suffix', path.suffix, suffixes())}")
