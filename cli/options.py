"""What several commands share."""

from __future__ import annotations

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
OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="A new run folder [runs/NAME-001]."
)


def sayer(screen: Console) -> Callable[[str], None]:
    """What prints a line on what is going on."""
    return lambda text: screen.print(
        text, style="dim", highlight=False, soft_wrap=True, markup=False
    )
