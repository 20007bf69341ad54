"""Pages on runs."""

from __future__ import annotations

from pathlib import Path

import click

from pyro_mfcvae.cli.options import DATA_DIR, own_files, sayer


@click.command()
@click.argument("runs", metavar="RUN...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The page [report.html in RUN, or here for several runs].",
)
@own_files
@DATA_DIR
def report(runs: tuple[Path, ...], out: Path | None, data_dir: Path | None) -> None:
    """Write one HTML page on RUN, or on several runs side by side.

    The page is a single file that opens in any browser and loads nothing. What has not been
    measured or drawn is done first. An earlier report is replaced; no other file is.

    \b
    Examples:
      mfcvae report runs/shapes-001
      mfcvae report runs/shapes-001 runs/shapes-002 --out both.html
    """
    from pyro_mfcvae.cli.show import console
    from pyro_mfcvae.report import write_report

    click.echo(write_report(runs, out, data_dir, sayer(console())))
