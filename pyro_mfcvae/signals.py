"""How a process ends that is asked to: what is done is kept, and the exit status tells the signal.

The status is 128 and the number of the signal, as shells have it: 130 for Ctrl-C, 143 for SIGTERM,
129 for SIGHUP.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 8.0
"""From SIGTERM, or SIGHUP, to the end of a command, whatever is under way; clusters wait for 10."""

_ENDED = b"Ended: what was under way took too long. What was saved before is whole.\n"


class Interrupted(KeyboardInterrupt):
    """A signal asked for the end; everything that was saved is whole.

    Attributes:
        number: of the signal.
    """

    def __init__(self, number: int = signal.SIGINT) -> None:
        super().__init__()
        self.number = number


def status_of(error: KeyboardInterrupt) -> int:
    """The exit status of a process that a signal ends."""
    return 128 + (error.number if isinstance(error, Interrupted) else signal.SIGINT)


def of_clusters() -> list[signal.Signals]:
    """The signals of those who do not wait: SIGTERM and, unless it is ignored, SIGHUP."""
    found = [signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)  # else nohup lets the process outlive its terminal
    return found


@contextmanager
def ending_in_time(seconds: float = SECONDS) -> Iterator[None]:
    """End the process soon after a signal of a cluster, even if it computes and hears of none.

    Files are written aside and renamed, so that any moment will do.

    Args:
        seconds: from the signal to the end.
    """
    if threading.current_thread() is not threading.main_thread() or os.name == "nt":
        yield  # signals are for the main thread
        return
    has_ended = threading.Event()
    heard, told = os.pipe()
    os.set_blocking(told, False)

    def watch() -> None:
        with open(heard, "rb", buffering=0) as numbers:
            while number := numbers.read(1):
                if number[0] in of_clusters() and not has_ended.wait(seconds):
                    os.write(2, _ENDED)
                    os._exit(128 + number[0])

    before = signal.set_wakeup_fd(told, warn_on_full_buffer=False)
    threading.Thread(target=watch, name="ending in time", daemon=True).start()
    try:
        yield
    finally:
        has_ended.set()
        signal.set_wakeup_fd(before)
        os.close(told)
