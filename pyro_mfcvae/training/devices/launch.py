"""Where a run is computed: the device by its name, and the other processes of a run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.training.engine import ONE_PROCESS, EndedElsewhere, Engine

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
