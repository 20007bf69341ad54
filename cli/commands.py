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
_DATA_DIR = click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the data's files (downloaded, or that of an .npz file).",
)
_OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="A new run folder [runs/NAME-001]."
)


@click.command()
@click.argument("preset", required=False)
@click.option("--data", metavar="NAME|FILE", help="A data set's name, or the path of an .npz file.")
@_DATA_DIR
@click.option("--guide", metavar="NAME", help="What happens with c: vade, enumerate, ...")
@click.option("--facets", metavar="D:K,D:K", help="Latent dimensions and clusters, shallow first.")
@click.option("--set", "assignments", metavar="PATH=VALUE", multiple=True,
              help="Change any setting, such as training.learning_rate=1e-3.")  # fmt: skip
@click.option("--seed", type=click.IntRange(min=0), help="Of weights, order and noise.")
@_OUT
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
    bar, say = ProgressBar(screen), _sayer(screen)
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


@click.command()
@_RUN
@click.option(
    "--probe",
    "probed",
    is_flag=True,
    help="Classify every factor from every facet's latents, too; takes minutes.",
)
@click.option(
    "--bound",
    "n_importance_samples",
    metavar="S",
    type=click.IntRange(min=0),
    default=0,
    help="The importance-weighted bound with S samples, too.",
)
@_DATA_DIR
def evaluate(run: Path, probed: bool, n_importance_samples: int, data_dir: Path | None) -> None:
    """Evaluate the model of RUN and print tables.

    Its training and its held-out data are measured, and written to evaluation.json.

    \b
    Examples:
      mfcvae evaluate runs/shapes-001
      mfcvae evaluate runs/shapes-001 --probe --bound 64
    """
    from pyro_mfcvae.cli.show import console, show_evaluation

    from pyro_mfcvae.experiment import evaluate_run
    from pyro_mfcvae.runs import Run

    opened = Run(run)
    screen = console()
    results = evaluate_run(
        opened, opened.dataset(data_dir), probed, n_importance_samples, _sayer(screen)
    )
    show_evaluation(screen, results)


@click.command()
@_RUN
@_DATA_DIR
def figures(run: Path, data_dir: Path | None) -> None:
    """Draw the figures of RUN again.

    They go into its folder "figures".

    \b
    Example:
      mfcvae figures runs/shapes-001
    """
    from pyro_mfcvae.drawing import draw_run
    from pyro_mfcvae.runs import Run

    opened = Run(run)
    for path in draw_run(opened, opened.dataset(data_dir)):
        click.echo(path)


@click.command()
@_RUN
@click.option("--guides", metavar="NAME,NAME", help="Which ones [all].")
@click.option("--samples", metavar="S,S", default="1,2,8,32", show_default=True,
              help="Samples of z per observation.")  # fmt: skip
@click.option("--n-draws", type=click.IntRange(min=2), default=20, show_default=True,
              help="Draws of the noise.")  # fmt: skip
@click.option("--n-observations", type=click.IntRange(min=1), default=100, show_default=True,
              help="Held-out observations.")  # fmt: skip
@_DATA_DIR
def compare(
    run: Path,
    guides: str | None,
    samples: str,
    n_draws: int,
    n_observations: int,
    data_dir: Path | None,
) -> None:
    """Compare guides on the model of RUN, under the same noise.

    Prints the ELBO with its terms, gap to "enumerate" beside its prediction, variance of the
    gradient of q(z | x) and time for each number of samples; writes comparison.json and
    figures/guides.png.

    \b
    Examples:
      mfcvae compare runs/shapes-001
      mfcvae compare runs/shapes-001 --guides vade,enumerate --samples 1,4,16
    """
    from pyro_mfcvae.cli.show import console, show_comparison
    from rich.progress import Progress

    from pyro_mfcvae.drawing import draw_comparison
    from pyro_mfcvae.evaluation.compare import REFERENCE
    from pyro_mfcvae.experiment import compare_run
    from pyro_mfcvae.guides import GUIDES
    from pyro_mfcvae.runs import Run

    names = None if guides is None else [name.strip() for name in guides.split(",")]
    counts = _counts(samples)
    opened, screen = Run(run), console()
    n_guides = len(GUIDES) if names is None else len({*names, REFERENCE})
    with Progress(console=screen, transient=True) as progress:
        task = progress.add_task("comparing", total=n_guides * len(counts) * n_draws)
        results = compare_run(
            opened, opened.dataset(data_dir), names, counts, n_observations, n_draws,
            on_draw=lambda: progress.advance(task),
        )  # fmt: skip
    show_comparison(screen, results)
    for path in draw_comparison(opened):
        screen.print(f"figure: {path}", highlight=False, soft_wrap=True, markup=False)


@click.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the presets, or print the settings of one as JSON.

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


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--config", "settings", metavar="YAML", type=click.Path(path_type=Path),
              help="Its settings, where FILE holds none.")  # fmt: skip
@_OUT
def import_(file: Path, settings: Path | None, out: Path | None) -> None:
    """Turn a checkpoint of the first authors into a run.

    FILE is what their training writes; nothing in it is executed. The run evaluates, draws and
    generates like any other, and cannot be trained further.

    \b
    Examples:
      mfcvae import pretrained_models/mnist.pt
      mfcvae import weights.pt --config configs/svhn.yml --out runs/theirs
    """
    from pyro_mfcvae.official import import_run

    _say_how_to_go_on(import_run(file, settings, out))


@click.command()
@_RUN
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--half", is_flag=True, help="Store numbers with 16 bits.")
def export(run: Path, folder: Path, half: bool) -> None:
    """Copy RUN to FOLDER, to share it.

    The copy has no optimiser and one checkpoint only.

    \b
    Example:
      mfcvae export runs/mnist-001 my-model --half
    """
    from pyro_mfcvae.runs import Run

    click.echo(Run(run).export(folder, half).path)


@click.command()
@click.argument("name", required=False)
@_OUT
@_DATA_DIR
def pretrained(name: str | None, out: Path | None, data_dir: Path | None) -> None:
    """Open a trained model of the library as a run, or list them.

    \b
    Examples:
      mfcvae pretrained
      mfcvae pretrained mnist --data-dir ~/data
      mfcvae evaluate runs/mnist-pretrained-001
    """
    from pyro_mfcvae.presets import PRESETS
    from pyro_mfcvae.pretrained import open_pretrained, pretrained_models

    if name is not None:
        _say_how_to_go_on(open_pretrained(name, out, data_dir))
        return
    for known, run in pretrained_models().items():
        preset = PRESETS.get(run.config.preset or "")
        click.echo(f"{known}: {preset.description if preset else run.config.data.name}")


COMMANDS = (train, evaluate, figures, compare, import_, export, pretrained, presets)


def _say_how_to_go_on(run: Run) -> None:
    click.echo(
        f"{run.path} is ready. Go on with\n    mfcvae evaluate {run.path}\n"
        f"    mfcvae figures {run.path}"
    )


def _counts(text: str) -> list[int]:
    """Numbers from 1 on, separated by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"--samples takes whole numbers from 1 on, such as 1,2,8; got {text!r}")
    return sorted({int(part) for part in parts})


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


def _sayer(screen: Console) -> Callable[[str], None]:
    return lambda text: screen.print(
        text, style="dim", highlight=False, soft_wrap=True, markup=False
    )


def _finish(screen: Console, run: Run, state: TrainingState, dataset: Dataset) -> None:
    from pyro_mfcvae.cli.show import show_evaluation

    from pyro_mfcvae.drawing import draw_run
    from pyro_mfcvae.experiment import evaluate_run

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
