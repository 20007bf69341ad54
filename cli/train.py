"""Training."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path
from signal import SIGINT
from typing import TYPE_CHECKING, Any

import click

from pyro_mfcvae.cli import completion
from pyro_mfcvae.cli.options import (
    CATEGORIES,
    COUNT,
    DATA_DIR,
    DEVICE,
    GUIDE,
    LABELS,
    MODEL,
    NATURAL,
    OF_DATA,
    OF_MACHINE,
    OF_MODEL,
    OF_RUNS,
    OF_SETTINGS,
    OUT,
    PATH,
    SKIP_BROKEN,
    TRACK,
    Command,
    again,
    argument,
    command_line,
    data_from,
    option,
    prints_tables,
    say_plainly,
    settings_of,
    split_commas,
    tracked_by,
)
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.signals import Interrupted, status_of

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.config import Config
    from pyro_mfcvae.data import Dataset
    from pyro_mfcvae.evaluation.results import Evaluation
    from pyro_mfcvae.runs.run import Run
    from pyro_mfcvae.training import TrainingState
    from pyro_mfcvae.training.callbacks import ProgressBar
    from pyro_mfcvae.training.say import Say


@click.command(cls=Command)
@argument(
    "preset",
    'Published or recommended settings (see "mfcvae presets") [shapes, or that of --model].',
    required=False,
    shell_complete=completion.PRESETS,
)
@option(
    "--data",
    'A data set, or a file or folder (see "mfcvae parts") [that of the settings].',
    None,
    "NAME|FILE",
    shell_complete=completion.DATASETS,
    group=OF_DATA,
)
@LABELS
@CATEGORIES
@SKIP_BROKEN
@DATA_DIR
@MODEL
@GUIDE
@option(
    "--facets",
    "Latent dimensions and clusters of each facet. The shallow facet stands first; the deep one, "
    "which stands last, trains first [those of the settings].",
    None,
    "D:K,D:K",
    group=OF_MODEL,
)
@option(
    "--config settings",
    "Settings of an earlier run, or of a config.json [those of PRESET].",
    PATH,
    "FILE|RUN",
    group=OF_SETTINGS,
    shell_complete=completion.complete_runs,
)
@settings_of("any setting, such as training.learning_rate=1e-3")
@option(
    "--seed",
    "Seed of the first weights, the order of observations and the noise [that of the settings: 0].",
    NATURAL,
    "N",
    group=OF_SETTINGS,
)
@OUT
@TRACK
@DEVICE
@option("--devices", "Share each batch out over so many devices [1].", COUNT, "N", group=OF_MACHINE)
@option(
    "--nodes",
    "On so many machines, each of which is given this command [1].",
    COUNT,
    "M",
    group=OF_MACHINE,
)
@option(
    "--timeout",
    "Wait so many seconds for a device that does not answer [1800].",
    click.FloatRange(min=0, min_open=True),
    "SECONDS",
    group=OF_MACHINE,
)
@option(
    "--runs n_runs",
    "Train so many seeds at once, counted on from --seed.",
    COUNT,
    "R",
    default=1,
    group=OF_RUNS,
)
@option(
    "--vary",
    "Train every one of these values at once, each with all seeds.",
    None,
    "PATH=VALUE,VALUE",
    multiple=True,
    group=OF_RUNS,
)
@option(
    "--resume resumed",
    "Go on with an interrupted run, or with runs trained at once.",
    PATH,
    "RUN",
    multiple=True,
    shell_complete=completion.complete_runs,
)
@prints_tables
def train(
    resumed: tuple[Path, ...],
    out: Path | None,
    model: str | None,
    guide: str | None,
    n_runs: int,
    vary: tuple[str, ...],
    devices: int | None,
    nodes: int | None,
    timeout: float | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Train a model, evaluate it and draw, in a new run folder.

    PRESET names published or recommended settings (see "mfcvae presets"); the default renders
    its own data and needs no download.

    \b
    Examples:
      mfcvae train
      mfcvae train --guide enumerate --seed 3
      mfcvae train --data my.npz --facets 5:20,2:10
      mfcvae train --data penguins.csv --labels species --categories island,sex --facets 5:6
      mfcvae train --set training.epochs_per_step=[5,20] --set model.likelihood.options.scale=0.2
      mfcvae train --runs 5 --vary training.learning_rate=0.0005,0.001
      mfcvae train --model vlac --guide relaxed --facets 5:1,5:40
      mfcvae train gmvae-mnist --guide vade
      mfcvae train --model mine.py:Own --guide enumerate
      mfcvae train mnist --guide mine.py:OwnGuide
      mfcvae train --config runs/shapes-001 --seed 1
      mfcvae train --devices 4
      mfcvae train --track tensorboard
      mfcvae train --resume runs/shapes-001
    """
    from pyro_mfcvae.cli.show import printer, show_json
    from pyro_mfcvae.runs import together
    from pyro_mfcvae.runs import train as alone
    from pyro_mfcvae.studies.many_runs import seeds_and_settings
    from pyro_mfcvae.training.callbacks import ProgressBar
    from pyro_mfcvae.training.devices.launch import launch

    screen, say = printer(as_json, quiet)
    bars = [] if quiet else [ProgressBar(screen)]
    dataset: Dataset | None
    processes: dict[str, Any] = {"n_devices": devices, "n_nodes": nodes, "timeout": timeout}
    if (n_runs > 1 or vary or len(resumed) > 1) and (devices or nodes):
        raise ConfigError("several runs at once share one device; leave --devices and --nodes out")
    if resumed:
        files = {"model": model, "guide": guide}
        fixed = {"out": out, "vary": vary, "runs": None if n_runs == 1 else n_runs, **given}
        runs, state, dataset = _resume(resumed, bars, say, processes, files, **fixed)
    elif n_runs > 1 or vary:
        config, dataset = _settings(model, guide, **given)
        configs = seeds_and_settings(config, n_runs, dict(map(_values, vary)))
        trained, states, dataset = together.train_together(configs, out, bars, say, dataset)
        runs, state = dict(zip(configs, trained, strict=True)), states[0]
    else:
        config, dataset = _settings(model, guide, **given)
        with launch(config.training.device, **processes) as engine:
            run, state, dataset = alone.train(
                config, out, bars, say, dataset=dataset, engine=engine
            )
        runs = {str(run.path): run}
    results = _finish(
        screen, say, again(model, guide), runs, state, dataset, not (as_json or quiet)
    )
    paths = [run.path for run in runs.values()]
    if as_json:
        found = zip(paths, results.values(), strict=True)
        show_json([{"run": str(path), "evaluation": each.to_dict()} for path, each in found])
    elif not quiet and len(runs) == 1:
        say_plainly(screen, f"figures and results: {paths[0]}")
    elif not quiet:
        report = command_line("report", *paths, *again(model, guide))
        say_plainly(screen, f"side by side: {report}")


def _resume(
    folders: tuple[Path, ...],
    bars: list[ProgressBar],
    say: Say,
    processes: dict[str, Any],
    files: dict[str, str | None],
    data_dir: Path | None,
    device: str | None,
    **given: Any,
) -> tuple[dict[str, Run], TrainingState, Dataset]:
    from pyro_mfcvae.plugins import load_guide_file, load_model_file
    from pyro_mfcvae.runs import together
    from pyro_mfcvae.runs import train as alone
    from pyro_mfcvae.runs.run import Run
    from pyro_mfcvae.training.devices.launch import launch

    if any(value not in (None, ()) for value in given.values()):
        raise ConfigError(
            "--resume goes on with the run's own settings; beside it only --data-dir, "
            "--device, --devices, --nodes and, for a model or guide from a file, --model and "
            "--guide may be given"
        )
    for kind, load in (("model", load_model_file), ("guide", load_guide_file)):
        if (file := files[kind]) is not None:
            load(file)
    runs = [Run(folder) for folder in folders]
    named = dict(zip(map(str, folders), runs, strict=True))
    if len(folders) > 1:
        _, states, dataset = together.resume_together(runs, bars, say, data_dir, device)
        return named, states[0], dataset
    (run,) = runs
    with launch(device or run.config.training.device, **processes) as engine:
        state, dataset = alone.resume(run, bars, say, data_dir, device, engine=engine)
    return named, state, dataset


def _values(text: str) -> tuple[str, list[str]]:
    """``PATH=V1,V2`` taken apart."""
    path, equals, values = text.partition("=")
    if not (equals and values):
        raise ConfigError(
            "expected --vary PATH=VALUE,VALUE, such as training.learning_rate=0.001,0.002, got "
            f"{text!r}"
        )
    return path.strip(), split_commas(values)


def _settings(
    model: str | None,
    guide: str | None,
    preset: str | None,
    settings: Path | None,
    data: str | None,
    labels: str | None,
    categories: str | None,
    skip_broken: bool | None,
    data_dir: Path | None,
    facets: str | None,
    assignments: tuple[str, ...],
    seed: int | None,
    device: str | None,
    track: tuple[str, ...],
) -> tuple[Config, Dataset | None]:
    """The settings, and the data if settings depend on them."""
    from dataclasses import replace

    from pyro_mfcvae.config import Component, override, with_facets
    from pyro_mfcvae.plugins import check_given_once, with_guide, with_model
    from pyro_mfcvae.presets import PRESETS, default_preset, get_preset
    from pyro_mfcvae.runs.fit import with_kinds
    from pyro_mfcvae.runs.run import read_config

    paths = [assignment.partition("=")[0].strip() for assignment in assignments]
    if preset is not None and preset not in PRESETS and Path(preset).exists():
        raise ConfigError(f"{preset!r} is no preset; to train on it, give it as --data {preset}")
    if settings is None:
        config = get_preset(preset or default_preset(model)).config
    elif preset is None:
        config = read_config(settings)
    else:
        raise ConfigError("--config gives all settings; leave the preset out")
    for kind, text, change in (("model", model, with_model), ("guide", guide, with_guide)):
        if text is not None:
            check_given_once(kind, paths)
            config = change(config, text)
    if facets is not None:
        config = with_facets(config, facets)
    is_other = data is not None and data != config.data.name
    source = data if is_other else config.data
    source = data_from(source, labels, data_dir, skip_broken, categories)
    config = replace(config, data=source, preset=preset if is_other else config.preset)
    given = [f"seed={seed}"] if seed is not None else []
    given += [f"training.device={device}"] if device is not None else []
    if categories is not None and not any(path.startswith("model.likelihood") for path in paths):
        part = Component(name="columns")
        config = replace(config, model=replace(config.model, likelihood=part))
    return with_kinds(override(config, [*given, *tracked_by(track), *assignments]))


def _finish(
    screen: Console,
    say: Say,
    besides: list[str],
    runs: Mapping[str, Run],
    state: TrainingState,
    dataset: Dataset,
    shows: bool,
) -> dict[str, Evaluation]:
    """Evaluate runs by their names, show the results, and draw; state is that of the first."""
    if not state.engine.is_writer:
        os._exit(0)  # without tearing down what was loaded: the first process waits for this end
    end_if_interrupted(screen, runs.values(), state, besides)
    # Loaded last: figures take seconds to load, which a signal of a cluster leaves no time for.
    from pyro_mfcvae.cli.show import show_evaluation, show_tables
    from pyro_mfcvae.evaluation.tables import runs_table
    from pyro_mfcvae.runs.complete import complete
    from pyro_mfcvae.runs.draw import draw_run

    tell = partial(say_plainly, screen)
    paths = [run.path for run in runs.values()]
    results = {}
    try:
        for name, run in runs.items():
            if len(runs) > 1:
                say(f"{run.path}:")
            results[name] = complete(run, dataset, say, draw=False)
        if shows and len(runs) == 1:
            show_evaluation(screen, *results.values())
        elif shows:
            show_tables(screen, runs_table(results))
        for run in runs.values():
            say("drawing")
            draw_run(run, dataset)
    except KeyboardInterrupt as error:
        tell("Interrupted; what was trained is safe. Go on with")
        for path, name in product(paths, ("evaluate", "figures")):
            tell(f"    {command_line(name, path, *besides)}")
        sys.exit(status_of(error))
    return results


def end_if_interrupted(
    screen: Console, runs: Iterable[Run], state: TrainingState, besides: Sequence[str] = ()
) -> None:
    """End the process if training was asked to stop, and say how to go on with it."""
    if state.interrupted:
        resumed = [word for run in runs for word in ("--resume", run.path)]
        say_plainly(
            screen,
            f"Interrupted after step {state.step} of {state.n_steps}; nothing is lost. Go on with\n"
            f"    {command_line('train', *resumed, *besides)}",
        )
        sys.exit(status_of(Interrupted(state.stop_signal or SIGINT)))
