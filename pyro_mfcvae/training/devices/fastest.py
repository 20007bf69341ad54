"""Steps in the fastest way, which is found out as they are taken."""

from __future__ import annotations

import statistics
import time

from pyro_mfcvae.training.devices.compiled import has_compiler
from pyro_mfcvae.training.devices.traced import Traced
from pyro_mfcvae.training.say import Say
from pyro_mfcvae.training.state import Steps

MIN_STEPS = 1000
"""Steps to go from which on tracing is tried: it takes as long as some sixty small steps."""

N_TIMED = 15
"""Steps of each of two ways that are timed, by turns."""

_COLD, _WARM = 80.0, 8.0  # what compiling takes, without and with torch's cache, in tracings
_SHARE = 0.1  # of its time, which a run may lose
_FASTER = 0.95  # of the time of another way, to take its place


class Fastest:
    """Takes steps as they are, traced or compiled, whichever turns out to be the fastest.

    Traced steps are the same bit for bit, compiled ones to rounding. What is tried costs a run a
    tenth of its time at the most.

    Args:
        eager: the steps as they are.
        traced: the same steps by graphs.
        say: is told what is going on.
    """

    def __init__(self, eager: Steps, traced: Traced, say: Say) -> None:
        self.best = self.short = eager
        self.traced, self.say = traced, say
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
        if trial.ratio < _FASTER:
            self.best = trial.new
            n_short = (self._state.n_steps - self._state.step) // self._state.batches.per_epoch
            if n_short * trial.seconds * (1 / trial.ratio - 1) > trial.preparation:
                self.short = self.traced
        self._trial = None
        if trial.new is self.traced and self._compiling_pays(trial):
            if has_compiler():
                compiled = Traced(self.traced.steps, compiles=True, say=self.say, tell=self.say)
                self._trial = _Trial(self.best, compiled)
            else:
                self.say("no C++ compiler was found (CXX, or g++): steps are not compiled")

    def _compiling_pays(self, trial: _Trial) -> bool:
        to_go = (self._state.n_steps - self._state.step) * trial.seconds * _SHARE
        warm, cold = (each * trial.preparation for each in (_WARM, _COLD))
        return cold < to_go or (warm < to_go and self.traced.is_in_cache)


class _Trial:
    """Two ways of taking steps by turns.

    Attributes:
        preparation: seconds of the new way's first step.
        seconds: of a step of the faster way, once it is over.
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
        self.seconds = min(statistics.median(new), statistics.median(old))
        return True
