"""What a training step costs as one size grows and the others stay."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from benchmarks.streaming import streamed_step
from benchmarks.timing import CLOCKS, Clock, Turn, take_turns
from benchmarks.workload import Workload
from pyro_mfcvae.config import Config, with_facets
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.training import TrainingState
from pyro_mfcvae.training.devices.stepping import stepper, stepper_of_all

MIXTURES = "mixtures"
"""A scan of J x K x D together, of full covariances, which come to dominate the step."""

ROWS = "n_rows"
"""A scan of a file's rows N, which are read as they are needed."""

SCANS: Mapping[str, tuple[int | str, ...]] = {
    "n_clusters": (25, 100, 500, 2_000),
    "n_facets": (1, 2, 4, 8),
    "latent_dim": (2, 8, 32),
    "n_samples": (1, 2, 4, 8),
    "batch_size": (32, 128, 512, 2_048),
    "n_observations": (1_000, 10_000, 100_000),
    "n_runs": (1, 2, 5, 10),
    ROWS: (10_000, 100_000, 1_000_000, 10_000_000),
    MIXTURES: ("1x25x2", "2x25x4", "2x100x8", "4x250x8", "4x500x16", "4x2000x16", "8x2000x16"),
}
QUICK_SCANS: Mapping[str, tuple[int | str, ...]] = {
    name: (values[0], values[1]) for name, values in SCANS.items()
}
"""The first two values of every scan."""

_BUFFER = 8 * 2**20  # bytes of a file that are shuffled together: the least, eight of its blocks
_LARGEST_FILE = 2**30  # bytes


def bench_scans(
    load: Workload,
    n_rounds: int,
    turn_seconds: float,
    scans: Mapping[str, tuple[int | str, ...]] = SCANS,
    clock: Clock = CLOCKS["wall"],
    whole_buffers: bool = True,
) -> dict[str, Any]:
    """Time training steps over each size, its values in turns.

    Of ``n_observations`` the first step of an epoch is timed, which draws the epoch's order; of
    ``n_runs`` a step of all runs at once; of :data:`ROWS` as many steps as a buffer of the file's
    rows is for, which is eight times smaller than in a real run; of :data:`MIXTURES` single steps.

    Args:
        load: settings and data; the scanned size takes the place of theirs.
        n_rounds: turns of every value.
        turn_seconds: how long a turn with the smallest value is to be.
        scans: {size: values}.
        clock: seconds.
        whole_buffers: whether turns over :data:`ROWS` are as long as a buffer.

    Returns:
        {size: timings relative to the smallest value}; a value that the model cannot have is left
        out, and a file of more than 1 GiB.
    """
    results = {}
    n_of_buffer = math.ceil(_BUFFER / (load.x[0].nbytes * load.config.training.batch_size))
    for name, values in scans.items():
        with tempfile.TemporaryDirectory() as folder:
            steps = _steps(load, name, values, Path(folder))
            if not steps:
                continue
            first = next(iter(steps))
            seconds = 0.0 if name == MIXTURES else turn_seconds
            n_least = n_of_buffer if name == ROWS and whole_buffers else 1
            rounds = min(n_rounds, 3) if n_least > 1 else n_rounds  # of long turns
            timings = take_turns(steps, first, rounds, seconds, load.device, clock, n_least)
        results[name] = timings.record(first)
    return results


def resized(config: Config, name: str, value: Any) -> Config:
    """Settings with one size replaced, in all facets where it is one of a facet.

    Raises:
        ConfigError: if the model cannot have it.
    """
    facets = config.model.facets
    if name == MIXTURES:
        n_facets, n_clusters, latent_dim = map(int, value.split("x"))
        config = with_facets(config, ",".join([f"{latent_dim}:{n_clusters}"] * n_facets))
        full = tuple(replace(facet, covariance="full") for facet in config.model.facets)
        return replace(config, model=replace(config.model, facets=full))
    if name == "n_samples":
        return replace(config, guide=replace(config.guide, n_samples=value))
    if name == "batch_size":
        return replace(config, training=replace(config.training, batch_size=value))
    if name == "n_facets":
        first = f"{facets[0].latent_dim}:{facets[0].n_clusters}"
        return with_facets(config, ",".join([first] * value))
    if name == "n_clusters":
        return with_facets(config, ",".join(f"{facet.latent_dim}:{value}" for facet in facets))
    if name == "latent_dim":
        return with_facets(config, ",".join(f"{value}:{facet.n_clusters}" for facet in facets))
    raise unknown("size", name, SCANS)


def _steps(
    load: Workload, name: str, values: tuple[int | str, ...], folder: Path
) -> dict[str, Turn]:
    """{value: a training step with it}."""
    steps: dict[str, Turn] = {}
    for value in values:
        try:
            if name == "n_observations":
                steps[str(value)] = _first_of_an_epoch(load.state(n=int(value)))
            elif name == "n_runs":
                states = [_seeded(load, seed) for seed in range(int(value))]
                steps[str(value)] = stepper_of_all(states)
            elif name != ROWS:
                sized = load.with_config(resized(load.config, name, value))
                steps[str(value)] = stepper(sized.state())
            elif int(value) * load.x[0].nbytes <= _LARGEST_FILE:
                path = write_rows(folder / f"{value}.npy", load.x, int(value))
                steps[str(value)] = streamed_step(load, path, _BUFFER)
        except ConfigError:
            continue  # VaDE has one facet, for instance
    return steps


def write_rows(path: Path, x: Tensor, n: int) -> Path:
    """Write n observations, those of x (N, *event) again and again, as a ``.npy`` file."""
    values = x.cpu().numpy()
    file = np.lib.format.open_memmap(path, "w+", values.dtype, (n, *values.shape[1:]))
    for start in range(0, n, len(values)):
        file[start : start + len(values)] = values[: n - start]
    return path


def _seeded(load: Workload, seed: int) -> TrainingState:
    return load.with_config(replace(load.config, seed=seed)).state()


def _first_of_an_epoch(state: TrainingState) -> Turn:
    train_step = stepper(state)

    def step() -> None:
        state.step += -state.step % state.batches.per_epoch
        train_step()

    return step
