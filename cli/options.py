"""What several commands share."""

from __future__ import annotations

import json
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
from pyro_mfcvae.errors import did_you_mean
from pyro_mfcvae.tables import printable

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.config import Component

PATH = click.Path(path_type=Path)
FOLDER = click.Path(path_type=Path, file_okay=False)
COUNT, NATURAL = click.IntRange(min=1), click.IntRange(min=0)

# Headings of options in help.
OF_DATA, OF_MODEL, OF_SETTINGS, OF_RUNS = "Data", "Model", "Settings", "Several runs"
OF_MACHINE, OF_RESULTS, _REST = "Devices and processes", "Results", "Options"


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


class Choice(click.Choice[str]):
    """One of several words; an error suggests the one that is nearly what was given."""

    @override
    def get_invalid_choice_message(self, value: Any, ctx: click.Context | None) -> str:
        told = super().get_invalid_choice_message(value, ctx).rstrip(".")
        return told + did_you_mean(value, self.choices)


class Option(click.Option):
    """An option under a heading of its command's help."""

    def __init__(self, *args: Any, group: str = _REST, **more: Any) -> None:
        super().__init__(*args, **more)
        self.group = group


class Argument(click.Argument):
    """An argument with a help, which only newer versions of click take themselves."""

    def __init__(self, *args: Any, help: str, **more: Any) -> None:
        super().__init__(*args, **more)
        self.help = help


class Command(click.Command):
    """A command whose help shows its options in groups."""

    @override
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None and isinstance(param, click.Option):
                groups.setdefault(getattr(param, "group", _REST), []).append(record)
        for name in sorted(groups, key=_REST.__eq__):  # the rest stands last
            with formatter.section(name):
                formatter.write_dl(groups[name])


def option(
    names: str, text: str | None, kind: Any = None, metavar: str | None = None, **more: Any
) -> Any:
    """An option whose help shows its default.

    Args:
        names: the option, and after a blank the name of its argument if that is another.
        text: help.
        kind: its type.
        metavar: what stands for its value.
        **more: what :class:`Option` takes; without a type, metavar and default it is a flag.
    """
    shows = more.get("default") is not None
    if kind is None and metavar is None and not more.keys() - {"group"}:
        more["is_flag"] = True
    more |= {"help": text, "type": kind, "metavar": metavar, "show_default": shows}
    return click.option(*names.split(), cls=Option, **more)


def argument(name: str, text: str, kind: Any = None, **more: Any) -> Any:
    """An argument with its help; further arguments are those of :class:`click.Argument`."""
    return click.argument(name, cls=Argument, help=text, type=kind, **more)


RUN = argument(
    "run",
    "Folder of a run, such as runs/shapes-001.",
    PATH,
    shell_complete=completion.complete_runs,
)
DATA = argument(
    "data",
    "A file, a folder of pictures, the name of a data set, or - for a table from the standard "
    "input (see \"mfcvae parts 'file format'\").",
    shell_complete=completion.DATASETS,
)
DATA_DIR = option(
    "--data-dir",
    "Folder of the data's files, downloaded or your own [that of the settings, else MFCVAE_DATA of "
    "the environment, else data].",
    PATH,
    "DIR",
    group=OF_DATA,
)
LABELS = option(
    "--labels",
    "Columns that judge the result and are not trained on [those of text].",
    None,
    "NAME,NAME",
    group=OF_DATA,
)
CATEGORIES = option(
    "--categories",
    "Columns of a table whose text, or whole numbers, are categories to train on [none].",
    None,
    "NAME,NAME",
    group=OF_DATA,
)
SKIP_BROKEN = option(
    "--skip-broken",
    "Leave out pictures of a folder that cannot be read, and say which [they are an error].",
    is_flag=True,
    default=None,
    group=OF_DATA,
)
DEVICE = option(
    "--device",
    "What computes: auto (a GPU if there is one), cpu, cuda, cuda:1, ... [that of the settings].",
    None,
    "NAME",
    group=OF_MACHINE,
)
JOBS = option(
    "--jobs n_jobs",
    "Runs at a time, each in a process; they share the CPU threads.",
    COUNT,
    "N",
    default=1,
    group=OF_MACHINE,
)
_OWN = "or one of your own: FILE.py:Name, or package.module:Name."
MODEL = option(
    "--model",
    f'A model (see "mfcvae parts model") [that of the settings], {_OWN}',
    None,
    "NAME|FILE.py:Name",
    shell_complete=completion.MODELS,
    group=OF_MODEL,
)
GUIDE = option(
    "--guide",
    f'A guide, which infers the clusters (see "mfcvae parts guide") [that of the settings], {_OWN}',
    None,
    "NAME|FILE.py:Name",
    shell_complete=completion.GUIDES,
    group=OF_MODEL,
)
TRACK = option(
    "--track",
    'Tell a tracker every log point, too (see "mfcvae parts tracker"); can be repeated.',
    None,
    "NAME",
    multiple=True,
    shell_complete=completion.TRACKERS,
    group=OF_RESULTS,
)
OUT = option("--out", "A new run folder [runs/NAME-001].", PATH, group=OF_RESULTS)


def tracked_by(track: Sequence[str]) -> list[str]:
    """What ``--track`` changes of the settings."""
    return [f"training.track={json.dumps(track)}"] if track else []


def settings_of(whose: str) -> Any:
    """The option ``--set``; its help says whose settings it changes."""
    return option(
        "--set assignments",
        f'Change {whose} (see "mfcvae parts setting"); can be repeated.',
        None,
        "PATH=VALUE",
        multiple=True,
        group=OF_SETTINGS,
    )


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
    quiet = option("-q --quiet", "Print no tables; of a list, names only.", group=OF_RESULTS)
    text = "Print JSON instead of tables, for other programs."
    return option("--json as_json", text, group=OF_RESULTS)(quiet(command))


def data_from(
    data: Component | str,
    labels: str | None = None,
    data_dir: Path | None = None,
    skip_broken: bool | None = None,
    categories: str | None = None,
) -> Component:
    """Settings of the data that the options of a command describe.

    Args:
        data: what a person named, or settings.
        labels: names of labels, separated by commas.
        data_dir: folder of the data's files.
        skip_broken: leave out pictures that cannot be read.
        categories: names of columns of categories, separated by commas.
    """
    from dataclasses import replace

    from pyro_mfcvae.data import data_settings, in_folder

    source = data_settings(data) if isinstance(data, str) else data
    given: dict[str, Any] = {} if labels is None else {"labels": split_commas(labels)}
    given |= {} if categories is None else {"categories": split_commas(categories)}
    given |= {} if skip_broken is None else {"skip_broken": skip_broken}
    source = replace(source, options={**source.options, **given})
    return source if data_dir is None else in_folder(source, data_dir)


def split_commas(text: str | None) -> list[str]:
    """The parts of a text, without blanks around them."""
    return [part.strip() for part in text.split(",")] if text else []


class ListsMeasures(Command):
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
