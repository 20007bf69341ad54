"""A whole benchmark: what was asked for, measured, judged and recorded."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.density import bench_density
from benchmarks.imports import bench_imports
from benchmarks.memory import bench_memory
from benchmarks.reference import check_by_hand
from benchmarks.scans import QUICK_SCANS, SCANS, bench_scans
from benchmarks.steps import bench_steps
from benchmarks.streaming import bench_streaming
from benchmarks.targets import judge
from benchmarks.timing import CLOCKS
from benchmarks.workload import TABLE, Workload, describe, settings, workload
from pyro_mfcvae.allocator import keep_memory
from pyro_mfcvae.config import Config, override
from pyro_mfcvae.data import in_folder
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.plugins import guide_class, model_class
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.runs.run import commit
from pyro_mfcvae.training.devices.compiled import has_compiler
from pyro_mfcvae.training.devices.launch import resolve_device
from pyro_mfcvae.training.loop import cpu_threads, products_in
from pyro_mfcvae.training.say import Say

PARTS = ("steps", "scans", "streaming", "memory", "density", "imports")
_OF_PRESETS = ("steps", "scans", "streaming", "memory")
PRESETS = ("mnist", "shapes", "shapes3d-1", "svhn", TABLE)
Keep = Callable[[dict[str, Any]], None]

_PACKAGES = ("pyro_mfcvae", "pyro-ppl", "torch", "numpy")


@dataclass(frozen=True)
class Request:
    """What to measure.

    Attributes:
        presets: names; none takes a few published ones, or for quick the default.
        parts: of :data:`PARTS`; none takes all.
        device: name.
        n_threads: CPU threads; None leaves them as they are.
        n_rounds: turns of every candidate; None takes 15, or for quick 5.
        clock: ``"wall"``, or ``"cpu"`` for a busy machine and one thread.
        quick: fewer and shorter turns, and smaller scans.
        full: train whole runs as well.
        assignments: settings to change in every preset, ``dotted.path=value``.
        data_dir: folder of the data's files.

    Raises:
        ConfigError: if a part or the clock is unknown, or the rounds or threads are too few.
    """

    presets: Sequence[str] = ()
    parts: Sequence[str] = ()
    device: str = "auto"
    n_threads: int | None = None
    n_rounds: int | None = None
    clock: str = "wall"
    quick: bool = False
    full: bool = False
    assignments: Sequence[str] = ()
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        for part in self.parts:
            if part not in PARTS:
                raise unknown("part", part, PARTS)
        if self.clock not in CLOCKS:
            raise unknown("clock", self.clock, CLOCKS)
        for name, n in (("rounds", self.n_rounds), ("threads", self.n_threads)):
            if n is not None and n < 1:
                raise ConfigError(f"expected 1 or more {name}, got {n}")

    @property
    def rounds(self) -> int:
        """Turns of every candidate."""
        return self.n_rounds or (5 if self.quick else 15)

    @property
    def turn_seconds(self) -> float:
        """How long a turn is to be."""
        return 0.1 if self.quick else 0.4

    def asks(self, part: str) -> bool:
        """Whether a part is to be measured."""
        return not self.parts or part in self.parts

    def configs(self) -> dict[str, Config]:
        """{preset: its settings with the changes}.

        Raises:
            ConfigError: if a preset or a setting is unknown.
        """
        names = self.presets or (("shapes",) if self.quick else PRESETS)
        return {name: self._config(name) for name in names}

    def torch_device(self) -> torch.device:
        """The device.

        Raises:
            ConfigError: if it does not exist here, or the clock does not see it.
        """
        device = resolve_device(self.device)
        if device.type != "cpu" and self.clock != "wall":
            raise ConfigError(f"the clock {self.clock} does not see {device}; take wall")
        return device

    def check(self) -> None:
        """Raise a ConfigError if what was asked for cannot be measured here."""
        for name, config in self.configs().items():
            try:
                model_class(config.model)
                guide_class(config.guide)
            except ConfigError as error:
                raise ConfigError(f"{name}: {error}") from None
        self.torch_device()

    def command(self) -> str:
        """The command line that asks for the same, without folders of this machine."""
        words = ["mfcvae", "bench", *self.presets, "--device", self.device]
        for option, value in (("--threads", self.n_threads), ("--rounds", self.n_rounds)):
            words += [] if value is None else [option, str(value)]
        words += [] if self.clock == "wall" else ["--clock", self.clock]
        words += [f"--{flag}" for flag in ("quick", "full") if getattr(self, flag)]
        words += ["--only", ",".join(self.parts)] if self.parts else []
        for assignment in self.assignments:
            words += ["--set", assignment]
        return shlex.join(words)

    def _config(self, name: str) -> Config:
        config = override(settings(name), self.assignments)
        # One number of threads for all candidates, set around them; other kinds of steps are asked
        # for where they are timed.
        config = replace(config, training=replace(config.training, n_threads=0, step="eager"))
        if self.data_dir is None:
            return config
        try:
            return replace(config, data=in_folder(config.data, self.data_dir))
        except ConfigError:
            return config  # rendered data need no folder


def run_bench(
    request: Request, say: Say = lambda _: None, keep: Keep = lambda _: None
) -> dict[str, Any]:
    """Measure what was asked for.

    ``fit`` lets a process keep its memory on a CPU. So that all candidates gain from it, this
    happens before anything is measured, and lasts as long as the process.

    Args:
        request: what to measure.
        say: is told what is being measured.
        keep: is given the record after every part, with what there is by then.

    Returns:
        ``"command"``, ``"clock"``, ``"memory_kept"`` by the process, ``"machine"``, ``"presets"``
        with settings, data and parts of each, ``"density"``, ``"imports"``, and ``"targets"``;
        parts that were not asked for are missing.

    Raises:
        ConfigError: if something does not fit; of names and settings before anything is measured.
        DataError: if files of a preset are damaged.
        TrainingError: if the reference is not the library's objective, or a run breaks down.
    """
    configs = request.configs()
    device = request.torch_device()
    record: dict[str, Any] = {
        "command": request.command(),
        "clock": request.clock,
        "memory_kept": device.type == "cpu" and keep_memory(),
        "presets": {},
    }

    def done() -> None:
        record["targets"] = judge(record)
        keep(record)

    with cpu_threads(request.n_threads or 0):
        record["machine"] = machine(device)
        if any(request.asks(part) for part in _OF_PRESETS):
            loads = {name: workload(config, device) for name, config in configs.items()}
            if request.asks("steps") or request.asks("memory"):
                for load in loads.values():
                    check_by_hand(load.model())
            for name in configs:
                load = loads[name]
                results = record["presets"][name] = describe(load)
                for part, found in _of_preset(name, load, request, say):
                    results[part] = found
                    done()
        if request.asks("density"):
            say("density")
            record["density"] = bench_density(
                device, request.rounds, request.turn_seconds, CLOCKS[request.clock]
            )
            done()
        if request.asks("imports"):
            say("imports")
            n_rounds = min(request.rounds, 3) if request.quick else request.rounds
            record["imports"] = bench_imports(n_rounds, request.clock)
            done()
    return record


def machine(device: torch.device) -> dict[str, Any]:
    """Where and with what the numbers were measured."""
    on_cuda = device.type == "cuda"
    return {
        "device": str(device),
        "cuda_device": torch.cuda.get_device_name(device) if on_cuda else None,
        "cpu": _cpu_model(),
        "n_cores": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
        "commit": commit(),
    }


def _of_preset(
    name: str, load: Workload, request: Request, say: Say
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Measures a preset, part by part."""
    if load.made_up:
        say(f"{name}: its files are missing, so noise of their shape is trained on")
    scans = QUICK_SCANS if request.quick else SCANS
    rounds, seconds, clock = request.rounds, request.turn_seconds, CLOCKS[request.clock]
    parts: dict[str, Callable[[Workload], dict[str, Any]]] = {
        "steps": lambda load: bench_steps(
            load,
            rounds,
            seconds,
            request.full,
            clock,
            lambda text: say(f"{name}: {text}"),
            compiles=not request.quick and has_compiler(),
        ),
        "scans": lambda load: bench_scans(
            load, min(rounds, 5), seconds / 4, scans, clock, whole_buffers=not request.quick
        ),
        "streaming": lambda load: bench_streaming(load, min(rounds, 7), clock),
        "memory": bench_memory,
    }
    with products_in(load.config.training.precision):
        for part, bench in parts.items():
            if request.asks(part):
                say(f"{name}: {part}")
                yield part, bench(load)


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
