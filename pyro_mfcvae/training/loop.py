"""The training loop. It knows no model by name."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.state import TrainingState


def fit(state: TrainingState, callbacks: Sequence[Callback] = ()) -> TrainingState:
    """Train from where the state is to the end of its run.

    Ctrl-C and SIGTERM end the run after the step under way, with ``state.interrupted`` set; a
    second one ends it at once with KeyboardInterrupt.

    Args:
        state: changed in place.
        callbacks: called in this order.

    Returns:
        the state.
    """
    config, per_epoch = state.config.training, state.batches.per_epoch
    state.model.train()
    metrics: dict[str, float] = {}
    with _stop_requested() as stop_requested, cpu_threads(config.n_threads):
        _call(callbacks, "on_start", state)
        try:
            while state.step < state.n_steps and not state.interrupted:
                state.train_step()
                _call(callbacks, "on_step", state)
                if state.step % config.log_every == 0 or state.step == state.n_steps:
                    metrics = state.take_means()
                    _call(callbacks, "on_log", state, metrics)
                if state.step % per_epoch == 0:
                    _call(callbacks, "on_epoch", state, metrics)
                if stop_requested() and state.step < state.n_steps:
                    state.interrupted = True
        except BaseException:
            state.failed = True
            raise
        finally:
            state.stop_requested = stop_requested()
            state.model.eval()
            with ExitStack() as ending:  # every callback ends, even if another one fails
                for callback in reversed(callbacks):
                    ending.callback(callback.on_end, state)
    return state


def _call(callbacks: Sequence[Callback], hook: str, *args: object) -> None:
    for callback in callbacks:
        getattr(callback, hook)(*args)


@contextmanager
def _stop_requested() -> Iterator[Callable[[], bool]]:
    """Whether a signal asked for a stop; a second one raises KeyboardInterrupt."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False  # only the main thread may handle signals
        return

    def handle(number: int, _frame: object) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    signals = (signal.SIGINT, signal.SIGTERM)
    previous = [signal.signal(number, handle) for number in signals]
    try:
        yield lambda: bool(received)
    finally:
        for number, handler in zip(signals, previous, strict=True):
            signal.signal(number, handler)


@contextmanager
def cpu_threads(n_threads: int) -> Iterator[None]:
    """Compute with so many CPU threads; 0 leaves them as they are."""
    before = torch.get_num_threads()
    if n_threads:
        torch.set_num_threads(n_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
