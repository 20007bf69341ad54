"""Timing candidates in turns, so that a machine that slows down or speeds up does so for all."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch

from pyro_mfcvae.training.devices.captured import N_WARM_UP

Turn = Callable[[], object]
Clock = Callable[[], float]

CLOCKS: Mapping[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""``"cpu"`` counts only the seconds in which this process computes, in all of its threads."""


@dataclass(frozen=True)
class Ratio:
    """How many times as long one candidate takes as another.

    Attributes:
        of_medians: the ratio of both medians over all rounds.
        median: the median of the ratios of every round; drift over the rounds cancels in it.
        quartiles: first and third quartile of these ratios.
    """

    of_medians: float
    median: float
    quartiles: tuple[float, float]


@dataclass(frozen=True)
class Timings:
    """What candidates took in every round.

    Attributes:
        seconds: {candidate: seconds per step of each round}.
        n_steps: steps that a turn was made of.
    """

    seconds: Mapping[str, tuple[float, ...]]
    n_steps: int = 1

    def median(self, name: str) -> float:
        """Seconds per step, the median over the rounds."""
        return statistics.median(self.seconds[name])

    def ratio(self, name: str, to: str) -> Ratio:
        """Seconds of one candidate over those of another."""
        pairs = zip(self.seconds[name], self.seconds[to], strict=True)
        by_round = [a / b for a, b in pairs]
        return Ratio(
            self.median(name) / self.median(to), statistics.median(by_round), quartiles(by_round)
        )

    def difference(self, name: str, to: str) -> float:
        """Seconds per step that a candidate takes more than another: the median over the rounds."""
        pairs = zip(self.seconds[name], self.seconds[to], strict=True)
        return statistics.median(a - b for a, b in pairs)

    def record(self, to: str | None = None) -> dict[str, Any]:
        """The timings as plain values, on request with every candidate's ratio to one of them."""
        candidates: dict[str, Any] = {}
        for name, seconds in self.seconds.items():
            candidates[name] = {
                "seconds": self.median(name),
                "quartiles": quartiles(seconds),
                "seconds_by_round": seconds,
            }
            if to is not None:
                ratio = self.ratio(name, to)
                candidates[name] |= {
                    "ratio": ratio.median,
                    "ratio_quartiles": ratio.quartiles,
                    "ratio_of_medians": ratio.of_medians,
                    "difference": self.difference(name, to),
                }
        return {"n_steps_per_turn": self.n_steps, "ratios_to": to, "candidates": candidates}


def alternate(
    candidates: Mapping[str, Turn],
    n_rounds: int,
    n_steps: int = 1,
    n_warm_up: int = 1,
    wait: Callable[[], None] = lambda: None,
    clock: Clock = time.perf_counter,
) -> Timings:
    """Time candidates in turns.

    Every round begins with another candidate and, every second time, goes through them backwards:
    no candidate always follows the same one.

    Args:
        candidates: {name: one turn of it}.
        n_rounds: turns of every candidate that are timed.
        n_steps: steps that a turn is made of.
        n_warm_up: turns of every candidate before them.
        wait: waits until the device has done what it was given.
        clock: seconds.

    Raises:
        ValueError: if there is nothing to time.
    """
    if not candidates or n_rounds < 1:
        raise ValueError(
            f"expected candidates and at least one round, got {len(candidates)} and {n_rounds}"
        )
    names = list(candidates)
    for _ in range(n_warm_up):
        for turn in candidates.values():
            turn()
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for i in range(n_rounds):
        first = i % len(names)
        order = names[first:] + names[:first]
        for name in reversed(order) if i % 2 else order:
            wait()
            began = clock()
            candidates[name]()
            wait()
            seconds[name].append((clock() - began) / n_steps)
    return Timings({name: tuple(values) for name, values in seconds.items()}, n_steps)


def take_turns(
    steps: Mapping[str, Turn],
    first: str,
    n_rounds: int,
    turn_seconds: float,
    device: torch.device,
    clock: Clock = CLOCKS["wall"],
    n_least: int = 1,
) -> Timings:
    """Time steps in turns, each made of as many of them.

    Args:
        steps: {name: one step}.
        first: name of the step of which a turn is to take so many seconds.
        n_rounds: turns of each.
        turn_seconds: of the first one's turn.
        device: what they compute on.
        clock: seconds.
        n_least: steps that a turn has at least.
    """
    n = max(n_least, steps_per_turn(steps[first], turn_seconds, device))
    turns = {name: repeated(step, n) for name, step in steps.items()}
    return alternate(turns, n_rounds, n, warm_up_turns(device, n), waiter(device), clock)


def quartiles(values: list[float] | tuple[float, ...]) -> tuple[float, float]:
    """First and third quartile; of a single value, the value twice."""
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return first, third


def waiter(device: torch.device) -> Callable[[], None]:
    """What waits for a device; a CPU is never behind."""
    if device.type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None


def repeated(step: Turn, n: int) -> Turn:
    """A turn of n steps."""

    def turn() -> None:
        for _ in range(n):
            step()

    return turn


def warm_up_turns(device: torch.device, n: int) -> int:
    """Turns of n steps before any is timed: on CUDA enough for steps to be captured in them."""
    return -(-(N_WARM_UP + 1) // n) if device.type == "cuda" else 1


def steps_per_turn(step: Turn, seconds: float, device: torch.device, most: int = 200) -> int:
    """How many steps make a turn of about so many seconds; takes a few of them to find out."""
    wait = waiter(device)
    for _ in range(max(2, warm_up_turns(device, 1))):
        step()
    wait()
    began = time.perf_counter()
    step()
    wait()
    return max(1, min(most, round(seconds / (time.perf_counter() - began))))
