"""Whether a command that is killed and given again ends as one that nobody touched.

    python -m benchmarks.kills_of_commands --kills 100 --out kills-of-commands.json

Each command begins in a copy of one folder. It is killed (SIGKILL) at random moments and given
again with the same words until it ends by itself. After every kill each file under its own name
must be whole; in the end all files must be those of the command that was not killed. The starts of
``fit`` and ``select`` are trained as one program, and what was begun goes on alone: their numbers
are equal to rounding, and figures and pages are there.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import sys
import tempfile
import time
import zlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load
from tqdm.auto import tqdm

from benchmarks.kills import FORKS, IMPORTED, PACKAGES, by_command, is_killed
from pyro_mfcvae.runs.run import commit

_TINY = {
    "training.epochs_per_step": "[2]",
    "training.kl_warm_up": "[0,1]",
    "training.refit_mixtures": "[]",
    "training.device": "cpu",
    "training.n_threads": "1",
    "training.checkpoint_every": "1",
}
_SETTINGS = [word for path, value in _TINY.items() for word in ("--set", f"{path}={value}")]
_FEW = {"size": 8, "factors": {"orientation": [7], "wall_hue": [5], "object_hue": [6]}}
_SCENES = [
    *("--set", f"data.options={json.dumps(_FEW)}"),
    *("--set", "training.epochs_per_step=[1,2]"),
    *("--set", "training.batch_size=64"),
    *("--set", "training.n_threads=1"),
]
COMMANDS = {
    name: (name, *words.split(), *settings)
    for name, words, settings in (
        ("fit", "mine.npz --facets 3,2 --quiet --starts 2 --out fitted", _SETTINGS),
        ("select", "mine.npz --facets 3 --facets 2 --starts 2 --quiet --out selected", _SETTINGS),
        ("assign", "run mine.npz -o clusters.csv --quiet", []),
        ("report", "run --out page.html", []),
        ("evaluate", "run --quiet", []),
        ("export", "run copy", []),
        ("sweep", "spec.json --out swept --quiet", []),
        ("reproduce", "shapes --seeds 2 --out made --quiet", _SCENES),
    )
}
"""What is given again and again, in a folder of :func:`make_inputs`."""

_TOLD = {"timings.json", "environment.json", ".lock"}  # times, machines and places
_SECONDS = re.compile(  # in JSON, in a row of a table after its epochs, in words
    rb'("seconds": )[^,\n}]+|(\| shapes \| \d+ \| \d+ \| )\S+|\d+(?:\.\d+)? (?:s|min|h)\b'
)
_TO_ROUNDING = {"fit", "select"}
_NUMBER = re.compile(rb"-?\d+\.\d+(?:e[+-]?\d+)?")
_CHECKSUM = re.compile(rb"[0-9a-f]{64}")
# What is whole once it is there, and is not made twice.
_DONE = {"fit": "fitted/report.html", "export": "copy", "import": "imported"}


def make_inputs(folder: Path) -> None:
    """A table with two kinds of rows, a run that was trained on it, and a sweep of two settings."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    kind = rng.integers(2, size=60)
    np.savez(folder / "mine.npz", x=rng.normal(size=(60, 3)) + 4 * kind[:, None], kind=kind)
    words = ["fit", "mine.npz", "--facets", "3,2", "--quiet", "--starts", "1", "--out", "first"]
    is_killed(_start(folder, [*words, *_SETTINGS]))
    shutil.copytree(folder / "first", folder / "run")
    for left in ("report.html", "assign.csv", "evaluation.json"):
        (folder / "run" / left).unlink()
    for left in ("figures", "runs"):
        shutil.rmtree(folder / "run" / left)
    shutil.copy(folder / "run/config.json", folder / "base.json")
    shutil.rmtree(folder / "first")
    grid = {"training.learning_rate": [5e-4, 1e-3]}
    (folder / "spec.json").write_text(json.dumps({"base": "base.json", "grid": grid, "seeds": 1}))


def survive(words: Sequence[str], inputs: Path, n_kills: int, seed: int, folder: Path) -> Any:
    """Kill a command so many times in all, and compare each that ends with the untouched one.

    Args:
        words: the command, without ``mfcvae``.
        inputs: a folder, of which it is given copies.
        n_kills: at least.
        seed: of the moments.
        folder: a new one, for the copies.

    Returns:
        numbers of kills and ended commands, files that were not whole after a kill, and the files
        in which an ended command differed: {command: names}.
    """
    folder.mkdir()
    here = folder / "here"  # which files may tell
    for name in ("first", "whole"):  # imports take longer than the first time
        shutil.copytree(inputs, here)
        began = time.monotonic()
        is_killed(_start(here, words))
        seconds = time.monotonic() - began
        here.rename(folder / name)
    expected = _contents(folder / "whole")
    same = _same_to_rounding if words[0] in _TO_ROUNDING else _same
    moments, n, n_ended = random.Random(seed), 0, 0
    halves, different = list[str](), dict[str, list[str]]()
    bar = tqdm(total=n_kills, unit="kill", desc=words[0], disable=None)
    while n < n_kills or not n_ended:
        shutil.copytree(inputs, here)
        n_before = n
        # Longer every time: on a busy machine none might come to its end.
        while is_killed(_start(here, words), seconds * moments.random() * (1 + (n - n_before) / 4)):
            n += 1
            bar.update()
            halves += [f"{n_ended}: {name}" for name in broken(here)]
            if words[0] in _DONE and (here / _DONE[words[0]]).exists():
                break
        found = _contents(here)
        names = {*found} ^ {*expected}
        names |= {n for n in {*found} & {*expected} if not same(n, found[n], expected[n])}
        if names:
            different[str(n_ended)] = sorted(names)
        shutil.rmtree(here)
        n_ended += 1
    return {"n_kills": n, "n_ended": n_ended, "halves": halves, "different": different}


def broken(folder: Path) -> list[str]:
    """Files under their own names that are not whole."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not _is_aside(path.relative_to(folder)) and not _is_whole(path)
    ]


def _is_aside(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _is_whole(path: Path) -> bool:
    content = path.read_bytes()
    if path.suffix == ".json":
        return _is_json(content)
    if path.suffix == ".png":
        return content.endswith(b"IEND" + zlib.crc32(b"IEND").to_bytes(4, "big"))
    if path.suffix == ".safetensors":
        n = int.from_bytes(content[:8], "little")
        tensors = json.loads(content[8 : 8 + n])
        ends = [t["data_offsets"][1] for name, t in tensors.items() if name != "__metadata__"]
        return len(content) == 8 + n + max(ends)
    return path.suffix not in (".csv", ".html", ".md") or content.endswith((b"\n", b"|"))


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _contents(here: Path) -> Mapping[str, bytes]:
    """What must be equal; of checkpoints the newest counts."""
    newest = {path: max(path.iterdir()) for path in here.rglob("checkpoints") if path.is_dir()}
    return {
        str(path.relative_to(here)): _SECONDS.sub(rb"\1\2", path.read_bytes())
        for path in here.rglob("*")
        if path.is_file()
        and path.name not in _TOLD
        and not (path.name.startswith(".") and path.name.endswith(".lock"))
        and all(newest[c] in path.parents for c in path.parents if c in newest)
    }


def _same(_name: str, a: bytes, b: bytes) -> bool:
    return a == b


def _same_to_rounding(name: str, a: bytes, b: bytes) -> bool:
    if name.endswith(".safetensors"):
        tensors = load(a), load(b)
        if tensors[0].keys() != tensors[1].keys():
            return False
        pairs = [(tensors[0][key], tensors[1][key]) for key in tensors[0]]
        return all(torch.allclose(x, y, rtol=1e-3, atol=1e-3) for x, y in pairs)
    if not name.endswith((".json", ".jsonl", ".csv", ".md")):
        return True
    texts = [_NUMBER.sub(b"#", _CHECKSUM.sub(b"", text)) for text in (a, b)]
    numbers = [[float(x) for x in _NUMBER.findall(_CHECKSUM.sub(b"", text))] for text in (a, b)]
    return texts[0] == texts[1] and np.allclose(*numbers, rtol=1e-2, atol=1e-2)


def _start(here: Path, words: Sequence[str]) -> Any:
    process = FORKS.Process(target=_run, args=(here, tuple(words)))
    process.start()
    return process


def _run(here: Path, words: Sequence[str]) -> None:
    os.chdir(here)
    by_command(words)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=100, help="of each command")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=list(COMMANDS), choices=COMMANDS)
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    asked = parser.parse_args()
    FORKS.set_forkserver_preload([*IMPORTED, __name__])
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_inputs(folder / "inputs")
        for command in asked.only:
            words, place = COMMANDS[command], folder / command
            found[command] = survive(words, folder / "inputs", asked.kills, asked.seed, place)
    packages = {name: version(name) for name in PACKAGES}
    about = {"command": sys.argv[1:], "commit": commit(), "packages": packages}
    record = {**about, "seed": asked.seed, "commands": found}
    asked.out.write_text(json.dumps(record, indent=1) + "\n")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
