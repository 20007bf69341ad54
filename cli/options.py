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
    help="Folder of the data's files, downloaded or your own.",
)


def _load(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> None:
    if files and not ctx.resilient_parsing:
        from pyro_mfcvae.plugins import load_guide_file, load_model_file

        for file in files:
            (load_guide_file if param.name == "guide" else load_model_file)(file)


def own_files(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: options that import what a run was trained with, which its folder only names."""
    for kind in ("guide", "model"):
        option = click.option(
            f"--{kind}",
            metavar="FILE.py:Name",
            multiple=True,
            expose_value=False,
            callback=_load,
            help=f"Import FILE.py, for a run whose {kind} is Name of that file; can be repeated.",
        )
        command = option(command)
    return command


MODEL = click.option(
    "--model",
    metavar="NAME|FILE.py:Name",
    help='Another model (see "mfcvae parts model"), or one of your own: FILE.py:Name, or '
    "package.module:Name.",
)
GUIDE = click.option(
    "--guide",
    metavar="NAME|FILE.py:Name",
    help='What happens with c: a guide (see "mfcvae parts guide"), or one of your own: '
    "FILE.py:Name, or package.module:Name.",
)
OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="A new run folder [runs/NAME-001]."
)


def again(model: str | None, guide: str | None) -> str:
    """What a command on a run needs besides, if it was trained with this --model and --guide."""
    return "".join(
        f" --{kind} {shlex.quote(text)}"
        for kind, text in (("model", model), ("guide", guide))
        if text is not None and ":" in text
    )


def paragraph(head: str, text: str) -> str:
    """Text beside its head, as wide as the terminal, or 100 letters where there is none."""
    width = shutil.get_terminal_size((100, 24)).columns
    return textwrap.fill(
        head + text,
        max(width, 2 * len(head)),
        subsequent_indent=" " * len(head),
        break_on_hyphens=False,
    )


def sayer(screen: Console) -> Callable[[str], None]:
    """What prints a line on what is going on."""
    return lambda text: screen.print(
        text, style="dim", highlight=False, soft_wrap=True, markup=False
    )
