"""What a training step costs as one size grows and the others stay."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from benchmarks.timing import CLOCKS, Clock, Turn, take_turns
from benchmarks.workload import Workload
from pyro_mfcvae.config import Config, with_facets
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.training import TrainingState
from pyro_mfcvae.training.devices.stepping import stepper, stepper_of_all

SCANS: Mapping[str, tuple[int, ...]] = {
    "n_clusters": (25, 100, 500, 2_000),
    "n_facets": (1, 2, 4, 8),
    "latent_dim": (2, 8, 32),
    "n_samples": (1, 2, 4, 8),
    "batch_size": (32, 128, 512, 2_048),
    "n_observations": (1_000, 10_000, 100_000),
    "n_runs": (1, 2, 5, 10),
}
QUICK_SCANS: Mapping[str, tuple[int, ...]] = {
    name: (values[0], values[1]) for name, values in SCANS.items()
}
"""The first two values of every scan."""


def bench_scans(
    load: Workload,
    n_rounds: int,
    turn_seconds: float,
    scans: Mapping[str, tuple[int, ...]] = SCANS,
    clock: Clock = CLOCKS["wall"],
) -> dict[str, Any]:
    """Time training steps over each size, its values in turns.

    Of ``n_observations`` the first step of an epoch is timed, which draws the epoch's order; of
    ``n_runs`` a step of all runs at once.

    Args:
        load: settings and data; the scanned size takes the place of theirs.
        n_rounds: turns of every value.
        turn_seconds: how long a turn with the smallest value is to be.
        scans: {size: values}.
        clock: seconds.

    Returns:
        {size: timings relative to the smallest value}; a value that the model cannot have is left
        out.
    """
    results = {}
    for name, values in scans.items():
        steps = _steps(load, name, values)
        if not steps:
            continue
        first = next(iter(steps))
        timings = take_turns(steps, first, n_rounds, turn_seconds, load.device, clock)
        results[name] = timings.record(first)
    return results


def resized(config: Config, name: str, value: int) -> Config:
    """Settings with one size replaced, in all facets where it is one of a facet.

    Raises:
        ConfigError: if the model cannot have it.
    """
    facets = config.model.facets
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


def _steps(load: Workload, name: str, values: tuple[int, ...]) -> dict[str, Turn]:
    """{value: a training step with it}."""
    steps: dict[str, Turn] = {}
    for value in values:
        try:
            if name == "n_observations":
                steps[str(value)] = _first_of_an_epoch(load.state(n=value))
            elif name == "n_runs":
                steps[str(value)] = stepper_of_all([_seeded(load, seed) for seed in range(value)])
            else:
                sized = load.with_config(resized(load.config, name, value))
                steps[str(value)] = stepper(sized.state())
        except ConfigError:
            continue  # VaDE has one facet, for instance
    return steps


def _seeded(load: Workload, seed: int) -> TrainingState:
    return load.with_config(replace(load.config, seed=seed)).state()


def _first_of_an_epoch(state: TrainingState) -> Turn:
    train_step = stepper(state)

    def step() -> None:
        state.step += -state.step % state.batches.per_epoch
        train_step()

    return step
