"""The command line's entry point: errors become one message and an exit status."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click
from typing_extensions import override

from pyro_mfcvae import __version__
from pyro_mfcvae.allocator import keep_memory
from pyro_mfcvae.cli.analyse import compare, evaluate, figures, report
from pyro_mfcvae.cli.bench import bench
from pyro_mfcvae.cli.exchange import export, import_, parts, presets, pretrained
from pyro_mfcvae.cli.intervene import intervene
from pyro_mfcvae.cli.reproduce import reproduce
from pyro_mfcvae.cli.sweep import sweep
from pyro_mfcvae.cli.train import train
from pyro_mfcvae.errors import (
    ConfigError,
    DamagedCheckpointWarning,
    DataError,
    NoEffectWarning,
    NotSavedWarning,
    OtherDataWarning,
    OtherModelWarning,
    RunError,
    TrainingError,
    explain_os,
)

COMMANDS = (  # each imports the library when it runs, so that --help is quick
    train,
    evaluate,
    figures,
    intervene,
    compare,
    report,
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
    NoEffectWarning,
    NotSavedWarning,
    OtherDataWarning,
    OtherModelWarning,
)


class Commands(click.Group):
    """A group that tells failures from usage errors and hides tracebacks unless asked."""

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            with _plain_warnings():
                return super().invoke(ctx)
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)
        except Exception as error:
            if ctx.params.get("debug"):
                raise
            if isinstance(error, ConfigError):
                raise click.UsageError(str(error)) from error
            if isinstance(error, OSError):
                raise click.ClickException(explain_os(error)) from error
            if isinstance(error, (DataError, RunError, TrainingError)):
                raise click.ClickException(str(error)) from error
            raise click.ClickException(
                f"{type(error).__name__}: {error}\nThis should not happen; to see where it did, "
                'run the same command as "mfcvae --debug ..."'
            ) from error


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Show the library's own warnings without the place in its code."""
    with warnings.catch_warnings():
        show = warnings.showwarning

        def show_plainly(message: Warning | str, category: type[Warning], *place: Any) -> None:
            if issubclass(category, _OWN):
                click.echo(f"warning: {message}", err=True)
            else:
                show(message, category, *place)

        warnings.showwarning = show_plainly  # type: ignore[assignment]  # passes the rest on
        yield


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
