"""The command line's entry point: errors become one message and an exit status."""

from __future__ import annotations

import sys

import click
from typing_extensions import override

from pyro_mfcvae import __version__
from pyro_mfcvae.errors import ConfigError, DataError, RunError, TrainingError


class Commands(click.Group):
    """A group that tells failures from usage errors and hides tracebacks unless asked."""

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except ConfigError as error:
            if ctx.params.get("debug"):
                raise
            raise click.UsageError(str(error)) from error
        except (DataError, RunError, TrainingError, OSError) as error:
            if ctx.params.get("debug"):
                raise
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            click.echo("Interrupted.", err=True)
            sys.exit(130)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mfcvae")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
def main(debug: bool) -> None:
    r"""Cluster data along several facets at once with deep generative models.

    \b
    Examples:
      mfcvae train                        the default job: rendered scenes, two facets
      mfcvae train --data my.npz          your own observations
      mfcvae evaluate runs/shapes-001     tables of a finished run
    """


def _register() -> None:
    from pyro_mfcvae.cli import commands

    for command in commands.COMMANDS:
        main.add_command(command)


_register()
