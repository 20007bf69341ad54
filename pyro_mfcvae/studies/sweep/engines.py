"""What trains the trials of a sweep: this process, or several beside it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import MappingProxyType

import torch
from typing_extensions import override

from pyro_mfcvae.plugins import load_again, loaded_files
from pyro_mfcvae.plugins.files import Files
from pyro_mfcvae.runs.complete import Interrupted
from pyro_mfcvae.studies.papers.running import Datasets, finish_run, measure_run
from pyro_mfcvae.studies.sweep.trials import Trial
from pyro_mfcvae.training import Callback, TrainingState
from pyro_mfcvae.training.callbacks import Metrics
from pyro_mfcvae.training.loop import cpu_threads

_SECONDS_BETWEEN_REPORTS = 0.5


class Watch:
    """Hooks of a sweep; each does nothing unless overridden."""

    def on_begin(self, trial: Trial) -> None:
        """Before a trial is trained."""

    def on_step(self, trial: Trial, step: int, n_steps: int) -> None:
        """Now and then while a trial is trained."""

    def on_end(self, trial: Trial, error: str | None) -> None:
        """After a trial has been trained and measured, or has failed."""


class SweepEngine(ABC):
    """Trains and measures trials."""

    @abstractmethod
    def run(self, trials: Sequence[Trial], watch: Watch, datasets: Datasets) -> None:
        """Train and measure every trial; one that fails does not end the others.

        Args:
            trials: that are not finished.
            watch: is told of each one's beginning and end.
            datasets: of the trials.

        Raises:
            KeyboardInterrupt: if Ctrl-C or SIGTERM ended a training; everything so far is saved.
        """


class InTurn(SweepEngine):
    """One after the other, in this process.

    Args:
        callbacks: of the training loop.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        self.callbacks = callbacks

    @override
    def run(self, trials: Sequence[Trial], watch: Watch, datasets: Datasets) -> None:
        for trial in trials:
            watch.on_begin(trial)

            def on_step(step: int, n_steps: int, trial: Trial = trial) -> bool:
                watch.on_step(trial, step, n_steps)
                return True

            watch.on_end(trial, attempt(trial, datasets, [*self.callbacks, _Reports(on_step)]))


class Processes(SweepEngine):
    """Several at a time, each trial in a process of its own.

    The processes are started afresh: a script that uses this needs the guard
    ``if __name__ == "__main__"``, and parts that it registers must be registered on import, or in
    a file that was given to :func:`~pyro_mfcvae.load_model_file` or
    :func:`~pyro_mfcvae.load_guide_file`.

    Args:
        n_jobs: processes at a time. The CPU threads are divided among them, unless the settings
            say how many there are.
    """

    def __init__(self, n_jobs: int) -> None:
        self.n_jobs = n_jobs
        self.n_threads = max(1, torch.get_num_threads() // n_jobs)

    @override
    def run(self, trials: Sequence[Trial], watch: Watch, datasets: Datasets) -> None:
        waiting, running = deque(trials), {}
        with _handled(signal.SIGTERM, signal.default_int_handler):
            try:
                while waiting or running:
                    while waiting and len(running) < self.n_jobs:
                        trial = waiting.popleft()
                        watch.on_begin(trial)
                        worker = _start(trial, self.n_threads)
                        running[worker.connection] = worker
                    for connection in wait(list(running)):
                        if not _listen(running[connection], watch):
                            del running[connection]
            except BaseException:
                _stop(list(running.values()))
                raise


def attempt(
    trial: Trial,
    datasets: Datasets,
    callbacks: Sequence[Callback] = (),
    files: Files = MappingProxyType({}),
) -> str | None:
    """Train and measure a trial.

    Args:
        trial: the trial.
        datasets: its data, among others.
        callbacks: of the training loop.
        files: with models and guides of one's own, which this process has not loaded yet.

    Returns:
        what went wrong, in words, or None.

    Raises:
        Interrupted: if the training was asked to stop.
    """
    try:
        load_again(files)
        dataset = datasets.load(trial.config.data)
        run = finish_run(trial.config, trial.folder, dataset, callbacks)
        measure_run(trial.arm, run, dataset)
    except Exception as error:  # whatever it is, the other trials go on
        return f"{type(error).__name__}: {error}"
    return None


class _Reports(Callback):
    """Tells of steps, and ends the training when nobody listens any more."""

    def __init__(self, tell: Callable[[int, int], bool]) -> None:
        self.tell = tell
        self._last = 0.0

    @override
    def on_log(self, state: TrainingState, metrics: Metrics) -> None:
        if time.monotonic() - self._last > _SECONDS_BETWEEN_REPORTS:
            self._last = time.monotonic()
            state.interrupted = not self.tell(state.step, state.n_steps) or state.interrupted


@dataclass(frozen=True, eq=False)
class _Worker:
    trial: Trial
    process: SpawnProcess
    connection: Connection


def _start(trial: Trial, n_threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(trial, loaded_files(), n_threads, theirs))
    with _handled(signal.SIGINT, signal.SIG_IGN):  # inherited: Ctrl-C is for this process alone
        process.start()
    theirs.close()
    return _Worker(trial, process, ours)


def _work(trial: Trial, files: Files, n_threads: int, connection: Connection) -> None:
    """What a process does."""
    if hasattr(os, "setsid"):
        os.setsid()  # out of reach of the terminal: a second signal would end it unsaved

    def tell(step: int, n_steps: int) -> bool:
        try:
            connection.send(("step", step, n_steps))
        except OSError:
            return False
        return True

    with cpu_threads(n_threads):
        try:
            error = attempt(trial, Datasets(), [_Reports(tell)], files)
        except Interrupted:
            error = None
    connection.send(("end", error))


def _listen(worker: _Worker, watch: Watch) -> bool:
    """Take one message of a process; False if it was the last."""
    try:
        kind, *content = worker.connection.recv()
    except EOFError:
        worker.process.join()
        code = worker.process.exitcode
        kind, content = "end", [f"its process ended with status {code}; is there enough memory?"]
    if kind == "step":
        watch.on_step(worker.trial, *content)
        return True
    worker.process.join()
    worker.connection.close()
    watch.on_end(worker.trial, content[0])
    return False


def _stop(workers: Sequence[_Worker]) -> None:
    """Let processes save what they have and end; a second Ctrl-C ends them at once."""
    for worker in workers:
        worker.process.terminate()
    try:
        for worker in workers:
            worker.process.join()
    except KeyboardInterrupt:
        for worker in workers:
            worker.process.kill()
        raise


@contextmanager
def _handled(number: signal.Signals, handler: signal.Handlers | Callable) -> Iterator[None]:
    """Handle a signal otherwise for a while; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
