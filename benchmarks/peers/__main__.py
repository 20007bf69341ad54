"""python -m benchmarks.peers: every method on every table, over several seeds."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from benchmarks.peers.methods import METHODS, Labels
from benchmarks.peers.tables import TABLES, Table
from benchmarks.run import machine
from pyro_mfcvae.evaluation.measures import agreement
from pyro_mfcvae.files import write_whole

_KEY = ("data", "method", "seed", "factor")


@click.command()
@click.argument("names", metavar="[TABLE]...", nargs=-1)
@click.option("--data-dir", type=click.Path(path_type=Path), default=Path("data"), help="Of files.")
@click.option("--seeds", "n_seeds", default=5, show_default=True, help="Seeds 0, 1, ...")
@click.option("--methods", default=",".join(METHODS), show_default=True)
@click.option("--factor", default=1, show_default=True, help="Times the true numbers of clusters.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("peers.json"))
def main(
    names: Sequence[str], data_dir: Path, n_seeds: int, methods: str, factor: int, out: Path
) -> None:
    """Cluster TABLEs, by default all, and write what was found; a row that is there is kept."""
    rows = json.loads(out.read_text())["rows"] if out.exists() else []
    here = machine(torch.device("cpu"))
    known = {tuple(row[key] for key in _KEY) for row in rows}
    for name in names or TABLES:
        try:
            table = TABLES[name](data_dir)
        except FileNotFoundError as error:
            click.echo(f"{name}: left out, {error.filename} is missing")
            continue
        for method in methods.split(","):
            for seed in range(n_seeds):
                if (name, method, seed, factor) in known:
                    continue
                try:
                    row = judge(table, method, seed, factor)
                except ModuleNotFoundError as error:
                    click.echo(f"{method}: left out, {error.name} is not installed")
                    break
                keys = dict(zip(_KEY, (name, method, seed, factor), strict=True))
                rows.append({**keys, **row, "commit": here["commit"]})
                click.echo(json.dumps(rows[-1]))
                record = {"command": sys.argv, **here, "rows": rows}
                write_whole(out, json.dumps(record, indent=1) + "\n")
    click.echo(as_table(rows))


def judge(table: Table, method: str, seed: int, factor: int) -> dict[str, Any]:
    """Cluster, then hold every known partition against the facet that is closest to it.

    Returns:
        CPU seconds and, of each partition, NMI, ARI and Hungarian accuracy of the closest facet,
        and the largest NMI of another one (``leakage``).
    """
    began = time.process_time()
    found = METHODS[method](table, [factor * k for k in table.n_clusters], seed)
    seconds = time.process_time() - began
    return {
        "seconds": round(seconds, 1),
        "labels": {name: _closest(classes, found) for name, classes in table.labels.items()},
    }


def _closest(classes: Labels, found: Labels) -> dict[str, float]:
    each = sorted((agreement(classes, own) for own in found.T), key=lambda a: a["nmi"])
    best = {name: float(each[-1][name]) for name in ("nmi", "ari", "hungarian_accuracy")}
    return best | {"leakage": float(each[-2]["nmi"]) if len(each) > 1 else 0.0}


def as_table(rows: Sequence[dict[str, Any]]) -> str:
    """NMI and leakage as mean (standard deviation) over seeds, in Markdown."""
    groups: dict[tuple[str, int, str, str], list[tuple[float, float, float]]] = {}
    for row in rows:
        for label, each in row["labels"].items():
            key = (row["data"], row["factor"], label, row["method"])
            numbers = (each["nmi"], each["leakage"], row["seconds"])
            groups.setdefault(key, []).append(numbers)
    lines = [
        "| data | K | label | method | NMI | leakage | CPU seconds | seeds |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (data, factor, label, method), numbers in groups.items():
        (nmi, leakage, seconds), (deviation, *_) = np.mean(numbers, 0), np.std(numbers, 0)
        times = "true" if factor == 1 else f"{factor} x true"
        lines.append(
            f"| {data} | {times} | {label} | {method} | {nmi:.2f} ({deviation:.2f}) | "
            f"{leakage:.2f} | {seconds:.0f} | {len(numbers)} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
