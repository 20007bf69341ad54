"""Whether a long run grows: its memory, file handles, threads and files.

    python -m benchmarks.soak --set training.epochs_per_step=[70,700] --out soak.json

A run is trained, saved and measured in one process, and every so many steps evaluated and drawn as
well. Of what it uses, the highest of the last quarter is held against that of the second; the first
quarter is warm-up.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from typing_extensions import override as overrides

from benchmarks.run import machine
from pyro_mfcvae.allocator import keep_memory
from pyro_mfcvae.config import Config, override
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.draw import draw_run
from pyro_mfcvae.runs.measure import evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.training import Callback, TrainingState

USES = ("memory", "handles", "threads", "files", "disk")
MOST = 0.01  # growth
_LOG, _PICTURE = ".jsonl", ".png"
_PROCESS = Path("/proc/self")


def soak(
    config: Config,
    folder: Path,
    draw_every: int,
    look_every: int,
    callbacks: Sequence[Callback] = (),
) -> dict[str, Any]:
    """Train a run and look at what its process and its files use.

    Args:
        config: its settings.
        folder: a new one.
        draw_every: steps between evaluations with figures.
        look_every: steps between looks.
        callbacks: more of them.

    Returns:
        how many steps there were, how often the run was evaluated and drawn, what is used at every
        look, and its growth. Bytes on the disk are without pictures, which are as large as what
        they show wants, and without the log, which is told apart: it grows by a line at every log
        point.
    """
    folder.mkdir()
    (folder / "temporary").mkdir()
    before, tempfile.tempdir = tempfile.tempdir, str(folder / "temporary")
    watch = _Watch(folder, draw_every, look_every)
    try:
        _, state, _ = train(config, folder / "run", [*callbacks, watch])
    finally:
        tempfile.tempdir = before
    return {
        "n_steps": state.step,
        "n_drawn": watch.n_drawn,
        "uses": watch.uses,
        "growth": {name: growth([use[name] for use in watch.uses]) for name in USES},
    }


def growth(values: Sequence[float]) -> float:
    """How much larger the highest value of the last quarter is than that of the second."""
    n = len(values)
    return max(values[3 * n // 4 :]) / max(values[n // 4 : n // 2]) - 1


class _Watch(Callback):
    """Evaluates and draws a run now and then, and notes what it uses."""

    def __init__(self, folder: Path, draw_every: int, look_every: int) -> None:
        self.folder, self.draw_every, self.look_every = folder, draw_every, look_every
        self.n_drawn = 0
        self.uses: list[dict[str, float]] = []
        self._began = time.monotonic()
        self._dataset: Dataset | None = None

    @overrides
    def on_step(self, state: TrainingState) -> None:
        if state.step % self.draw_every == 0:
            run = Run(self.folder / "run")
            self._dataset = self._dataset or run.dataset()
            evaluate_run(run, self._dataset)
            draw_run(run, self._dataset)
            self.n_drawn += 1
        if state.step % self.look_every == 0:
            self.uses.append({"step": state.step, **self._look()})

    def _look(self) -> dict[str, float]:
        files = [path for path in self.folder.rglob("*") if path.is_file()]
        sizes = Counter[str]()
        for path in files:
            sizes[path.suffix] += path.stat().st_size
        return {
            "seconds": round(time.monotonic() - self._began, 1),
            "memory": int((_PROCESS / "statm").read_text().split()[1]) * resource.getpagesize(),
            "handles": len(os.listdir(_PROCESS / "fd")),
            "threads": len(os.listdir(_PROCESS / "task")),
            "files": len(files),
            "disk": sizes.total() - sizes[_LOG] - sizes[_PICTURE],
            "log": sizes[_LOG],
        }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--draw-every", type=int, default=1000, metavar="STEPS")
    parser.add_argument("--look-every", type=int, default=200, metavar="STEPS")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    asked = parser.parse_args()
    config = override(get_preset("shapes").config, asked.set)
    keep_memory()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(config, Path(folder) / "soak", asked.draw_every, asked.look_every)
    record = {"command": sys.argv[1:], **machine(torch.device("cpu")), **found}
    write_whole(asked.out, json.dumps(record, indent=1) + "\n")
    grown = {name: by for name, by in found["growth"].items() if by > MOST}
    print(json.dumps(found["growth"]))
    sys.exit(f"grown: {', '.join(grown)}" if grown else 0)


if __name__ == "__main__":
    main()
