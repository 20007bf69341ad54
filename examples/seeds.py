"""Train a preset with several seeds, one after the other, and write what came out as JSON.

    python examples/seeds.py shapes --n-seeds 5 --out examples/results/shapes.json
    python examples/seeds.py mnist --n-seeds 4 --epochs 100 --out mnist-deep-facet.json

Runs go to ``runs/PRESET-seed-N``; a finished one is not repeated, an interrupted one goes on. All
measures are of held-out observations. The seconds are those of a run from its start to its last
figure, without the import of the library; null where the run was interrupted.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from pyro_mfcvae import experiment
from pyro_mfcvae.config import Config, config_to_dict, override
from pyro_mfcvae.drawing import draw_run
from pyro_mfcvae.figures import accuracy_over_epochs
from pyro_mfcvae.measuring import evaluate_run
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs import Run
from pyro_mfcvae.training import Callback, TrainingState
from pyro_mfcvae.training.callbacks import ProgressBar

MEASURES = ("majority_accuracy_training_map", "hungarian_accuracy", "nmi", "ari")


@click.command()
@click.argument("preset")
@click.option("--n-seeds", default=5, show_default=True, help="How many.")
@click.option("--first-seed", default=0, show_default=True, help="Counted on from here.")
@click.option("--epochs", type=click.IntRange(min=1), help="Stop each run after so many epochs.")
@click.option("--set", "assignments", multiple=True, help="As for mfcvae train.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="A JSON file.")
def main(
    preset: str,
    n_seeds: int,
    first_seed: int,
    epochs: int | None,
    assignments: tuple[str, ...],
    out: Path,
) -> None:
    """Train PRESET with several seeds; write every result, and means and deviations."""
    config = override(get_preset(preset).config, assignments)
    runs = []
    for seed in range(first_seed, first_seed + n_seeds):
        folder = Path("runs") / f"{preset}-seed-{seed}"
        runs.append(run_seed(override(config, [f"seed={seed}"]), folder, epochs))
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(json.dumps(report(config, runs), indent=1) + "\n")
        draw(preset, runs, out.with_suffix(".png"))
        click.echo(json.dumps(runs[-1]))


class StopAfter(Callback):
    """Ends a run early, as Ctrl-C would: it can go on from there."""

    def __init__(self, n_epochs: int) -> None:
        self.n_epochs = n_epochs
        self.reached = False

    def on_start(self, state: TrainingState) -> None:
        """Train nothing if enough epochs were done before."""
        self.on_epoch(state, {})

    def on_epoch(self, state: TrainingState, metrics: dict[str, float]) -> None:
        """Ask for the end once enough epochs are done."""
        self.reached = state.epoch >= self.n_epochs
        state.interrupted = state.interrupted or self.reached


def run_seed(config: Config, folder: Path, epochs: int | None = None) -> dict[str, Any]:
    """Train one seed as far as is asked, unless that was done; returns what was measured."""
    n_epochs = min(epochs or config.training.n_epochs, config.training.n_epochs)
    record = folder / "measured.json"
    if folder.exists() and Run(folder).config != config:
        sys.exit(f"{folder} was trained with other settings; move it away, or choose its own")
    if not record.exists() or json.loads(record.read_text())["n_epochs"] < n_epochs:
        started = time.monotonic()
        stop = StopAfter(n_epochs)
        callbacks = [ProgressBar(Console(width=100)), stop]
        resumed = folder.exists()
        if resumed:
            run = Run(folder)
            state, dataset = experiment.resume(run, callbacks)
        else:
            run, state, dataset = experiment.train(config, folder, callbacks)
        if state.interrupted and not stop.reached:
            sys.exit(f"interrupted; the same command goes on with {folder}")
        evaluate_run(run, dataset)
        draw_run(run, dataset)
        seconds = None if resumed else round(time.monotonic() - started, 1)
        measured = {"n_epochs": state.epoch, "seconds": seconds, "commit": _commit()}
        record.write_text(json.dumps(measured))
    results = Run(folder).evaluation()
    assert results is not None
    return {
        "seed": config.seed,
        **json.loads(record.read_text()),
        "elbo": {part: terms["elbo"] for part, terms in results["elbo"].items()},
        "over_epochs": over_epochs(Run(folder)),
        "facets": [
            {
                "occupied_clusters": facet["occupied_clusters"]["test"],
                "factors": {
                    factor: {measure: values["test"][measure] for measure in MEASURES}
                    for factor, values in facet["factors"].items()
                },
            }
            for facet in results["facets"]
        ],
    }


def draw(preset: str, runs: list[dict[str, Any]], path: Path) -> None:
    """The accuracy of every run over its epochs, if it was measured on the way."""
    curves = {f"seed {run['seed']}": run["over_epochs"] for run in runs}
    if any(len(curve["epoch"]) for curve in curves.values()):
        accuracy_over_epochs(curves, preset).savefig(path, dpi=130)


def over_epochs(run: Run) -> dict[str, list[float]]:
    """What was measured on held-out observations while the run trained, column by column."""
    records = [record for record in run.metrics() if record["split"] == "test"]
    names = records[0]["values"] if records else ()
    return {
        "epoch": [record["epoch"] for record in records],
        **{name: [round(record["values"][name], 4) for record in records] for name in names},
    }


def report(config: Config, runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Every run, and mean and standard deviation over runs of every measure."""
    summary = [
        {
            factor: {
                measure: _spread([run["facets"][j]["factors"][factor][measure] for run in runs])
                for measure in MEASURES
            }
            for factor in facet["factors"]
        }
        for j, facet in enumerate(runs[0]["facets"])
    ]
    return {
        "command": ["python", *sys.argv],
        "versions": {
            name: version(name) for name in ("pyro_mfcvae", "torch", "pyro-ppl", "scikit-learn")
        },
        "python": platform.python_version(),
        "n_cpus": os.cpu_count(),
        "config": config_to_dict(config),
        "facets": summary,
        "runs": runs,
    }


def _spread(values: list[float]) -> dict[str, float]:
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"mean": statistics.mean(values), "sd": deviation}


def _commit() -> str | None:
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or None


if __name__ == "__main__":
    main()
