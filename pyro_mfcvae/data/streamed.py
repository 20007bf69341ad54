"""Observations that stay in a file and are read as they are needed."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.data.formats import FileRows
from pyro_mfcvae.errors import DataError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_AT_ONCE = 16 * 2**20  # bytes read for several batches together
_WIDEST_CHUNK = 256 * 2**20  # bytes
_N_SAMPLED, _SAMPLED = 64, 64 * 2**10  # pieces of a sample, bytes of each


class StreamedObservations:
    """Observations (N, *event) in a file, of which any part can be read.

    It has what the library needs of a tensor: ``shape``, ``dtype``, ``device``, ``len``,
    ``x[rows]`` and ``x.split(n)``. What comes out is an ordinary tensor, on the CPU. It can be
    pickled and used after a fork: the file is then opened anew.

    Args:
        file: rows of a file in the library's layout.
        rows: the file's rows that these are, (N,), in any order; None means all.

    Raises:
        DataError: if the file can only be read in pieces too large to stream.
    """

    device = torch.device("cpu")

    def __init__(self, file: FileRows, rows: NDArray[np.int64] | None = None) -> None:
        if file.chunk_bytes > _WIDEST_CHUNK:
            raise DataError(
                f"{file.path}: its chunks of {file.chunk_rows} observations hold "
                f"{file.chunk_bytes / 2**20:.0f} MB, of which streaming takes at most "
                f"{_WIDEST_CHUNK / 2**20:.0f}; write the file again with smaller chunks, best of "
                "about 1 MB, or load it into memory (--set data.options.memory=load)"
            )
        self.file = file
        self._rows = rows

    @property
    def shape(self) -> torch.Size:
        """Number of observations and shape of one, (N, *event)."""
        return torch.Size((len(self), *self.file.layout.event))

    @property
    def dtype(self) -> torch.dtype:
        """uint8 or float32."""
        return self.file.layout.dtype

    @property
    def row_bytes(self) -> int:
        """Bytes of one observation in memory."""
        return self.file.layout.row_bytes

    def is_floating_point(self) -> bool:
        """Whether values are real numbers."""
        return self.dtype.is_floating_point

    def __len__(self) -> int:
        return len(self.file) if self._rows is None else len(self._rows)

    def __getitem__(self, index: int | slice | Tensor | NDArray[np.integer]) -> Tensor:
        """Read some of the observations, in the order of the index."""
        if isinstance(index, slice):
            return self.read(np.arange(*index.indices(len(self))))
        if not isinstance(index, (Tensor, np.ndarray, list, tuple)):
            return self.read(np.array([operator.index(index)]))[0]
        return self.read(np.asarray(torch.as_tensor(index).cpu()))

    def read(self, places: NDArray[np.integer], out: Tensor | None = None) -> Tensor:
        """Observations at some places among these (n,), in any order: (n, *event).

        Places count from 0, or from -1 backwards; ``out``, on the CPU, is where to put them.

        Raises:
            IndexError: if one of them does not exist, or they are no whole numbers.
            DataError: if the file can no longer be read, or has changed.
        """
        return self.file.read(self._in_file(places), out)

    def _in_file(self, places: NDArray[np.integer]) -> NDArray[np.int64]:
        """The file's rows at places (n,) among these observations."""
        n = len(self)
        places = places if places.size else np.empty(0, dtype=np.int64)
        if places.dtype.kind not in "iu" or places.ndim != 1:
            raise IndexError(
                f"expected indices (n,) that are whole numbers, got {places.dtype} {places.shape}"
            )
        wrong = places[(places < -n) | (places >= n)]
        if len(wrong):
            raise IndexError(f"expected indices of {n} observations, got {wrong[0]}")
        places = np.where(places < 0, places + n, places)
        return places if self._rows is None else self._rows[places]

    def split(self, n: int) -> Iterator[Tensor]:
        """Read all observations, n at a time."""
        at_once = max(_AT_ONCE // self.row_bytes, 2 * self.file.block_rows)
        at_once = n * math.ceil(at_once / n)
        for start in range(0, len(self), at_once):
            yield from self[start : start + at_once].split(n)

    def select(self, rows: Tensor) -> StreamedObservations:
        """Some of the observations (n,), which stay in the file.

        Raises:
            IndexError: if one of them does not exist, or they are no whole numbers.
        """
        return StreamedObservations(self.file, self._in_file(rows.cpu().numpy()))

    def in_file_order(self) -> StreamedObservations:
        """The same observations in the order that they are stored in."""
        if self._rows is None or not (np.diff(self._rows) < 0).any():
            return self
        return StreamedObservations(self.file, np.sort(self._rows))

    def block_bounds(self) -> NDArray[np.int64]:
        """Where observations in the order of the file fall into blocks that are read at once.

        Returns:
            ``bounds`` (n_blocks + 1,): block b holds places ``bounds[b]`` to ``bounds[b + 1]``.
        """
        rows = np.arange(len(self.file)) if self._rows is None else self._rows
        cuts = np.flatnonzero(np.diff(self.file.block_of(rows))) + 1
        return np.concatenate([[0], cuts, [len(rows)]])

    def sample(self) -> Tensor:
        """Observations in 64 pieces of up to 64 KB, evenly spread; all of them if there are few."""
        n = max(_SAMPLED // self.row_bytes, 1)
        starts = np.linspace(0, max(len(self) - n, 0), _N_SAMPLED).astype(np.int64)
        places = np.unique(starts[:, None] + np.arange(min(n, len(self))))
        return self.read(places)
