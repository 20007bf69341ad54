"""Training steps and whole training against the same written by hand, side by side."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from pyro_mfcvae.bench.candidates import (
    BY_HAND,
    FIT,
    NETWORKS,
    EndToEnd,
    by_hand,
    deviation,
    networks,
    training_steps,
)
from pyro_mfcvae.bench.device import kernel_seconds, what_waits
from pyro_mfcvae.bench.timing import (
    CLOCKS,
    Clock,
    Timings,
    alternate,
    repeated,
    steps_per_turn,
    waiter,
)
from pyro_mfcvae.bench.workload import Workload
from pyro_mfcvae.errors import TrainingError

_TOLERANCE = 1e-8  # in float64, of gradients that are sums of a thousand terms
_N_RARE_ROUNDS = 3  # of what happens once in hundreds of steps


def bench_steps(
    load: Workload,
    n_rounds: int,
    turn_seconds: float,
    full: bool = False,
    clock: Clock = CLOCKS["wall"],
) -> dict[str, Any]:
    """Time networks, the hand-written step, ours with every guide, and ``fit``.

    Args:
        load: settings and data.
        n_rounds: turns of every candidate.
        turn_seconds: how long a turn of the hand-written step is to be.
        full: train a whole run as well, and time it.
        clock: seconds.

    Returns:
        timings relative to the hand-written step, ``"deviation"`` of that from the library,
        ``"end_to_end"``, and on CUDA ``"device"``.

    Raises:
        ConfigError: if the hand-written objective does not know the settings.
        TrainingError: if it is not the library's objective.
    """
    off = deviation(load)
    if off > _TOLERANCE:
        raise TrainingError(
            f"the hand-written objective is not the library's: relative difference {off:.1e}, "
            f"expected below {_TOLERANCE:.0e}; the times would not compare"
        )
    wait, guide = waiter(load.device), load.config.guide.name
    device = measured = None
    with tempfile.TemporaryDirectory() as name:
        hand = by_hand(load)
        n = steps_per_turn(hand, turn_seconds, wait)
        ours = training_steps(load)
        steps = {NETWORKS: networks(load), BY_HAND: hand} | ours
        turns = {name: repeated(step, n) for name, step in steps.items()}
        with closing(EndToEnd(load, Path(name), n)) as end_to_end:
            turns[FIT] = end_to_end.turn
            timings = alternate(turns, n_rounds, n, wait=wait, clock=clock)
            rare = _rare(load, end_to_end, clock)
        if load.device.type == "cuda":
            step = ours[guide]
            device = {"waits": what_waits(step), "kernel_seconds": kernel_seconds(step)}
        if full:
            measured = _whole_run(load, Path(name) / "whole")
    return {
        "guide": guide,
        "deviation": off,
        **timings.record(BY_HAND),
        "end_to_end": _end_to_end(load, timings, rare) | {"measured_full_length": measured},
        "device": device,
    }


def _rare(load: Workload, end_to_end: EndToEnd, clock: Clock) -> dict[str, float]:
    """Seconds of a checkpoint, and of a measurement on held-out data where the settings want it."""
    turns = {"checkpoints": end_to_end.save}
    if load.config.training.evaluate_every:
        turns["held-out measurements"] = end_to_end.measure
    wait = waiter(load.device)
    timings = alternate(turns, _N_RARE_ROUNDS, n_warm_up=0, wait=wait, clock=clock)
    return {name: timings.median(name) for name in turns}


def _end_to_end(load: Workload, timings: Timings, rare: dict[str, float]) -> dict[str, Any]:
    """What a real run's steps take, with what happens every few epochs shared out among them."""
    training, guide = load.config.training, load.config.guide.name
    every = {
        "checkpoints": training.checkpoint_every,
        "held-out measurements": training.evaluate_every,
    }
    seconds = {"steps and log": timings.median(FIT)} | {
        name: taken / (every[name] * load.steps_per_epoch) if every[name] else 0.0
        for name, taken in rare.items()
    }
    ratio = timings.ratio(FIT, guide)
    return {
        "seconds_per_step": seconds,
        "seconds_each": rare,
        "ratio_to": guide,
        "ratio_without_checkpoints": ratio.median,
        "ratio_quartiles": ratio.quartiles,
        "ratio": ratio.median + seconds["checkpoints"] / timings.median(guide),
        "full_length": training.n_epochs * load.steps_per_epoch * sum(seconds.values()),
    }


def _whole_run(load: Workload, folder: Path) -> float:
    """Seconds of a whole run, saved and measured on held-out data as in a real one."""
    from pyro_mfcvae.evaluation import HeldOutLog
    from pyro_mfcvae.training import fit, new_state
    from pyro_mfcvae.training.callbacks import MetricsLog, StopAtNonsense
    from pyro_mfcvae.training.checkpoints import Checkpoints

    folder.mkdir()
    log = folder / "metrics.jsonl"
    state = new_state(load.model(), load.x, load.config)
    own = [
        StopAtNonsense(),
        MetricsLog(log),
        HeldOutLog(load.dataset, log),
        Checkpoints(folder / "checkpoints"),
    ]
    began = time.perf_counter()
    fit(state, own)
    waiter(load.device)()
    return time.perf_counter() - began
