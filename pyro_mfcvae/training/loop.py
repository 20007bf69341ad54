"""The training loop of one run. It knows no model by name, nor how a step is computed."""

from __future__ import annotations

import functools
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import torch

from pyro_mfcvae.signals import Interrupted, of_clusters
from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.state import TrainingState

_PATIENCE = 2.0  # seconds from a cluster's signal until what is under way is given up


def run_loop(state: TrainingState, callbacks: Sequence[Callback], step: Callable[[], None]) -> None:
    """Train from where the state is to the end of its run.

    Args:
        state: changed in place.
        callbacks: called in this order, on process 0.
        step: takes one step.

    Raises:
        TrainingError: if the run breaks down.
    """
    loop = Loop(state, callbacks if state.engine.is_writer else ())
    with running([loop]) as stop_signal:
        while loop.goes_on:
            step()
            loop.after_step()
            loop.stop_if(stop_signal())


class Loop:
    """What happens beside the steps of one run.

    Args:
        state: of the run.
        callbacks: called in this order.
    """

    def __init__(self, state: TrainingState, callbacks: Sequence[Callback]) -> None:
        self.state, self.callbacks = state, callbacks
        self._begun: list[Callback] = []
        self._metrics: dict[str, float] = {}

    @property
    def goes_on(self) -> bool:
        """Whether there is a further step to take."""
        return self.state.step < self.state.n_steps and not self.state.interrupted

    def begin(self) -> None:
        """Before the first step."""
        self.state.model.train()
        for callback in self.callbacks:
            callback.on_start(self.state)
            self._begun.append(callback)
        if self.state.pending:
            self.state.pending = False
            self.after_step()

    def after_step(self) -> None:
        """After each step.

        Raises:
            TrainingError: if a callback finds that the run has broken down.
            Interrupted: if a signal ends what callbacks do after the last step, or on one of
                several processes. Else they are called once more when the run goes on.
        """
        state, totals, n_totals = self.state, self.state.totals, self.state.n_totals
        if totals is not None and self._is_log_point:
            totals = totals.clone()
        try:
            self._call_back()
        except Interrupted:
            if state.step == state.n_steps or state.engine.n_processes > 1:
                raise
            state.totals, state.n_totals = totals, n_totals
            self.postpone()

    def postpone(self) -> None:
        """Leave what is to be done after this step to the time when the run goes on."""
        self.state.pending = self.state.interrupted = True

    @property
    def _is_log_point(self) -> bool:
        state = self.state
        return state.step % state.config.training.log_every == 0 or state.step == state.n_steps

    def _call_back(self) -> None:
        state = self.state
        self._call("on_step")
        if self._is_log_point:
            self._metrics = state.take_means()
            self._call("on_log", self._metrics)
        if state.step % state.batches.per_epoch == 0:
            state.join_totals()
            self._call("on_epoch", self._metrics)

    def stop_if(self, requested: int) -> None:
        """Interrupt the run on all of its processes, if a callback or a signal of one asks for it.

        Args:
            requested: number of the signal that does; after the last step it comes too late.
        """
        state = self.state
        in_time = bool(requested) and state.step < state.n_steps
        if state.engine.any(state.interrupted or in_time):
            state.interrupted = True
            state.join_totals()

    def end(self) -> None:
        """After the last step: every callback that has begun ends, even if another one fails."""
        self.state.model.eval()
        try:
            with ExitStack() as ending:
                for callback in reversed(self._begun):
                    ending.callback(callback.on_end, self.state)
        except BaseException:
            self.state.failed = True
            raise

    def _call(self, hook: str, *args: object) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self.state, *args)


@contextmanager
def running(loops: Sequence[Loop]) -> Iterator[Callable[[], int]]:
    """Begin loops, and end every one of them, even if another one, or training, fails.

    Args:
        loops: of runs with the same number of threads and the same precision.

    Yields:
        what gives the number of the signal that asked for a stop, or 0.
    """
    training = loops[0].state.config.training
    stop = _Stop()
    with stop.heard(), cpu_threads(training.n_threads), products_in(training.precision):
        try:
            for loop in loops:
                loop.begin()
            yield lambda: stop.number
        except BaseException:
            for loop in loops:
                loop.state.failed = True
            with suppress(Exception):  # what went wrong first is what is told
                stop.end(loops)
            raise
        stop.end(loops)


class _Stop:
    """A signal that asks for a stop. A second one raises Interrupted.

    So does time: a cluster that sends SIGTERM kills soon after, and what takes long, such as an
    evaluation or a compiler, hears of nothing.

    Attributes:
        number: of the signal, or 0.
    """

    def __init__(self) -> None:
        self.number = 0
        self._timer: threading.Timer | None = None

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Hear signals; only the main thread may."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        signals = [signal.SIGINT, *of_clusters()]
        previous = [signal.signal(number, self._handle) for number in signals]
        try:
            yield
        finally:
            self._wait()
            for number, handler in zip(signals, previous, strict=True):
                signal.signal(number, handler)

    def end(self, loops: Sequence[Loop]) -> None:
        """End all loops; saving may take its time."""
        self._wait()
        with ExitStack() as ending:
            for loop in reversed(loops):
                loop.state.stop_signal = self.number
                ending.callback(loop.end)

    def _wait(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _handle(self, number: int, _frame: object) -> None:
        if self.number:
            raise Interrupted(self.number)
        self.number = number
        if number != signal.SIGINT and hasattr(signal, "pthread_kill"):
            again = functools.partial(signal.pthread_kill, threading.get_ident(), number)
            self._timer = threading.Timer(_PATIENCE, again)
            self._timer.daemon = True
            self._timer.start()


@contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Compute with so many CPU threads, or one for each CPU; 0 leaves them as they are."""
    before = torch.get_num_threads()
    if n_threads:
        torch.set_num_threads(min(n_threads, os.cpu_count() or 1))
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Let CUDA devices compute products in TF32 meanwhile, or keep them from it."""
    names: tuple[Any, ...] = (torch.backends.cuda.matmul, torch.backends.cudnn)
    before = [backend.allow_tf32 for backend in names]
    for backend in names:
        backend.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        for backend, allowed in zip(names, before, strict=True):
            backend.allow_tf32 = allowed
