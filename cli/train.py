"""Training."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from pyro_mfcvae.cli.options import DATA_DIR, OUT, sayer

from pyro_mfcvae.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.config import Config
    from pyro_mfcvae.data import Dataset
    from pyro_mfcvae.runs import Run
    from pyro_mfcvae.training import TrainingState


@click.command()
@click.argument("preset", required=False)
@click.option("--data", metavar="NAME|FILE", help="A data set's name, or the path of an .npz file.")
@DATA_DIR
@click.option("--guide", metavar="NAME", help="What happens with c: vade, enumerate, ...")
@click.option("--facets", metavar="D:K,D:K", help="Latent dimensions and clusters, shallow first.")
@click.option("--set", "assignments", metavar="PATH=VALUE", multiple=True,
              help="Change any setting, such as training.learning_rate=1e-3.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, order and noise.")
@OUT
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")
@click.option("--resume", "resumed", metavar="RUN", type=click.Path(path_type=Path),
              help="Go on with an interrupted run.")  # fmt: skip
def train(resumed: Path | None, out: Path | None, **given: Any) -> None:
    """Train a model, evaluate it and draw, in a new run folder.

    PRESET names published or recommended settings (see "mfcvae presets"); the default renders
    its own data and needs no download.

    \b
    Examples:
      mfcvae train
      mfcvae train --guide enumerate --seed 3
      mfcvae train --data my.npz --facets 5:20,2:10
      mfcvae train --set training.epochs_per_step=[5,20] --set model.likelihood.options.scale=0.2
      mfcvae train --resume runs/shapes-001
    """
    from pyro_mfcvae.cli.show import console

    from pyro_mfcvae import experiment
    from pyro_mfcvae.runs import Run
    from pyro_mfcvae.training.callbacks import ProgressBar

    screen = console()
    bar, say = ProgressBar(screen), sayer(screen)
    if resumed is None:
        run, state, dataset = experiment.train(_settings(**given), out, [bar], say)
    else:
        data_dir, device = given.pop("data_dir"), given.pop("device")
        if any(value not in (None, ()) for value in (out, *given.values())):
            raise ConfigError(
                "--resume goes on with the run's own settings; beside it only --data-dir and "
                "--device may be given"
            )
        state, dataset = experiment.resume(Run(resumed), [bar], say, data_dir, device)
        run = Run(resumed)
    _finish(screen, run, state, dataset)


def _settings(
    preset: str | None,
    data: str | None,
    data_dir: Path | None,
    guide: str | None,
    facets: str | None,
    assignments: tuple[str, ...],
    seed: int | None,
    device: str | None,
) -> Config:
    from pyro_mfcvae.config import (
        Component,
        config_from_dict,
        config_to_dict,
        override,
        with_facets,
    )
    from pyro_mfcvae.data import data_settings, in_folder
    from pyro_mfcvae.presets import DEFAULT, get_preset

    config = get_preset(preset or DEFAULT).config
    if facets is not None:
        config = with_facets(config, facets)
    values: dict[str, Any] = config_to_dict(config)
    if data is not None and data != config.data.name:
        source = data_settings(data)
        values["data"] = {"name": source.name, "options": dict(source.options)}
        values["preset"] = preset
    if data_dir is not None:
        values["data"]["options"] = in_folder(Component(**values["data"]), data_dir).options
    if guide is not None:
        values["guide"]["name"] = guide
    if seed is not None:
        values["seed"] = seed
    if device is not None:
        values["training"]["device"] = device
    return override(config_from_dict(values), assignments)


def _finish(screen: Console, run: Run, state: TrainingState, dataset: Dataset) -> None:
    from pyro_mfcvae.cli.show import show_evaluation

    from pyro_mfcvae.drawing import draw_run
    from pyro_mfcvae.measuring import evaluate_run

    if state.interrupted:
        screen.print(
            f"Interrupted after step {state.step} of {state.n_steps}; nothing is lost. Go on with\n"
            f"    mfcvae train --resume {run.path}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
        sys.exit(130)
    say = sayer(screen)
    try:
        say("evaluating")
        show_evaluation(screen, evaluate_run(run, dataset))
        say("drawing")
        draw_run(run, dataset)
    except KeyboardInterrupt:
        click.echo(
            f"Interrupted; the trained model is safe. Go on with\n    mfcvae evaluate {run.path}\n"
            f"    mfcvae figures {run.path}"
        )
        sys.exit(130)
    screen.print(f"figures and results: {run.path}", highlight=False, soft_wrap=True, markup=False)
