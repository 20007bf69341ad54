"""Import times, each in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from benchmarks.timing import CLOCKS, Turn, alternate

BARE = "torch and pyro"
STATEMENTS = {
    BARE: "import torch, pyro",
    "pyro_mfcvae": "import pyro_mfcvae",
    "pyro_mfcvae.MFCVAE": "import pyro_mfcvae; pyro_mfcvae.MFCVAE",  # loaded on demand, with all
}


def bench_imports(n_rounds: int, clock: str = "wall") -> dict[str, Any]:
    """Time whole processes that import the library, or only what it stands on.

    Args:
        n_rounds: processes of each kind, after one that fills the file system's cache.
        clock: ``"wall"``, or ``"cpu"`` for the seconds in which these processes compute.

    Returns:
        the statements and timings.
    """
    turns = {name: _process(statement) for name, statement in STATEMENTS.items()}
    clocks = {**CLOCKS, "cpu": _of_children}
    timings = alternate(turns, n_rounds, clock=clocks[clock])
    return {"statements": STATEMENTS, **timings.record(BARE)}


def _of_children() -> float:
    """Seconds in which processes that have ended computed, themselves and in the system."""
    times = os.times()
    return times.children_user + times.children_system


def _process(statement: str) -> Turn:
    def turn() -> None:
        subprocess.run([sys.executable, "-c", statement], check=True)

    return turn
