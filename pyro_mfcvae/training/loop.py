"""The training loop of one run. It knows no model by name, nor how a step is computed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.state import TrainingState


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
    with running([loop]) as stop_requested:
        while loop.goes_on:
            step()
            loop.after_step()
            loop.stop_if(stop_requested())


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

    def after_step(self) -> None:
        """After each step.

        Raises:
            TrainingError: if a callback finds that the run has broken down.
        """
        state = self.state
        self._call("on_step")
        if state.step % state.config.training.log_every == 0 or state.step == state.n_steps:
            self._metrics = state.take_means()
            self._call("on_log", self._metrics)
        if state.step % state.batches.per_epoch == 0:
            state.join_totals()
            self._call("on_epoch", self._metrics)

    def stop_if(self, requested: bool) -> None:
        """Interrupt the run on all of its processes, if a callback or a signal of one asks for it.

        Args:
            requested: whether a signal did; after the last step it comes too late.
        """
        state = self.state
        requested = requested and state.step < state.n_steps
        if state.engine.any(state.interrupted or requested):
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
def running(loops: Sequence[Loop]) -> Iterator[Callable[[], bool]]:
    """Begin loops, and end every one of them, even if another one, or training, fails.

    Args:
        loops: of runs with the same number of threads and the same precision.

    Yields:
        what tells whether a signal asked for a stop.
    """
    training = loops[0].state.config.training
    with (
        _stop_signals() as stop_requested,
        cpu_threads(training.n_threads),
        products_in(training.precision),
    ):
        try:
            for loop in loops:
                loop.begin()
            yield stop_requested
        except BaseException:
            for loop in loops:
                loop.state.failed = True
            raise
        finally:
            with ExitStack() as ending:
                for loop in reversed(loops):
                    loop.state.stop_requested = stop_requested()
                    ending.callback(loop.end)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Whether a signal asked for a stop; a second one raises KeyboardInterrupt."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return

    def handle(number: int, _frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    signals = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signals.append(signal.SIGHUP)  # else nohup lets the run outlive its terminal
    previous = [signal.signal(number, handle) for number in signals]
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)


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
