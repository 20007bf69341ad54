"""The commands. Each imports the library when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyro_mfcvae.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.config import Config
    from pyro_mfcvae.data import Dataset
    from pyro_mfcvae.runs import Run
    from pyro_mfcvae.training import TrainingState

_RUN = click.argument("run", type=click.Path(path_type=Path))


@click.command()
@click.argument("preset", required=False)
@click.option("--data", metavar="NAME|FILE", help="A data set's name, or the path of an .npz file.")
@click.option("--data-dir", metavar="DIR", help="Folder of downloaded data, for mnist.")
@click.option("--guide", metavar="NAME", help="What happens with c: vade or enumerate.")
@click.option("--facets", metavar="D:K,D:K", help="Latent dimensions and clusters, shallow first.")
@click.option("--set", "assignments", metavar="PATH=VALUE", multiple=True,
              help="Change any setting, such as training.learning_rate=1e-3.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, order and noise.")
@click.option("--out", type=click.Path(path_type=Path), help="A new run folder [runs/NAME-001].")
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")
@click.option("--resume", "resumed", metavar="RUN", type=click.Path(path_type=Path),
              help="Go on with an interrupted run.")  # fmt: skip
def train(resumed: Path | None, out: Path | None, **given: Any) -> None:
    """Train a model, evaluate it on held-out data and draw figures, in a new run folder.

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
    bar, say = ProgressBar(screen), _sayer(screen)
    if resumed is None:
        run, state, dataset = experiment.train(_settings(**given), out, [bar], say)
    else:
        if any(value not in (None, ()) for value in (out, *given.values())):
            raise ConfigError("--resume goes on with the run's own settings; leave out all others")
        run = Run(resumed)
        state, dataset = experiment.resume(run, [bar], say)
    _finish(screen, run, state, dataset)


@click.command()
@_RUN
def evaluate(run: Path) -> None:
    """Evaluate the model of RUN on its training and held-out data, and print tables.

    \b
    Example:
      mfcvae evaluate runs/shapes-001
    """
    from pyro_mfcvae.cli.show import console, show_evaluation

    from pyro_mfcvae.experiment import evaluate_run
    from pyro_mfcvae.runs import Run

    show_evaluation(console(), evaluate_run(Run(run)))


@click.command()
@_RUN
def figures(run: Path) -> None:
    """Draw the figures of RUN again, into its folder "figures".

    \b
    Example:
      mfcvae figures runs/shapes-001
    """
    from pyro_mfcvae.experiment import draw_run
    from pyro_mfcvae.runs import Run

    for path in draw_run(Run(run)):
        click.echo(path)


@click.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the presets, or print the settings of the one called NAME as JSON.

    \b
    Examples:
      mfcvae presets
      mfcvae presets shapes
    """
    from pyro_mfcvae.config import config_to_json
    from pyro_mfcvae.presets import PRESETS, get_preset

    if name is not None:
        click.echo(config_to_json(get_preset(name).config), nl=False)
        return
    for preset in PRESETS.values():
        click.echo(f"{preset.name}: {preset.description}")
        click.echo(f"    source:   {preset.source}")
        click.echo(f"    expected: {preset.expected}")


COMMANDS = (train, evaluate, figures, presets)


def _settings(
    preset: str | None,
    data: str | None,
    data_dir: str | None,
    guide: str | None,
    facets: str | None,
    assignments: tuple[str, ...],
    seed: int | None,
    device: str | None,
) -> Config:
    from pyro_mfcvae.config import config_from_dict, config_to_dict, override, with_facets
    from pyro_mfcvae.data import data_settings
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
        values["data"]["options"]["data_dir"] = str(Path(data_dir).expanduser().resolve())
    if guide is not None:
        values["guide"]["name"] = guide
    if seed is not None:
        values["seed"] = seed
    if device is not None:
        values["training"]["device"] = device
    return override(config_from_dict(values), assignments)


def _sayer(screen: Console) -> Callable[[str], None]:
    return lambda text: screen.print(
        text, style="dim", highlight=False, soft_wrap=True, markup=False
    )


def _finish(screen: Console, run: Run, state: TrainingState, dataset: Dataset) -> None:
    from pyro_mfcvae.cli.show import show_evaluation

    from pyro_mfcvae.experiment import draw_run, evaluate_run

    if state.interrupted:
        screen.print(
            f"Interrupted after step {state.step} of {state.n_steps}; nothing is lost. Go on with\n"
            f"    mfcvae train --resume {run.path}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
        sys.exit(130)
    say = _sayer(screen)
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
