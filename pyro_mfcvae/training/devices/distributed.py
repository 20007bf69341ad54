"""Several processes that train one model, each on a device of its own, by Lightning Fabric.

Each takes its rows of every batch, with their rows of the whole batch's noise, and gradients are
averaged: the steps are those of one process, up to rounding. Process 0 alone writes.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments import (
    ClusterEnvironment,
    LightningEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning_fabric.strategies import DDPStrategy
from torch import Tensor, distributed, nn
from typing_extensions import override

from pyro_mfcvae.errors import ConfigError, TrainingError
from pyro_mfcvae.training.devices.processes import start_others
from pyro_mfcvae.training.engine import EndedElsewhere, Engine, T

_ADDRESS = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")


class Distributed(Engine):
    """One of several processes.

    What the hosts agree on goes by a group of processes of its own, over the network and by the
    CPU, so that they never wait for a device, and notice at once when one of them has gone.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        n_devices: processes on each machine.
        n_nodes: machines.
        timeout: seconds to wait for a process that does not answer.
        started_by: ``"torchrun"`` or ``"srun"``, if that has started the processes.

    Attributes:
        leads_machine: whether this is the first process on its machine.

    Raises:
        ConfigError: if there are no such devices, or the other machines cannot be found.
    """

    def __init__(
        self,
        device: str,
        n_devices: int,
        n_nodes: int,
        timeout: float,
        started_by: str | None = None,
    ) -> None:
        self._timeout = timedelta(seconds=timeout)
        self._starts_others = started_by is None
        self._environment = _environment(n_nodes, started_by)
        self._n_devices = n_devices
        logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
        strategy = DDPStrategy(
            cluster_environment=self._environment,
            timeout=self._timeout,
            static_graph=True,  # a parameter that has no part in the objective may be there
        )
        self._fabric = Fabric(
            accelerator=_accelerator(device, n_devices, self._starts_others),
            devices=n_devices,
            num_nodes=n_nodes,
            strategy=strategy,
        )
        self.n_processes = n_devices * n_nodes
        local_rank = self._environment.local_rank()
        self.rank = self._environment.node_rank() * n_devices + local_rank
        self.leads_machine = local_rank == 0
        self.device = self._fabric.device
        self.joins_batch_norm = self.device.type == "cuda"

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Start the other processes of this machine, where that is not done, and meet them all.

        Raises:
            EndedElsewhere: if they do not come.
        """
        if not self._starts_others:
            with self._met():
                yield
            return
        address = {
            "MASTER_ADDR": self._environment.main_address,
            "MASTER_PORT": str(self._environment.main_port),
        }
        with start_others(self._n_devices, address), self._met():
            yield

    @contextmanager
    def _met(self) -> Iterator[None]:
        try:
            with self.alert():
                self._fabric.launch()
                self._hosts = distributed.new_group(backend="gloo", timeout=self._timeout)
            yield
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()

    @override
    def wrap(self, objective: nn.Module) -> nn.Module:
        if self.joins_batch_norm:
            objective = nn.SyncBatchNorm.convert_sync_batchnorm(objective)
        return self._fabric.setup_module(objective, move_to_device=False)

    @override
    def mean(self, values: Tensor) -> Tensor:
        values = values / self.n_processes
        distributed.all_reduce(values)
        return values

    @override
    def equalise(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            distributed.broadcast(tensor.detach(), src=0)

    @override
    def any(self, flag: bool) -> bool:
        flags = torch.tensor([flag], dtype=torch.uint8)
        distributed.all_reduce(flags, distributed.ReduceOp.MAX, group=self._hosts)
        return bool(flags)

    @override
    def on_all(self, work: Callable[[], T]) -> T:
        failure: Exception | None = None
        try:
            value = work()
        except Exception as error:
            failure = error
        problems: list[str | None] = [None] * self.n_processes
        with self.alert():
            distributed.all_gather_object(
                problems, None if failure is None else str(failure), group=self._hosts
            )
        if failure is not None and self.is_writer:
            raise failure
        for rank, problem in enumerate(problems):
            if problem is not None:
                raise EndedElsewhere(f"process {rank} failed: {problem}") from failure
        return value

    @override
    def on_writer(self, work: Callable[[], T]) -> T:
        outcome = [self.on_all(work if self.is_writer else lambda: None)]
        with self.alert():
            distributed.broadcast_object_list(outcome, src=0, group=self._hosts)
        return cast(T, outcome[0])

    @override
    @contextmanager
    def alert(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            # What is raised where a connection breaks has no type of its own in all versions.
            is_ours = isinstance(error, TrainingError)
            if is_ours or not (isinstance(error, distributed.DistError) or "gloo" in str(error)):
                raise
            raise EndedElsewhere(
                "another process of this run has ended, or has not answered for "
                f"{self._timeout.total_seconds():.0f} seconds"
            ) from error


class _OwnEnvironment(LightningEnvironment):
    """Processes that find each other by MASTER_ADDR and MASTER_PORT.

    Fabric does not start them: where one dies, it would kill the others before they can say so.
    """

    @property
    @override
    def creates_processes_externally(self) -> bool:
        return True


class _SlurmStep(_OwnEnvironment):
    """The tasks of one srun, which meet on the step's first machine.

    Fabric's own environment wants --ntasks-per-node, leaves out jobs called bash or interactive,
    and has the tasks meet on the first machine of the job, of all its steps at the same port.
    """

    @property
    @override
    def main_address(self) -> str:
        first = SLURMEnvironment.resolve_root_node_address(os.environ["SLURM_STEP_NODELIST"])
        return os.environ.get("MASTER_ADDR", first)

    @property
    @override
    def main_port(self) -> int:
        number = 10 * int(os.environ["SLURM_JOB_ID"]) + int(os.environ["SLURM_STEP_ID"])
        return int(os.environ.get("MASTER_PORT", 15_000 + number % 10_000))

    @override
    def local_rank(self) -> int:
        return int(os.environ["SLURM_LOCALID"])

    @override
    def node_rank(self) -> int:
        return int(os.environ["SLURM_NODEID"])


def _environment(n_nodes: int, started_by: str | None) -> ClusterEnvironment:
    if started_by is not None:
        return {"torchrun": TorchElasticEnvironment, "srun": _SlurmStep}[started_by]()
    missing = [name for name in _ADDRESS if name not in os.environ]
    if n_nodes > 1 and missing:
        raise ConfigError(
            f"--nodes={n_nodes} needs {', '.join(missing)} in the environment: address and a free "
            "port of the first machine, and the number of this one from 0; or start the command "
            "under torchrun"
        )
    return _OwnEnvironment()


def _accelerator(device: str, n_devices: int, starts_others: bool) -> str:
    """Fabric's name for the kind of device.

    Raises:
        ConfigError: if it is no kind, or there are not enough of them here; of processes on CPUs
            that run already there may be any number.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device not in ("cpu", "cuda"):
        raise ConfigError(
            f"each of several processes has its own device: expected cpu or cuda, got {device!r}"
        )
    if device == "cuda":
        n_here, what, remedy = torch.cuda.device_count(), "CUDA devices", ", or for --device cpu"
    else:
        n_here, what, remedy = max(os.cpu_count() or 1, 2), "CPUs to share out", ""
    if n_here < n_devices and (device == "cuda" or starts_others):
        raise ConfigError(
            f"--devices={n_devices} but this machine has {n_here} {what}; ask for fewer{remedy}"
        )
    return device
