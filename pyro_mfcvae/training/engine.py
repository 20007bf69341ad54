"""What a run's steps are taken by: one process, or several that share each batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.inference.noise import Rows

T = TypeVar("T")


class EndedElsewhere(TrainingError):
    """Another process of the run has failed, or cannot be reached."""


class BatchPart(NamedTuple):
    """What one process takes of a batch of B observations.

    Attributes:
        start: its first observation.
        stop: the one after its last.
        n_whole: B.
        share: what its means are multiplied with, so that their mean over all processes is that
            of the whole batch: observations taken, times processes, over B.
    """

    start: int
    stop: int
    n_whole: int
    share: float

    @property
    def rows(self) -> Rows:
        """Whose noise it needs."""
        return Rows(self.start, self.n_whole)


class Engine:
    """One process, which takes whole batches and writes everything.

    Attributes:
        rank: number of this process, from 0.
        n_processes: W.
        device: to train on; None leaves that to the settings.
        joins_batch_norm: whether batch norm takes its statistics from whole batches.
    """

    rank: int = 0
    n_processes: int = 1
    device: torch.device | None = None
    joins_batch_norm: bool = True

    @property
    def is_writer(self) -> bool:
        """Whether this process is the one that writes, evaluates and speaks."""
        return self.rank == 0

    def part(self, n: int) -> BatchPart:
        """This process's part of a batch of n observations; sizes differ by one at most."""
        start, stop = (n * rank // self.n_processes for rank in (self.rank, self.rank + 1))
        return BatchPart(start, stop, n, (stop - start) * self.n_processes / n)

    def wrap(self, objective: nn.Module) -> nn.Module:
        """The objective, its parameters those of process 0, its gradients means over processes."""
        return objective

    def mean(self, values: Tensor) -> Tensor:
        """Mean over processes, on the device, which is not waited for. Each must ask for it."""
        return values

    def equalise(self, tensors: Iterable[Tensor]) -> None:
        """Give tensors the values that they have on process 0, in place."""

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process. Each must ask, and waits for the others."""
        return flag

    def on_all(self, work: Callable[[], T]) -> T:
        """Do something on every process.

        Returns:
            what came of it on this process.

        Raises:
            EndedElsewhere: if it failed on any; process 0 raises what it failed with itself.
        """
        return work()

    def on_writer(self, work: Callable[[], T]) -> T:
        """Do something on process 0 alone; every process gets what came of it, or fails."""
        return work()

    def alert(self) -> AbstractContextManager[None]:
        """Turns what a lost connection to another process raises into EndedElsewhere."""
        return nullcontext()


ONE_PROCESS = Engine()
