"""The command ``mfcvae``: typed options, settings, and a call into the library."""

import os
import signal
import threading
from types import FrameType


def _interrupt(_number: int, frame: FrameType | None) -> None:
    """End at once while a module is imported: what is half imported cannot be gone on with."""
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


if (
    threading.current_thread() is threading.main_thread()
    and signal.getsignal(signal.SIGINT) is signal.default_int_handler
):
    signal.signal(signal.SIGINT, _interrupt)

from pyro_mfcvae.cli.main import main  # noqa: E402  (which imports for some time)

__all__ = ["main"]
