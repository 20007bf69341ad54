"""What a run's steps are taken by: one process, or several that share each batch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn

from pyro_mfcvae.errors import ConfigError, TrainingError
from pyro_mfcvae.inference.noise import Rows

_TIMEOUT = 1800.0  # seconds

T = TypeVar("T")


class EndedElsewhere(TrainingError):
    """Another process of the run has failed, or cannot be reached."""


class Part(NamedTuple):
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

    def part(self, n: int) -> Part:
        """This process's part of a batch of n observations; sizes differ by one at most."""
        start, stop = (n * rank // self.n_processes for rank in (self.rank, self.rank + 1))
        return Part(start, stop, n, (stop - start) * self.n_processes / n)

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


@contextmanager
def launched(
    device: str = "auto",
    n_devices: int | None = None,
    n_nodes: int | None = None,
    timeout: float | None = None,
) -> Iterator[Engine]:
    """Start the other processes of a run, unless that has been done, and end them afterwards.

    Each of them runs the command, or script, that this process was started with, up to here.
    Under ``torchrun`` nothing is started and the numbers need not be given. On several machines
    give the same command on each, under ``torchrun`` or with MASTER_ADDR, MASTER_PORT and
    NODE_RANK set; they must share a file system.

    Where a run fails, the first process on each machine says why; the others exit with status 1.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; with one process any device.
        n_devices: processes on each machine, each with a device of its own; None means one.
        n_nodes: machines; None means one.
        timeout: seconds to wait for a process that does not answer; None means 1800. Evaluating
            and saving, for which all wait, must not take longer. A process that has died is
            noticed at once, or on the same machine within some ten seconds.

    Raises:
        ConfigError: if there are no such devices, or the numbers are not those of ``torchrun``.
    """
    n_devices, n_nodes = _numbers(n_devices, n_nodes)
    if n_devices * n_nodes == 1:
        yield ONE_PROCESS
        return
    try:
        from pyro_mfcvae.training.devices.distributed import Distributed
    except ImportError as error:
        raise ConfigError(
            f"training on several devices needs lightning-fabric ({error}); install it with\n"
            '    pip install "pyro_mfcvae[distributed]"'
        ) from None
    engine = Distributed(device, n_devices, n_nodes, timeout or _TIMEOUT)
    try:
        with engine.connected():
            yield engine
    except (EndedElsewhere, KeyboardInterrupt) as error:
        if engine.leads_machine:
            raise
        raise SystemExit(130 if isinstance(error, KeyboardInterrupt) else 1) from None


def resolve_device(name: str) -> torch.device:
    """The device called name; ``"auto"`` is CUDA where there is any, else the CPU.

    Raises:
        ConfigError: if it does not exist here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError, ImportError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ConfigError(f"device {name!r} cannot be used here ({reason}); try cpu") from None
    if device.type == "meta":
        raise ConfigError(f"device {name!r} holds no numbers; try cpu")
    return device


def check_one_process() -> None:
    """Raise a ConfigError where torchrun has started several processes, for what one does alone."""
    n_devices, n_nodes = _started_by_torchrun() or (1, 1)
    if n_devices * n_nodes > 1:
        raise ConfigError(
            "several runs at once share one device, but torchrun has started "
            f"{n_devices * n_nodes} processes; give the command without it"
        )


def _started_by_torchrun() -> tuple[int, int] | None:
    """Devices of each machine and machines, where torchrun has started this process."""
    if not torch.distributed.is_available() or not torch.distributed.is_torchelastic_launched():
        return None
    n_local = int(os.environ["LOCAL_WORLD_SIZE"])
    return n_local, int(os.environ["WORLD_SIZE"]) // n_local


def _numbers(n_devices: int | None, n_nodes: int | None) -> tuple[int, int]:
    """Devices of each machine and machines: given, or those of torchrun, or one."""
    for name, given in (("--devices", n_devices), ("--nodes", n_nodes)):
        if given is not None and given < 1:
            raise ConfigError(f"{name} must be 1 or more, got {given}")
    started = _started_by_torchrun()
    if started is None:
        return n_devices or 1, n_nodes or 1
    for name, given, there in zip(
        ("--devices", "--nodes"), (n_devices, n_nodes), started, strict=True
    ):
        if given not in (None, there):
            raise ConfigError(f"{name}={given} but torchrun has started {there}; leave it out")
    return started
