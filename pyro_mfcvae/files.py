"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file aside and rename it into its place."""
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    aside.write_text(text)
    aside.replace(path)
