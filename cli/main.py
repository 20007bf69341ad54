"""The command line's entry point: errors become one message and an exit status."""

from __future__ import annotations

import codecs
import io
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from typing_extensions import override

from pyro_mfcvae import __version__
from pyro_mfcvae.allocator import is_out_of_memory, keep_memory
from pyro_mfcvae.cli.analyse import compare, evaluate, figures, report
from pyro_mfcvae.cli.assign import assign
from pyro_mfcvae.cli.bench import bench
from pyro_mfcvae.cli.exchange import export, import_, parts, presets, pretrained
from pyro_mfcvae.cli.explore import explore
from pyro_mfcvae.cli.fit import fit, select
from pyro_mfcvae.cli.inspect import inspect
from pyro_mfcvae.cli.intervene import intervene
from pyro_mfcvae.cli.reproduce import reproduce
from pyro_mfcvae.cli.sweep import sweep
from pyro_mfcvae.cli.train import train
from pyro_mfcvae.errors import (
    ConfigError,
    DamagedCheckpointWarning,
    DataError,
    DataWarning,
    NoEffectWarning,
    NotSavedWarning,
    OtherDataWarning,
    OtherModelWarning,
    RunError,
    SlowStepWarning,
    TrainingError,
    explain_os,
)
from pyro_mfcvae.tables import printable

COMMANDS = (  # each imports the library when it runs, so that --help is quick
    fit,
    select,
    train,
    assign,
    evaluate,
    figures,
    inspect,
    intervene,
    compare,
    report,
    explore,
    reproduce,
    bench,
    sweep,
    import_,
    export,
    pretrained,
    presets,
    parts,
)

_OWN = (
    DamagedCheckpointWarning,
    DataWarning,
    NoEffectWarning,
    NotSavedWarning,
    OtherDataWarning,
    OtherModelWarning,
    SlowStepWarning,
)
_FOR_LACK_OF_GLYPHS = {"±": "+-", "–": "-", "×": "x", "…": "...", "\N{NO-BREAK SPACE}": " "}


class Commands(click.Group):
    """A group that tells failures from usage errors and hides tracebacks unless asked."""

    @override
    def main(self, *args: Any, **kwargs: Any) -> Any:
        codecs.register_error("mfcvae", _write_otherwise)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="mfcvae")
        return super().main(*args, **kwargs)

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            with _plain_warnings(), _memory_in_words(ctx):
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)
        except Exception as error:
            if ctx.params.get("debug") or isinstance(error, BrokenPipeError):  # click ends quietly
                raise
            text = printable(str(error))
            if isinstance(error, ConfigError):
                raise click.UsageError(text) from error
            if isinstance(error, OSError):
                raise click.ClickException(printable(explain_os(error))) from error
            if isinstance(error, (DataError, RunError, TrainingError)):
                raise click.ClickException(text) from error
            raise click.ClickException(
                f"{type(error).__name__}: {text}\nThis should not happen; to see where it did, "
                'run the same command as "mfcvae --debug ..."'
            ) from error


def _write_otherwise(error: UnicodeError) -> tuple[str, int]:
    """What stands for letters that the terminal's or file's encoding does not have."""
    assert isinstance(error, UnicodeEncodeError)
    letters = error.object[error.start : error.end]
    return "".join(_FOR_LACK_OF_GLYPHS.get(letter, "?") for letter in letters), error.end


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show the library's own warnings without the place in its code."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_plainly(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if issubclass(category, _OWN):
                click.echo(f"warning: {printable(str(message))}", err=True)
            else:
                show(message, category, *place)

        warnings.showwarning = show_plainly  # type: ignore[assignment]  # passes the rest on
        yield


@contextmanager
def _memory_in_words(ctx: click.Context) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if ctx.params.get("debug") or not is_out_of_memory(error):
            raise
        told = str(error).rpartition("DefaultCPUAllocator: ")[2] or type(error).__name__
        raise click.ClickException(
            f"there is not enough memory ({told}); take a smaller training.batch_size, smaller "
            "networks or facets, or, for many observations, a .h5 file, which need not be loaded"
        ) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mfcvae")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    """Cluster data along several facets at once with deep generative models.

    \b
    Examples:
      mfcvae train                        the default job: rendered scenes, two facets
      mfcvae train --data my.npz          your own observations
      mfcvae evaluate runs/shapes-001     tables of a finished run
      mfcvae --debug train ...            with the traceback of an error
    """
    keep_memory()


for command in COMMANDS:
    main.add_command(command)
