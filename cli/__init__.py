"""The command ``mfcvae``: typed options, settings, and a call into the library."""

import os
import signal
import threading
from types import FrameType

from pyro_mfcvae.signals import Interrupted, of_clusters, status_of


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End at once while a module is imported: what is half imported cannot be gone on with."""
    error = Interrupted(number)
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(status_of(error))
        frame = frame.f_back
    raise error


if threading.current_thread() is threading.main_thread():
    for number in (signal.SIGINT, *of_clusters()):
        if signal.getsignal(number) in (signal.default_int_handler, signal.SIG_DFL):
            signal.signal(number, _interrupt)

from pyro_mfcvae.cli.main import main  # noqa: E402  (which imports for some time)

__all__ = ["main"]
