"""Batches permuted and indexed on the training device."""

from __future__ import annotations

import torch
from torch import Tensor

from pyro_mfcvae.data.observations import as_float
from pyro_mfcvae.noise import derived_seed


class Batches:
    """The batch of any step, as a function of (seed, step). The short last batch is kept.

    Args:
        x: training observations, uint8 or floating point, (N, *event), on the training device.
        batch_size: B.
        seed: the order of epoch e is a function of (seed, e).
        dtype: of the batches.
    """

    def __init__(self, x: Tensor, batch_size: int, seed: int, dtype: torch.dtype) -> None:
        self.x = x
        self.batch_size = batch_size
        self.seed = seed
        self.dtype = dtype
        self.per_epoch = -(-len(x) // batch_size)
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.long)

    def __call__(self, step: int) -> Tensor:
        """Observations of the batch at this step (from 0), shape (B, *event)."""
        epoch, index = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derived_seed(self.seed, "order", epoch))
            order = torch.randperm(len(self.x), generator=generator)
            self._order, self._epoch = order.to(self.x.device, non_blocking=True), epoch
        rows = self._order[index * self.batch_size : (index + 1) * self.batch_size]
        return as_float(self.x.index_select(0, rows), self.dtype)
