"""What several commands share."""

from __future__ import annotations

import math
import shlex
import shutil
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from typing_extensions import override

from pyro_mfcvae.cli import completion
from pyro_mfcvae.tables import printable

if TYPE_CHECKING:
    from rich.console import Console

PATH = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, file_okay=False)
COUNT, NATURAL = click.IntRange(min=1), click.IntRange(min=0)


class Numbers(click.ParamType):
    """Numbers separated by commas.

    Args:
        kind: of the numbers.
        least: the smallest one that is allowed.
    """

    name = "numbers"

    def __init__(self, kind: type[int] | type[float] = int, least: float = -math.inf) -> None:
        self.kind, self.least = kind, least

    @override
    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        if isinstance(value, tuple):
            return value
        try:
            numbers = tuple(self.kind(part) for part in value.split(","))
        except ValueError:
            numbers = ()
        if not numbers or not all(map(math.isfinite, numbers)):
            what = "whole" if self.kind is int else "finite"
            self.fail(f"expected {what} numbers separated by commas, such as 0,5,9; got {value!r}")
        if min(numbers) < self.least:
            self.fail(f"expected numbers from {self.least:g} on, got {value!r}")
        return numbers


class NumbersOrAll(Numbers):
    """Numbers separated by commas, or ``all``."""

    @override
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return "all" if value == "all" else super().convert(value, param, ctx)


def option(
    names: str, text: str | None, kind: Any = None, metavar: str | None = None, **more: Any
) -> Any:
    """An option whose help shows its default.

    Args:
        names: the option, and after a blank the name of its argument if that is another.
        text: help.
        kind: its type.
        metavar: what stands for its value.
        **more: what ``click.option`` takes; without a type, metavar and default it is a flag.
    """
    shows = more.get("default") is not None
    if kind is None and metavar is None and not more:
        more["is_flag"] = True
    return click.option(
        *names.split(), help=text, type=kind, metavar=metavar, show_default=shows, **more
    )


RUN = click.argument("run", type=PATH, shell_complete=completion.complete_runs)
DATA = click.argument("data", shell_complete=completion.DATASETS)
DATA_DIR = option("--data-dir", "Folder of the data's files, downloaded or your own.", PATH, "DIR")
LABELS = option("--labels", "Columns that judge and do not train.", None, "NAME,NAME")
DEVICE = option("--device", "auto, cpu, cuda, cuda:1, ...", None, "NAME")
JOBS = option(
    "--jobs n_jobs",
    "Runs at a time, each in a process; they share the CPU threads.",
    COUNT,
    "N",
    default=1,
)
_OWN = "or one of your own: FILE.py:Name, or package.module:Name."
MODEL = option(
    "--model",
    f'Another model (see "mfcvae parts model"), {_OWN}',
    None,
    "NAME|FILE.py:Name",
    shell_complete=completion.MODELS,
)
GUIDE = option(
    "--guide",
    f'What happens with c: a guide (see "mfcvae parts guide"), {_OWN}',
    None,
    "NAME|FILE.py:Name",
    shell_complete=completion.GUIDES,
)
OUT = option("--out", "A new run folder [runs/NAME-001].", PATH)


def settings_of(whose: str) -> Any:
    """The option ``--set``; its help says whose settings it changes."""
    return option("--set assignments", f"Change {whose}.", None, "PATH=VALUE", multiple=True)


def _load(ctx: click.Context, param: click.Parameter, files: tuple[str, ...]) -> None:
    if files and not ctx.resilient_parsing:
        from pyro_mfcvae.plugins import load_guide_file, load_model_file

        for file in files:
            (load_guide_file if param.name == "guide" else load_model_file)(file)


def own_files(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: options that import what a run was trained with, which its folder only names."""
    for kind in ("guide", "model"):
        text = f"Import FILE.py, for a run whose {kind} is Name of that file; can be repeated."
        more = {"multiple": True, "expose_value": False, "callback": _load}
        command = option(f"--{kind}", text, None, "FILE.py:Name", **more)(command)
    return command


def prints_tables(command: Callable[..., None]) -> Callable[..., None]:
    """Decorator: options of a command that prints tables, ``as_json`` and ``quiet``."""
    command = click.option(
        "-q", "--quiet", is_flag=True, help="Print no tables; of a list, names only."
    )(command)
    return option("--json as_json", "Print JSON instead of tables, for other programs.")(command)


def split_commas(text: str | None) -> list[str]:
    """The parts of a text, without blanks around them."""
    return [part.strip() for part in text.split(",")] if text else []


class ListsMeasures(click.Command):
    """A command whose help lists what is measured, read off the table when help is asked for."""

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from pyro_mfcvae.evaluation.measures import MEASURES

        with formatter.section("Measures"):
            formatter.write_dl([(row.name, row.explanation) for row in MEASURES.values()])


def again(model: str | None, guide: str | None) -> list[str]:
    """What a command on a run needs besides, if it was trained with this --model and --guide."""
    return [
        word
        for kind, text in (("model", model), ("guide", guide))
        if text is not None and ":" in text
        for word in (f"--{kind}", text)
    ]


def command_line(*words: object) -> str:
    """A command, to be pasted into a shell."""
    texts = [f"./{w}" if isinstance(w, Path) and str(w).startswith("-") else str(w) for w in words]
    return shlex.join(["mfcvae", *texts])


def same_command(ctx: click.Context, name: str, *more: object, without: Sequence[str] = ()) -> str:
    """The command that was given, as another one, to be pasted into a shell.

    Args:
        ctx: of the command.
        name: of the other one.
        *more: words behind it.
        without: names of arguments that are left out.
    """
    words: list[object] = [name]
    for given in ctx.command.params:
        key = given.name or ""
        if key in without or ctx.get_parameter_source(key) is not ParameterSource.COMMANDLINE:
            continue
        value = ctx.params[key]
        if isinstance(given, click.Argument):
            words.append(value)
        elif isinstance(given, click.Option) and given.is_flag:
            words.append(given.opts[0])
        else:
            values = value if given.multiple else [value]
            words += [word for each in values for word in (given.opts[0], each)]
    return command_line(*words, *more)


def paragraph(head: str, text: str) -> str:
    """Text beside its head, as wide as the terminal, or 100 letters where there is none."""
    width = max(shutil.get_terminal_size((100, 24)).columns, 2 * len(head))
    indent = " " * len(head)
    return textwrap.fill(head + text, width, subsequent_indent=indent, break_on_hyphens=False)


def say_plainly(screen: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is: nothing in it is highlighted, cut or read as markup or an order."""
    text = printable(text)
    screen.print(text, style=style, highlight=False, soft_wrap=True, markup=False)


def sayer(screen: Console) -> Callable[[str], None]:
    """What prints a line on what is going on."""
    return lambda text: say_plainly(screen, text, "dim")
