"""The processes of a run on one machine: starting them, and letting none outlive the others."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

GRACE = 10.0  # seconds in which a process should notice by itself that another one has died
_FAREWELL = 3.0  # seconds that the others have to end by themselves where this one has failed
_STARTER = "MFCVAE_STARTED_BY"


@contextmanager
def start_others(n_devices: int, environment: Mapping[str, str]) -> Iterator[None]:
    """Start the command of this process again, once for each further device; end them with it.

    In a process that was so started it only watches over the one that did.

    Args:
        n_devices: processes on this machine.
        environment: variables for the others, who get LOCAL_RANK as well.
    """
    starter = os.environ.get(_STARTER)
    if starter is not None:
        with _watch(lambda: os.getppid() != int(starter)):
            yield
        return
    environment = os.environ | environment | {_STARTER: str(os.getpid())}
    command = [sys.executable, *sys.orig_argv[1:]]
    others = [
        subprocess.Popen(command, env=environment | {"LOCAL_RANK": str(rank)})
        for rank in range(1, n_devices)
    ]
    patience = _FAREWELL
    try:
        with _watch(lambda: any(process.poll() for process in others), others):
            yield
        patience = GRACE
    finally:
        _end(others, patience)


@contextmanager
def _watch(
    lost: Callable[[], bool], others: list[subprocess.Popen[bytes]] | None = None
) -> Iterator[None]:
    """End this process if it does not notice by itself that another one is lost.

    It may be waiting for a device that waits for the other one, and cannot be interrupted. One that
    was started has nothing to say or save, and ends at once.
    """
    over = threading.Event()

    def watch() -> None:
        while not over.wait(1.0):
            if lost() and not over.wait(0.0 if others is None else GRACE):
                if others is not None:
                    print(
                        "Error: another process of this run has ended, and this one was still "
                        "waiting for it. The last checkpoint is kept: go on with mfcvae train "
                        "--resume and the run's folder",
                        file=sys.stderr,
                        flush=True,
                    )
                    _end(others, 0.0)
                os._exit(1)

    threading.Thread(target=watch, daemon=True, name="watch-others").start()
    try:
        yield
    finally:
        over.set()


def _end(others: list[subprocess.Popen[bytes]], patience: float) -> None:
    """Wait for processes, so many seconds in all, and kill those that are still there."""
    until = time.monotonic() + patience
    for process in others:
        try:
            process.wait(max(until - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
