"""Where a run is computed: the device by its name, and the other processes of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import torch

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.signals import status_of
from pyro_mfcvae.training.engine import ONE_PROCESS, EndedElsewhere, Engine

if TYPE_CHECKING:
    from pyro_mfcvae.training.devices.distributed import Distributed

_TIMEOUT = 1800.0  # seconds


@contextmanager
def launch(
    device: str = "auto",
    n_devices: int | None = None,
    n_nodes: int | None = None,
    timeout: float | None = None,
) -> Iterator[Engine]:
    """Start the other processes of a run, unless that has been done, and end them afterwards.

    Each of them runs the command, or script, that this process was started with, up to here.
    Under ``torchrun`` nothing is started and the numbers need not be given. Under SLURM's ``srun``
    nothing is started where it has started several tasks and the numbers are given; without them
    each task is a run of its own. On several machines give the same command on each, under
    ``torchrun`` or ``srun``, or with MASTER_ADDR, MASTER_PORT and NODE_RANK set; they must share a
    file system.

    Where a run fails, the first process on each machine says why; the others exit with status 1.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``; with one process any device.
        n_devices: processes on each machine, each with a device of its own; None means one.
        n_nodes: machines; None means one.
        timeout: seconds to wait for a process that does not answer; None means 1800. Evaluating
            and saving, for which all wait, must not take longer. A process that has died is
            noticed at once, or on the same machine within some ten seconds.

    Raises:
        ConfigError: if there are no such devices, or the numbers are not those of ``torchrun`` or
            ``srun``.
    """
    is_asked = n_devices is not None or n_nodes is not None
    started = _started_by_torchrun() or (_started_by_srun() if is_asked else None)
    try:
        engine = _engine(device, n_devices, n_nodes, timeout or _TIMEOUT, started)
    except ConfigError:
        if started is None or started.local_rank == 0:
            raise
        raise SystemExit(1) from None
    if engine is None:
        yield ONE_PROCESS
        return
    try:
        with engine.connected():
            yield engine
    except (EndedElsewhere, KeyboardInterrupt) as error:
        if engine.leads_machine:
            raise
        status = status_of(error) if isinstance(error, KeyboardInterrupt) else 1
        raise SystemExit(status) from None


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
    started = _started_by_torchrun()
    if started is not None and started.n_devices * started.n_nodes > 1:
        raise ConfigError(
            "several runs at once share one device, but torchrun has started "
            f"{started.n_devices * started.n_nodes} processes; give the command without it"
        )


class _Started(NamedTuple):
    """Processes that something else has started, of which this is one.

    Attributes:
        by: its name.
        n_devices: processes on each machine, 0 if machines have different numbers of them.
        n_nodes: machines.
        local_rank: number of this process on its machine, from 0.
    """

    by: str
    n_devices: int
    n_nodes: int
    local_rank: int


def _started_by_torchrun() -> _Started | None:
    if not torch.distributed.is_available() or not torch.distributed.is_torchelastic_launched():
        return None
    n_local = int(os.environ["LOCAL_WORLD_SIZE"])
    n_nodes = int(os.environ["WORLD_SIZE"]) // n_local
    return _Started("torchrun", n_local, n_nodes, int(os.environ.get("LOCAL_RANK", 0)))


def _started_by_srun() -> _Started | None:
    """The tasks of a step, where there are several; one alone starts the other processes itself.

    srun alone sets these variables. SLURM_NTASKS, and a rank of 0, are there in a batch script and
    in a shell as well. Where each machine has one task and NODE_RANK, that task starts the others.
    """
    n_tasks = int(os.environ.get("SLURM_STEP_NUM_TASKS", 1))
    n_nodes = int(os.environ.get("SLURM_STEP_NUM_NODES", 1))
    if n_tasks == 1 or (n_tasks == n_nodes and "NODE_RANK" in os.environ):
        return None
    is_even = "," not in os.environ.get("SLURM_STEP_TASKS_PER_NODE", "")  # 4(x2), or 4,3
    n_local = n_tasks // n_nodes if is_even else 0
    return _Started("srun", n_local, n_nodes, int(os.environ["SLURM_LOCALID"]))


def _numbers(
    n_devices: int | None, n_nodes: int | None, started: _Started | None
) -> tuple[int, int]:
    """Devices of each machine and machines: given, or those that have been started, or one."""
    for name, given in (("--devices", n_devices), ("--nodes", n_nodes)):
        if given is not None and given < 1:
            raise ConfigError(f"{name} must be 1 or more, got {given}")
    if started is None:
        return n_devices or 1, n_nodes or 1
    if not started.n_devices:
        raise ConfigError(
            f"--devices: {started.by} has started different numbers of processes on its "
            f"{started.n_nodes} machines; give it --ntasks-per-node"
        )
    there = (started.n_devices, started.n_nodes)
    for name, given, n in zip(("--devices", "--nodes"), (n_devices, n_nodes), there, strict=True):
        if given not in (None, n):
            raise ConfigError(
                f"{name}={given} but {started.by} has started {n}; give {name}={n}, or start the "
                f"command without {started.by}"
            )
    return there


def _engine(
    device: str,
    n_devices: int | None,
    n_nodes: int | None,
    timeout: float,
    started: _Started | None,
) -> Distributed | None:
    """One of several processes; None if there is one."""
    n_devices, n_nodes = _numbers(n_devices, n_nodes, started)
    if n_devices * n_nodes == 1:
        return None
    try:
        from pyro_mfcvae.training.devices.distributed import Distributed
    except ImportError as error:
        raise ConfigError(
            f"training on several devices needs lightning-fabric ({error}); install it with\n"
            '    pip install "pyro_mfcvae[distributed]"'
        ) from None
    return Distributed(device, n_devices, n_nodes, timeout, started.by if started else None)
