"""Batches, permuted: of observations on the training device, or read ahead from a file."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.data.observations import Observations, as_float
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.inference.noise import derive_seed

BUFFER = 64 * 2**20  # bytes of streamed observations that are shuffled together
_MIXED = 8  # blocks of the file in a buffer, at least


def batches_of(
    x: Observations,
    batch_size: int,
    seed: int,
    dtype: torch.dtype,
    device: torch.device,
    strata: Tensor | None = None,
    apart: bool = False,
) -> Batches | StreamedBatches:
    """Batches of training observations, on the training device.

    Args:
        x: observations (N, *event), uint8 or floating point; what is in memory is moved to the
            device at once.
        batch_size: B.
        seed: of the order.
        dtype: of the batches.
        device: of the batches.
        strata: as for :class:`Batches`.
        apart: likewise.

    Raises:
        ConfigError: if strata are to be apart and there are none, or too few batches.
        DataError: if observations with strata stay in a file.
    """
    if apart and strata is None:
        raise ConfigError(
            "training.strata=apart has every batch hold one of the strata that the data set names, "
            "and this one names none; give them (Dataset(strata=...), data set mixed), or set "
            "training.strata=shared"
        )
    if isinstance(x, StreamedObservations):
        if strata is not None:
            raise DataError(
                "batches by strata need observations in memory, got some that are read from a file "
                "as they are needed; load them (memory='load'), or leave the strata out"
            )
        return StreamedBatches(x, batch_size, seed, dtype, device, BUFFER)
    return Batches(x.to(device), batch_size, seed, dtype, strata, apart)


class Batches:
    """The batch of any step, as a function of (seed, step). The short last batch is kept.

    With strata every batch, the last one too, has as many observations of each as of any other, or
    one more. If they are apart, every batch has observations of one, and strata take turns. Each
    observation comes exactly once an epoch if the strata are equally large (to within one, and
    if apart come to whole batches); of larger ones a part is left out, another in each epoch, and
    smaller ones repeat.

    Args:
        x: training observations, uint8 or floating point, (N, *event), on the training device.
        batch_size: B.
        seed: the order of epoch e is a function of (seed, e).
        dtype: of the batches.
        strata: what observations are of, whole numbers (N,); None takes them for one stratum.
        apart: whether each batch holds one stratum, instead of equal shares of all.

    Raises:
        ConfigError: if an epoch has fewer batches than strata that are to be apart.
        DataError: if there is not one stratum for each observation.
    """

    def __init__(
        self,
        x: Tensor,
        batch_size: int,
        seed: int,
        dtype: torch.dtype,
        strata: Tensor | None = None,
        apart: bool = False,
    ) -> None:
        if strata is not None and strata.shape != (len(x),):
            raise DataError(
                f"strata must have shape ({len(x)},), one for each observation, got "
                f"{tuple(strata.shape)}"
            )
        self.x = x
        self.batch_size = batch_size
        self.seed = seed
        self.dtype = dtype
        self.per_epoch = -(-len(x) // batch_size)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)
        self._strata = _members(torch.zeros(len(x)) if strata is None else strata)
        turns = torch.arange(len(x)) // (batch_size if apart else 1) % len(self._strata)
        self._places = [torch.nonzero(turns == turn).flatten() for turn in turns.unique()]
        if apart and self.per_epoch < len(self._strata):
            raise ConfigError(
                f"training.strata=apart has every batch hold one of {len(self._strata)} strata, "
                f"but training.batch_size={batch_size} makes {self.per_epoch} of {len(x)} "
                "training observations; choose smaller batches"
            )

    def __call__(self, step: int) -> Tensor:
        """Observations of the batch at this step (from 0), shape (B, *event)."""
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            order = self._new_order(epoch)
            self._order, self._epoch = order.to(self.x.device, non_blocking=True), epoch
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return as_float(self.x.index_select(0, rows), self.dtype)

    def _new_order(self, epoch: int) -> Tensor:
        """Rows of x in the order of an epoch, (N,); strata take turns."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "order", epoch))
        order = torch.empty(len(self.x), dtype=torch.long)
        for rows, places in zip(self._strata, self._places, strict=True):
            shuffled = rows[torch.randperm(len(rows), generator=generator)]
            order[places] = shuffled[torch.arange(len(places)) % len(rows)]
        return order


def _members(strata: Tensor) -> list[Tensor]:
    """Rows of each stratum of (N,), the largest first: what is left over in an epoch is theirs."""
    _, stratum, counts = strata.cpu().unique(return_inverse=True, return_counts=True)
    by_size = counts.argsort(descending=True, stable=True).tolist()
    return [torch.nonzero(stratum == s).flatten() for s in by_size]


class StreamedBatches:
    """The batch of any step of observations in a file, as a function of (seed, step).

    In each epoch blocks of neighbouring rows are permuted and cut into buffers of whole batches,
    and rows are permuted within a buffer. Each row comes exactly once, and the short last batch is
    kept. While one buffer is used, the next is read by a thread, which ends with it; what goes
    wrong there is raised at the step that needs the buffer.

    Args:
        x: training observations, (N, *event).
        batch_size: B.
        seed: the order of epoch e is a function of (seed, e).
        dtype: of the batches.
        device: of the batches.
        buffer_bytes: of a buffer, roughly; two are held at a time. Eight blocks or one batch are
            the least.
    """

    def __init__(
        self,
        x: StreamedObservations,
        batch_size: int,
        seed: int,
        dtype: torch.dtype,
        device: torch.device,
        buffer_bytes: int,
    ) -> None:
        self.x = x.in_file_order()
        self.batch_size = batch_size
        self.seed = seed
        self.dtype = dtype
        self.device = device
        self.per_epoch = -(-len(x) // batch_size)
        self._bounds = self.x.block_bounds()
        n_rows = max(buffer_bytes // x.row_bytes, _MIXED * int(np.diff(self._bounds).max()))
        self._batches = min(max(n_rows // batch_size, 1), self.per_epoch)  # of a buffer
        self._buffers = -(-self.per_epoch // self._batches)  # of an epoch
        self._number, self._buffer = -1, torch.empty(0)
        self._next: tuple[int, Future[Tensor]] | None = None

    def __call__(self, step: int) -> Tensor:
        """Observations of the batch at this step (from 0), shape (B, *event)."""
        epoch, index = divmod(step, self.per_epoch)
        buffer, place = divmod(index, self._batches)
        self._turn_to(epoch * self._buffers + buffer)
        rows = self._buffer[place * self.batch_size : (place + 1) * self.batch_size]
        return as_float(rows.to(self.device, non_blocking=True), self.dtype)

    def _turn_to(self, number: int) -> None:
        """Make this buffer, counted over all epochs, the one in use."""
        if number == self._number:
            return
        self._number, self._buffer = -1, torch.empty(0)  # so that at most two are in memory
        ahead, self._next = self._next, None
        reading = ahead[1] if ahead and ahead[0] == number else self._read_ahead(number)
        self._buffer, self._number = reading.result(), number
        self._next = number + 1, self._read_ahead(number + 1)

    def _read_ahead(self, number: int) -> Future[Tensor]:
        epoch, buffer = divmod(number, self._buffers)
        first, last = self._range(buffer)
        # Made here, as the thread must leave CUDA alone: graphs may be captured meanwhile.
        pinned = self.device.type == "cuda"
        shape = (last - first, *self.x.shape[1:])
        rows = torch.empty(shape, dtype=self.x.dtype, pin_memory=pinned)
        thread = ThreadPoolExecutor(1, "read-ahead")
        reading = thread.submit(lambda: self.x.read(self._order(epoch, first, last), rows))
        thread.shutdown(wait=False)
        return reading

    def _range(self, buffer: int) -> tuple[int, int]:
        """Where a buffer begins and ends among the rows of an epoch."""
        n_rows = self._batches * self.batch_size
        return buffer * n_rows, min((buffer + 1) * n_rows, len(self.x))

    def _order(self, epoch: int, first: int, last: int) -> NDArray[np.int64]:
        """Places in x of the rows of a buffer, batch by batch."""
        random = np.random.default_rng(derive_seed(self.seed, "blocks", epoch))
        blocks = random.permutation(len(self._bounds) - 1)
        ends = np.diff(self._bounds)[blocks].cumsum()  # of the blocks among the epoch's rows
        some = slice(np.searchsorted(ends, first, side="right"), np.searchsorted(ends, last) + 1)
        rows = [
            np.arange(max(stop - end + first, start), min(stop - end + last, stop))
            for start, stop, end in zip(
                self._bounds[blocks[some]], self._bounds[blocks[some] + 1], ends[some], strict=True
            )
        ]
        random = np.random.default_rng(derive_seed(self.seed, "order", epoch, first))
        return random.permutation(np.concatenate(rows))
