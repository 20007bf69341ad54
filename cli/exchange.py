"""What the library knows by name, and models that come with it, come in, or go out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyro_mfcvae.cli import completion
from pyro_mfcvae.cli.options import (
    DATA_DIR,
    OUT,
    PATH,
    RUN,
    argument,
    command_line,
    option,
    own_files,
    paragraph,
    prints_tables,
)
from pyro_mfcvae.errors import ConfigError

if TYPE_CHECKING:
    from pyro_mfcvae.runs.run import Run


@click.command()
@argument(
    "name", "Of a preset [all are listed].", required=False, shell_complete=completion.PRESETS
)
@prints_tables
def presets(name: str | None, as_json: bool, quiet: bool) -> None:
    """List the presets, or print the settings of one as JSON.

    \b
    Examples:
      mfcvae presets
      mfcvae presets shapes
    """
    from pyro_mfcvae.cli.show import show_list
    from pyro_mfcvae.config import config_to_json
    from pyro_mfcvae.presets import PRESETS, get_preset

    if name is not None:
        click.echo(config_to_json(get_preset(name).config), nl=False)
        return
    if as_json or quiet:
        show_list({preset.name: preset.description for preset in PRESETS.values()}, as_json)
        return
    for preset in PRESETS.values():
        click.echo(f"{preset.name}: {preset.description}")
        click.echo(paragraph("    source:   ", preset.source))
        click.echo(paragraph("    expected: ", preset.expected))


@click.command("import")
@argument("file", "A checkpoint of the first authors' code, .pt.", PATH)
@option("--config settings", "Its settings [those in FILE].", PATH, "YAML")
@OUT
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
@RUN
@argument("folder", "A new folder for the copy.", PATH, required=False)
@option("--half", "Store numbers of FOLDER with 16 bits instead of 32.")
@option("--onnx", "Write what assigns observations to clusters as ONNX.", PATH, "FILE")
@option("--hub", "Send a copy to the Hugging Face Hub, where it is private.", None, "OWNER/NAME")
@own_files
def export(run: Path, folder: Path | None, half: bool, onnx: Path | None, hub: str | None) -> None:
    """Copy RUN to FOLDER or to the Hub, to share it, or write its encoder and clusters as ONNX.

    The copy has no optimiser, one checkpoint only, and a model card made of the latest evaluation.
    The ONNX file takes any number of observations, and runs without Python.

    \b
    Examples:
      mfcvae export runs/mnist-001 my-model --half
      mfcvae export runs/mnist-001 --onnx mnist.onnx
      mfcvae export runs/mnist-001 --hub me/digits
    """
    from pyro_mfcvae.runs.run import Run

    if folder is None and (half or (onnx is None and hub is None)):
        raise ConfigError("give FOLDER, for a copy, or --onnx FILE, or --hub OWNER/NAME")
    opened = Run(run)
    if onnx is not None:
        click.echo(opened.to_onnx(onnx))
    if folder is not None:
        click.echo(opened.save_pretrained(folder, half=half))
    if hub is not None:
        click.echo(opened.push_to_hub(hub))


@click.command()
@argument(
    "name",
    "Of a trained model, or OWNER/NAME of the Hugging Face Hub [they are listed].",
    required=False,
    shell_complete=completion.PRETRAINED,
)
@OUT
@DATA_DIR
@prints_tables
def pretrained(
    name: str | None, out: Path | None, data_dir: Path | None, as_json: bool, quiet: bool
) -> None:
    """Open a trained model of the library as a run, or list them.

    NAME may also be OWNER/NAME of the Hugging Face Hub.

    \b
    Examples:
      mfcvae pretrained
      mfcvae pretrained mnist --data-dir ~/data
      mfcvae pretrained me/digits
      mfcvae evaluate runs/mnist-pretrained-001
    """
    from pyro_mfcvae.cli.show import show_json, show_list
    from pyro_mfcvae.presets import PRESETS
    from pyro_mfcvae.pretrained import open_pretrained, pretrained_models

    if name is not None:
        run = open_pretrained(name, out, data_dir)
        if as_json:
            show_json({"run": str(run.path)})
        elif not quiet:
            _say_how_to_go_on(run)
        return
    models = {}
    for known, run in pretrained_models().items():
        preset = PRESETS.get(run.config.preset or "")
        models[known] = preset.description if preset else run.config.data.name
    if as_json or quiet:
        show_list(models, as_json)
        return
    for known, description in models.items():
        click.echo(f"{known}: {description}")


def _say_how_to_go_on(run: Run) -> None:
    commands = [f"\n    {command_line(name, run.path)}" for name in ("evaluate", "figures")]
    click.echo(f"{run.path} is ready. Go on with{''.join(commands)}")


@click.command()
@argument("kind", "One of those in the singular [all are listed].", required=False)
@own_files
@prints_tables
def parts(kind: str | None, as_json: bool, quiet: bool) -> None:
    """List models, guides, likelihoods, networks, data sets, formats, trackers and settings.

    KIND is one of those in the singular. With --model or --guide what their files register is
    listed, too.

    \b
    Examples:
      mfcvae parts
      mfcvae parts guide
      mfcvae parts setting
      mfcvae parts likelihood --model mine.py:Own
    """
    from pyro_mfcvae.cli.show import show_list
    from pyro_mfcvae.config.described import SETTINGS
    from pyro_mfcvae.data.formats import FORMATS
    from pyro_mfcvae.data.registry import DATASETS
    from pyro_mfcvae.guides import GUIDES
    from pyro_mfcvae.models import MODELS
    from pyro_mfcvae.nets.likelihoods import LIKELIHOODS
    from pyro_mfcvae.nets.registry import DECODERS, ENCODERS
    from pyro_mfcvae.registry import Registry, unknown
    from pyro_mfcvae.training.start.pretrain import PRETRAININGS
    from pyro_mfcvae.training.trackers import TRACKERS

    tables: list[Registry[Any]] = [MODELS, GUIDES, LIKELIHOODS, ENCODERS, DECODERS, DATASETS]
    tables += [FORMATS, PRETRAININGS, TRACKERS, SETTINGS]
    known = {table.what: table for table in tables}
    if kind is not None and kind not in known:
        raise unknown("kind", kind, known)
    chosen = list(known.values()) if kind is None else [known[kind]]
    if as_json or quiet:
        found = {t.what: {name: t.describe(name) for name in sorted(t)} for t in chosen}
        show_list(found if as_json else {name: t for t in chosen for name in sorted(t)}, as_json)
        return
    for table in chosen:
        click.echo(f"{table.what}:")
        for name in sorted(table):
            click.echo(paragraph(f"  {name}: ", table.describe(name)))
