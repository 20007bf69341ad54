"""What trains the jobs of a study: this process, several beside it, or one program for many."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from types import MappingProxyType
from typing import cast

import torch
from typing_extensions import override

from pyro_mfcvae.plugins import load_again, loaded_files
from pyro_mfcvae.plugins.files import Files
from pyro_mfcvae.signals import Interrupted, ending_in_time
from pyro_mfcvae.studies.engine import train_and_measure
from pyro_mfcvae.studies.jobs import Datasets, Execution, Job, Watch
from pyro_mfcvae.training import Callback, TrainingState
from pyro_mfcvae.training.callbacks import Metrics
from pyro_mfcvae.training.loop import cpu_threads
from pyro_mfcvae.training.say import Say, quiet

_SECONDS_BETWEEN_REPORTS = 0.5


class InTurn(Execution):
    """One after the other, in this process.

    Args:
        callbacks: of the training loop.
        say: is told what is going on.
    """

    def __init__(self, callbacks: Sequence[Callback] = (), say: Say = quiet) -> None:
        self.callbacks, self.say = callbacks, say

    @override
    def run(self, jobs: Sequence[Job], watch: Watch, datasets: Datasets) -> None:
        for job in jobs:
            watch.on_begin(job)

            def on_step(step: int, n_steps: int, job: Job = job) -> bool:
                watch.on_step(job, step, n_steps)
                return True

            callbacks = [*self.callbacks, _Reports(on_step)]
            watch.on_end(job, attempt(job, datasets, callbacks, say=self.say))


class Processes(Execution):
    """Several at a time, each job in a process of its own.

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
    def run(self, jobs: Sequence[Job], watch: Watch, datasets: Datasets) -> None:
        waiting, running = deque(jobs), dict[Connection, _Worker]()
        with _handle(signal.SIGTERM, _interrupt):
            try:
                while waiting or running:
                    while waiting and len(running) < self.n_jobs:
                        job = waiting.popleft()
                        watch.on_begin(job)
                        worker = _start(job, self.n_threads)
                        running[worker.connection] = worker
                    for connection in cast("list[Connection]", wait(list(running))):
                        if not _listen(running[connection], watch):
                            del running[connection]
            except BaseException:
                _stop(list(running.values()))
                raise


def attempt(
    job: Job,
    datasets: Datasets,
    callbacks: Sequence[Callback] = (),
    files: Files = MappingProxyType({}),
    say: Say = quiet,
) -> str | None:
    """Train and measure a job.

    Args:
        job: the job.
        datasets: its data, among others.
        callbacks: of the training loop.
        files: with models and guides of one's own, which this process has not loaded yet.
        say: is told what is going on.

    Returns:
        what went wrong, in words, or None.

    Raises:
        Interrupted: if the training was asked to stop.
    """
    try:
        load_again(files)
        train_and_measure(job, datasets.load(job.config.data), callbacks, say)
    except Exception as error:  # whatever it is, the other jobs go on
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
    job: Job
    process: SpawnProcess
    connection: Connection


def _start(job: Job, n_threads: int) -> _Worker:
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(job, loaded_files(), n_threads, theirs))
    with _handle(signal.SIGINT, signal.SIG_IGN):  # inherited: Ctrl-C is for this process alone
        process.start()
    theirs.close()
    return _Worker(job, process, ours)


def _work(job: Job, files: Files, n_threads: int, connection: Connection) -> None:
    """What a process does."""
    if hasattr(os, "setsid"):
        os.setsid()  # out of reach of the terminal: a second signal would end it unsaved

    def tell(step: int, n_steps: int) -> bool:
        try:
            connection.send(("step", step, n_steps))
        except OSError:
            return False
        return True

    with cpu_threads(n_threads), ending_in_time():
        try:
            error = attempt(job, Datasets(), [_Reports(tell)], files)
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
        watch.on_step(worker.job, *content)
        return True
    worker.process.join()
    worker.connection.close()
    watch.on_end(worker.job, content[0])
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


def _interrupt(number: int, _frame: object) -> None:
    raise Interrupted(number)


@contextmanager
def _handle(number: signal.Signals, handler: signal.Handlers | Callable) -> Iterator[None]:
    """Handle a signal otherwise for a while; only the main thread may."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)
