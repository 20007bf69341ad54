"""Data from the standard input, which can be read only once, as a file, which can be read again."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
from pathlib import Path

from pyro_mfcvae.errors import DataError

_START = 2**16  # bytes


def keep_standard_input() -> Path:
    """Copy the standard input into a temporary file, which is removed when the process ends.

    Raises:
        DataError: if it is a terminal or empty, or holds no text.
    """
    if sys.stdin is None or sys.stdin.isatty():
        raise DataError(
            "standard input: expected a table as CSV or TSV through a pipe, got none; pipe one in, "
            "or give the name of its file instead of -"
        )
    start = sys.stdin.buffer.read(_START)
    if not start.strip() or b"\0" in start:
        found = "data that are no text" if start.strip() else "nothing"
        raise DataError(
            f"standard input: expected a table as CSV or TSV, got {found}; data of other kinds do "
            "not come from a pipe, so give the name of their file or folder instead of -"
        )
    folder = tempfile.TemporaryDirectory(prefix="mfcvae-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "standard-input.csv"
    with path.open("wb") as file:
        file.write(start)
        shutil.copyfileobj(sys.stdin.buffer, file)
    return path
