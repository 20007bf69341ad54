"""Whether a run that is killed again and again ends as the uninterrupted one does.

    python -m benchmarks.kills --kills 1000 --out kills.json

A training, its evaluation and figures included, is killed (SIGKILL) at a random moment and gone on
with, until it ends by itself: then parameters, optimiser, log and evaluation must be those of the
run that nobody touched, bit for bit, and no other file may be left.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from pyro_mfcvae.config import Config, config_from_json, config_to_json, override
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.run import Run, commit

PACKAGES = ("torch", "pyro-ppl", "safetensors")
IMPORTED = [
    "pyro_mfcvae.cli",
    "pyro_mfcvae.runs.draw",
    "pyro_mfcvae.runs.train",
    "sklearn.metrics",
    "sklearn.mixture",
    "torch._dynamo",
    __name__,
]
_NAME = "run"  # which figures show
_CHECKPOINTS = "checkpoints/[0-9]*/state.json"  # not those that are still aside
FORKS = multiprocessing.get_context("forkserver")  # torch is imported once


def survive(
    config: Config, n_kills: int, seed: int, folder: Path, draws: bool = True
) -> dict[str, Any]:
    """Kill runs so many times in all, and compare each that ends with the uninterrupted one.

    Args:
        config: settings of every run.
        n_kills: at least, of which at least one while it trains.
        seed: of the moments.
        folder: a new one for the runs.
        draws: whether runs are those of the command line, with figures.

    Returns:
        how many kills and ended runs there were, kills by what was under way, and the files in
        which an ended run differed: {run: names}.
    """
    FORKS.set_forkserver_preload(IMPORTED)
    folder.mkdir()
    given = folder / "config.json"
    given.write_text(config_to_json(config))
    for name in ("first", "whole"):  # imports take longer than the first run
        whole = folder / name / _NAME
        began = time.monotonic()
        is_killed(_start(given, whole, draws))
        seconds = time.monotonic() - began
    expected = contents(whole)
    last = _newest(whole).name
    moments, kills = random.Random(seed), Counter[str]()
    early = 3 if draws else 1  # figures take longer than training, and may have fewer kills
    different: dict[str, list[str]] = {}
    n_ended, bar = 0, tqdm(total=n_kills, unit="kill", disable=None)
    while kills.total() < n_kills or not kills["training"]:
        run = folder / str(n_ended) / _NAME
        while is_killed(_start(given, run, draws), seconds * moments.random() ** early):
            kills[_under_way(run, last)] += 1
            bar.update()
        found = contents(run)
        names = {name for name in {*found, *expected} if found.get(name) != expected.get(name)}
        if names:
            different[str(n_ended)] = sorted(names)
        else:
            shutil.rmtree(run.parent)
        n_ended += 1
    return {
        "n_kills": kills.total(),
        "n_ended": n_ended,
        "under_way": dict(kills),
        "different": different,
        "seed": seed,
    }


def contents(run: Path) -> dict[str, bytes]:
    """What must be equal of a run: its files, but those that tell times, machines and places.

    Of the checkpoints the newest counts: which others are kept depends on where a run went on.
    """
    files = [f for f in run.rglob("*") if f.is_file() and "checkpoints" not in f.parts]
    told = {"timings.json", "environment.json", ".lock"}
    return {
        str(f.relative_to(run)): f.read_bytes()
        for f in [*files, *_newest(run).iterdir()]
        if f.name not in told
    }


def _start(given: Path, run: Path, draws: bool) -> Any:
    process = FORKS.Process(target=_by_command if draws else _by_library, args=(given, run))
    process.start()
    return process


def is_killed(process: Any, seconds: float | None = None) -> bool:
    """Whether a process had not ended by itself after so many seconds, and was killed then.

    Raises:
        RuntimeError: if it ended with an error.
    """
    process.join(seconds)
    process.kill()
    process.join()
    if process.exitcode > 0:
        raise RuntimeError(f"a run ended with {process.exitcode}, which is no kill")
    return bool(process.exitcode)


def _by_command(given: Path, run: Path) -> None:
    new = ["--config", str(given), "--out", str(run)]
    by_command(["train", "--quiet", *(["--resume", str(run)] if _goes_on(run) else new)])


def by_command(words: Sequence[str]) -> None:
    """Do what the command line does, without its output."""
    (command,) = entry_points(group="console_scripts", name="mfcvae")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    command.load()(list(words), standalone_mode=False)


def _by_library(given: Path, run: Path) -> None:
    from pyro_mfcvae.runs import train as alone
    from pyro_mfcvae.runs.measure import evaluate_run

    if _goes_on(run):
        alone.resume(Run(run))
    else:
        alone.train(config_from_json(given.read_text()), run)
    evaluate_run(Run(run))


def _goes_on(run: Path) -> bool:
    """Whether something was trained; what was begun before is cleared away."""
    if any(run.glob(_CHECKPOINTS)):
        return True
    shutil.rmtree(run, ignore_errors=True)
    return False


def _under_way(run: Path, last: str) -> str:
    if not any(run.glob(_CHECKPOINTS)):
        return "start"
    if (run / "evaluation.json").exists():
        return "figures"
    return "evaluation" if _newest(run).name == last else "training"


def _newest(run: Path) -> Path:
    return max(path.parent for path in run.glob(_CHECKPOINTS))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--figures", action="store_true", help="runs of the command line")
    parser.add_argument("--set", action="append", default=[], metavar="PATH=VALUE")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    asked = parser.parse_args()
    config = override(get_preset("shapes").config, asked.set)
    with tempfile.TemporaryDirectory() as folder:
        found = survive(config, asked.kills, asked.seed, Path(folder) / "runs", asked.figures)
    packages = {name: version(name) for name in PACKAGES}
    record = {"command": sys.argv[1:], "commit": commit(), "packages": packages, **found}
    asked.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
