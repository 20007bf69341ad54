"""Steps in the faster of two ways that give the same numbers, which is found out on the way.

Compiled steps are not among them: they change rounding, and whether they pay depends on how busy
the machine is, so that a second run with the same seed would be another run.
"""

from __future__ import annotations

import statistics
import time

from pyro_mfcvae.training.devices.traced import Traced
from pyro_mfcvae.training.state import Steps

MIN_STEPS = 1000
"""Steps to go from which on tracing is tried: it takes as long as some sixty small steps."""

N_TIMED = 15
"""Steps of each way that are timed, by turns."""

_FASTER = 0.95  # of the time of an eager step, to take its place


class Fastest:
    """Takes steps as they are, or traced if that is faster; both are the same bit for bit.

    Args:
        eager: the steps as they are.
        traced: the same steps by graphs.
    """

    def __init__(self, eager: Steps, traced: Traced) -> None:
        self.best = self.short = eager
        self.traced = traced
        self._state = traced.steps.states[0]
        self._trial: _Trial | None = _Trial(eager, traced)

    def step(self) -> None:
        """Take one step."""
        if self._is_short():
            self.short.step()
        elif self._trial is None:
            self.best.step()
        elif self._trial.step():
            self._decide(self._trial)

    def _is_short(self) -> bool:
        batches = self._state.batches
        is_last = (self._state.step + 1) % batches.per_epoch == 0
        return is_last and batches.per_epoch > 1 and len(batches.x) % batches.batch_size > 0

    def _decide(self, trial: _Trial) -> None:
        self._trial = None
        if trial.ratio < _FASTER:
            self.best = self.traced
            n_short = (self._state.n_steps - self._state.step) // self._state.batches.per_epoch
            if n_short * trial.seconds * (1 / trial.ratio - 1) > trial.preparation:
                self.short = self.traced


class _Trial:
    """Two ways of taking steps by turns.

    Attributes:
        preparation: seconds of the new way's first step.
        seconds: of one of its further steps, once the trial is over.
        ratio: of a step of the new way to one of the old way, likewise.
    """

    def __init__(self, old: Steps, new: Steps) -> None:
        self.old, self.new = old, new
        self.preparation = self.seconds = self.ratio = 0.0
        self._taken: list[float] = []

    def step(self) -> bool:
        """Take one step; returns whether the trial is over."""
        began = time.perf_counter()
        (self.old if len(self._taken) % 2 else self.new).step()
        self._taken.append(time.perf_counter() - began)
        if len(self._taken) < 2 * N_TIMED + 2:
            return False
        self.preparation = self._taken[0]
        new, old = self._taken[2::2], self._taken[3::2]
        self.ratio = statistics.median(a / b for a, b in zip(new, old, strict=True))
        self.seconds = statistics.median(new)
        return True
