"""Writing files so that nobody ever sees half of one."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file aside and rename it into its place; nothing is left behind if that fails."""
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        if isinstance(content, str):
            aside.write_text(content)
        else:
            aside.write_bytes(content)
        aside.replace(path)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
