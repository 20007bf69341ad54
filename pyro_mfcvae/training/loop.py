"""The training loop. It knows no model by name."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager

import torch

from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.devices.stepping import stepping
from pyro_mfcvae.training.state import TrainingState


def fit(state: TrainingState, callbacks: Sequence[Callback] = ()) -> TrainingState:
    """Train from where the state is to the end of its run.

    Ctrl-C and SIGTERM end the run after the step under way, with ``state.interrupted`` set; a
    second one ends it at once with KeyboardInterrupt.

    Args:
        state: changed in place.
        callbacks: called in this order, on process 0.

    Returns:
        the state.
    """
    engine = state.engine
    with engine.alert():
        state.wrapped = engine.wrap(state.objective)
        fit_together([state], [callbacks if engine.is_writer else ()])
    return state


def fit_together(states: Sequence[TrainingState], callbacks: Sequence[Sequence[Callback]]) -> None:
    """As :func:`fit`, for runs that take their steps at the same time.

    A run that breaks down ends alone; the others go on.

    Args:
        states: changed in place.
        callbacks: of each run.

    Raises:
        ConfigError: if the runs cannot be trained together.
        TrainingError: once the others have ended, if a run broke down.
    """
    train_step = stepping(states)
    lead, config = states[0], states[0].config.training
    broken: list[TrainingError] = []
    runs = [_Run(state, own) for state, own in zip(states, callbacks, strict=True)]
    with (
        _stop_requested() as stop_requested,
        cpu_threads(config.n_threads),
        products_in(config.precision),
        _ended(runs, stop_requested),
    ):
        for run in runs:
            run.begin()
        while lead.step < lead.n_steps and not lead.interrupted:
            train_step()
            for run in runs:
                run.after_step()
            broken = [run.error for run in runs if run.error is not None]
            if len(broken) == len(runs):
                raise broken[0]
            stop = lead.interrupted or (stop_requested() and lead.step < lead.n_steps)
            if lead.engine.any(stop):
                for run in runs:
                    run.state.interrupted = True
                    run.state.join_totals()
    if broken:
        raise broken[0]


class _Run:
    """One run in the loop: its state, what is called beside its steps, and whether it broke."""

    def __init__(self, state: TrainingState, callbacks: Sequence[Callback]) -> None:
        self.state, self.callbacks = state, callbacks
        self.begun: list[Callback] = []
        self.metrics: dict[str, float] = {}
        self.error: TrainingError | None = None

    def begin(self) -> None:
        self.state.model.train()
        for callback in self.callbacks:
            callback.on_start(self.state)
            self.begun.append(callback)

    def after_step(self) -> None:
        if self.error is not None:
            return
        state, log_every = self.state, self.state.config.training.log_every
        try:
            self._call("on_step")
            if state.step % log_every == 0 or state.step == state.n_steps:
                self.metrics = state.take_means()
                self._call("on_log", self.metrics)
            if state.step % state.batches.per_epoch == 0:
                state.join_totals()
                self._call("on_epoch", self.metrics)
        except TrainingError as error:
            state.failed, self.error = True, error

    def end(self) -> None:
        self.state.model.eval()
        try:
            with ExitStack() as ending:
                for callback in reversed(self.begun):
                    ending.callback(callback.on_end, self.state)
        except BaseException:
            self.state.failed = True
            raise

    def _call(self, hook: str, *args: object) -> None:
        for callback in self.callbacks:
            getattr(callback, hook)(self.state, *args)


@contextmanager
def _ended(runs: Sequence[_Run], stop_requested: Callable[[], bool]) -> Iterator[None]:
    """Every callback that has begun ends, even if another one, another run or training fails."""
    try:
        yield
    except BaseException:
        for run in runs:
            run.state.failed = True
        raise
    finally:
        with ExitStack() as ending:
            for run in reversed(runs):
                run.state.stop_requested = stop_requested()
                ending.callback(run.end)


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


@contextmanager
def products_in(precision: str) -> Iterator[None]:
    """Let CUDA devices compute products in TF32 meanwhile, or keep them from it."""
    names = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in names]
    for backend in names:
        backend.allow_tf32 = precision == "tf32"
    try:
        yield
    finally:
        for backend, allowed in zip(names, before, strict=True):
            backend.allow_tf32 = allowed
