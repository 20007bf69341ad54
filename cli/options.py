"""What several commands share."""

from __future__ import annotations

import shlex
import shutil
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console

RUN = click.argument("run", type=click.Path(path_type=Path))
DATA_DIR = click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Folder of the data's files (downloaded, or that of an .npz or .h5 file).",
)


def _load(ctx: click.Context, _param: click.Parameter, files: tuple[str, ...]) -> None:
    if files and not ctx.resilient_parsing:
        from pyro_mfcvae.models import load_model_file

        for file in files:
            load_model_file(file)


MODEL_FILES = click.option(
    "--model",
    metavar="FILE.py:Name",
    multiple=True,
    expose_value=False,
    callback=_load,
    help="Import FILE.py, for a run whose model is Name of that file; can be repeated.",
)
MODEL = click.option(
    "--model", metavar="NAME|FILE.py:Name",
    help="Another model: mfcvae, vade, ..., or one of your own in FILE.py.",
)  # fmt: skip
OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="A new run folder [runs/NAME-001]."
)


def again(model: str | None) -> str:
    """What a command on a run needs besides, if the run was trained with this --model."""
    return f" --model {shlex.quote(model)}" if model is not None and ":" in model else ""


def paragraph(head: str, text: str) -> str:
    """Text beside its head, as wide as the terminal, or 100 letters where there is none."""
    width = shutil.get_terminal_size((100, 24)).columns
    return textwrap.fill(
        head + text, max(width, 2 * len(head)), subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )  # fmt: skip


def sayer(screen: Console) -> Callable[[str], None]:
    """What prints a line on what is going on."""
    return lambda text: screen.print(
        text, style="dim", highlight=False, soft_wrap=True, markup=False
    )
