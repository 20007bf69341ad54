"""Several runs trained at once, from the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pyro_mfcvae.cli.options import sayer
from pyro_mfcvae.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.config import Config
    from pyro_mfcvae.studies.many_runs import Trained


def train_many(
    screen: Console,
    config: Config,
    n_seeds: int,
    vary: Sequence[str],
    out: Path | None,
    besides: str,
) -> None:
    """Train, evaluate and draw seeds and settings, each in a run folder of its own.

    Args:
        screen: the terminal.
        config: settings of the first one.
        n_seeds: R.
        vary: settings, each ``PATH=VALUE,VALUE``.
        out: folder of the run folders; None numbers them under ``runs``.
        besides: what commands on the runs need, from :func:`~.options.again`.
    """
    from pyro_mfcvae.studies.many_runs import seeds_and_settings, train_together
    from pyro_mfcvae.training.callbacks import ProgressBar

    configs = seeds_and_settings(config, n_seeds, dict(map(_values, vary)))
    bar, say = ProgressBar(screen), sayer(screen)
    _train(screen, lambda: train_together(configs, out, [bar], say), list(configs), besides)


def resume_many(
    screen: Console,
    folders: Sequence[Path],
    data_dir: Path | None,
    device: str | None,
    besides: str,
) -> None:
    """Go on with interrupted runs that were trained at once; besides as in :func:`train_many`."""
    from pyro_mfcvae.runs.run import Run
    from pyro_mfcvae.studies.many_runs import resume_together
    from pyro_mfcvae.training.callbacks import ProgressBar

    runs = [Run(folder) for folder in folders]
    bar, say = ProgressBar(screen), sayer(screen)
    names = [str(folder) for folder in folders]
    _train(screen, lambda: resume_together(runs, [bar], say, data_dir, device), names, besides)


def _values(text: str) -> tuple[str, list[str]]:
    """``PATH=V1,V2`` taken apart."""
    path, equals, values = text.partition("=")
    if not (equals and values):
        raise ConfigError(
            "expected --vary PATH=VALUE,VALUE, such as training.learning_rate=0.001,0.002, got "
            f"{text!r}"
        )
    return path.strip(), [value.strip() for value in values.split(",")]


def _train(
    screen: Console, train: Callable[[], Trained], names: Sequence[str], besides: str
) -> None:
    from pyro_mfcvae.cli.show import show_runs
    from pyro_mfcvae.runs.draw import draw_run
    from pyro_mfcvae.runs.measure import evaluate_run

    runs, states, dataset = train()
    folders = " ".join(str(run.path) for run in runs)
    if states[0].interrupted:
        again = " ".join(f"--resume {run.path}" for run in runs)
        screen.print(
            f"Interrupted after step {states[0].step} of {states[0].n_steps}; nothing is lost. Go "
            f"on with\n    mfcvae train {again}{besides}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
        sys.exit(130)
    say = sayer(screen)
    results = {}
    try:
        for name, run in zip(names, runs, strict=True):
            say(f"evaluating and drawing {run.path}")
            results[name] = evaluate_run(run, dataset)
            draw_run(run, dataset)
    except KeyboardInterrupt:
        click.echo(
            "Interrupted; the trained models are safe. Go on with mfcvae evaluate and mfcvae "
            f"figures{besides} for each of\n    {folders}"
        )
        sys.exit(130)
    show_runs(screen, results)
    screen.print(
        f"side by side: mfcvae report {folders}{besides}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
