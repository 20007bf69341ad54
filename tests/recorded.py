"""In which order a process does what makes files last."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def recorded(monkeypatch) -> list[tuple[str, str]]:
    """Calls from now on: ("fsync" | "rename" | "rmtree", name of the file or folder)."""
    calls: list[tuple[str, str]] = []
    rmtree = shutil.rmtree

    def note(what, name, act):
        calls.append((what, name))
        return act()

    def fsync(number):
        note("fsync", Path(os.readlink(f"/proc/self/fd/{number}")).name, lambda: None)

    monkeypatch.setattr(os, "fsync", fsync)
    for name in ("rename", "replace"):
        own = getattr(Path, name)
        monkeypatch.setattr(
            Path, name, lambda p, to, own=own: note("rename", p.name, lambda: own(p, to))
        )
    monkeypatch.setattr(
        shutil, "rmtree", lambda p, **k: note("rmtree", Path(p).name, lambda: rmtree(p, **k))
    )
    return calls
