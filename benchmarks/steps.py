"""Training steps and whole training against the same written by hand, side by side."""

from __future__ import annotations

import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from typing_extensions import override

from benchmarks.candidates import (
    BY_HAND,
    BY_HAND_COMPILED,
    COMPILED,
    FIT,
    NETWORKS,
    TRACED,
    EndToEnd,
    by_graph,
    by_hand,
    deviation,
    networks,
    training_steps,
)
from benchmarks.device import kernel_seconds, what_waits
from benchmarks.timing import (
    CLOCKS,
    Clock,
    Timings,
    alternate,
    repeated,
    steps_per_turn,
    waiter,
    warm_up_turns,
)
from benchmarks.workload import Workload
from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.training import Callback, TrainingState, new_state, take_steps
from pyro_mfcvae.training.callbacks import MetricsLog, StopAtNonsense
from pyro_mfcvae.training.checkpoints import Checkpoints
from pyro_mfcvae.training.say import Say

_TOLERANCE = 1e-8  # in float64, of gradients that are sums of a thousand terms
_N_RARE_ROUNDS = 3  # of what happens once in hundreds of steps


def bench_steps(
    load: Workload,
    n_rounds: int,
    turn_seconds: float,
    full: bool = False,
    clock: Clock = CLOCKS["wall"],
    say: Say = lambda _: None,
    compiles: bool = False,
) -> dict[str, Any]:
    """Time networks, the hand-written step, ours with every guide, and ``fit``.

    Args:
        load: settings and data.
        n_rounds: turns of every candidate.
        turn_seconds: how long a turn of the hand-written step is to be.
        full: train a whole run as well, and time it.
        clock: seconds; of a whole run always those on the wall.
        say: is told how far it is.
        compiles: time compiled steps as well.

    Returns:
        timings relative to the hand-written step, ``"deviation"`` of that from the library,
        ``"seconds_to_start"`` of traced and compiled steps, with what torch has in its cache,
        ``"left_out"`` with settings that only our own steps follow, ``"end_to_end"``, and on CUDA
        ``"device"``.

    Raises:
        ConfigError: if the hand-written objective does not know the settings.
        TrainingError: if it is not the library's objective, or a whole run breaks down.
        KeyboardInterrupt: if Ctrl-C or SIGTERM ended a whole run.
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
        n = steps_per_turn(hand, turn_seconds, load.device)
        ours = training_steps(load)
        steps = {NETWORKS: networks(load), BY_HAND: hand} | ours
        if compiles:
            steps[BY_HAND_COMPILED] = by_hand(load, compiled=True)
        started = {}
        for kind in (TRACED, COMPILED)[: 1 + compiles]:
            say(f"{kind}: the first step")
            steps[kind], started[kind] = by_graph(load, kind)
        turns = {name: repeated(step, n) for name, step in steps.items()}
        with closing(EndToEnd(load, Path(name), n)) as end_to_end:
            turns[FIT] = end_to_end.turn
            n_warm_up = warm_up_turns(load.device, n)
            timings = alternate(turns, n_rounds, n, n_warm_up, wait, clock)
            say("checkpoints and held-out measurements")
            rare = _rare(load, end_to_end, clock)
        if load.device.type == "cuda":
            say("waits and kernels")
            step = ours[guide]
            device = {
                "waits": what_waits(step, load.device),
                "kernel_seconds": kernel_seconds(step, load.device),
            }
        whole = _end_to_end(load, timings, rare)
        if full:
            say(f"a whole run, of about {whole['full_length']:.0f} s")
            measured = _whole_run(load, Path(name) / "whole", say)
    return {
        "guide": guide,
        "deviation": off,
        "left_out": ["training.warp"] if load.config.training.warp is not None else [],
        "seconds_to_start": started,
        **timings.record(BY_HAND),
        "end_to_end": whole | {"measured_full_length": measured},
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
    """What a real run's steps take, with what happens every few epochs shared out among them.

    ``"ratio"`` has the log and checkpoints in it, but no measurements on held-out data.
    """
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


def _whole_run(load: Workload, folder: Path, say: Say) -> float:
    """Seconds from the first step of a run to its end, with all that a real one logs and saves."""
    from pyro_mfcvae.evaluation import HeldOutLog

    folder.mkdir()
    log = MetricsLog(folder / "metrics.jsonl")
    state = new_state(load.model(), load.x, load.config)
    own = [
        StopAtNonsense(log),
        log,
        HeldOutLog(load.dataset, log),
        Checkpoints(folder / "checkpoints"),
        _Tenths(say),
    ]
    began = time.perf_counter()
    take_steps(state, own)
    waiter(load.device)()
    seconds = time.perf_counter() - began
    if state.interrupted or state.stop_signal:  # a signal ends a training in good order
        raise KeyboardInterrupt
    return seconds


class _Tenths(Callback):
    """Says ten times in a run how far it is."""

    def __init__(self, say: Say) -> None:
        self.say = say

    @override
    def on_step(self, state: TrainingState) -> None:
        if 10 * state.step // state.n_steps > 10 * (state.step - 1) // state.n_steps:
            self.say(f"step {state.step:,} of {state.n_steps:,}")
