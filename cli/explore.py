"""A run on a local page."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from pyro_mfcvae.cli.options import DATA_DIR, RUN, Command, option, own_files


@click.command(cls=Command)
@RUN
@option("--port", "Port of the page on this machine [a free one].", click.IntRange(1, 65535), "N")
@option("--no-browser", "Print the address and open no browser.")
@own_files
@DATA_DIR
def explore(run: Path, port: int | None, no_browser: bool, data_dir: Path | None) -> None:
    """Look around in RUN on a page in the browser, until Ctrl-C.

    The page has a map of each facet, clusters and what sets them apart, pairs of clusters, and
    sliders and swaps that change one facet. Facets and clusters that are named there keep their
    names with the run. It answers on this machine alone, and only to who has its whole address.

    \b
    Examples:
      mfcvae explore runs/shapes-001
      mfcvae explore runs/shapes-001 --port 8000 --no-browser
    """
    from pyro_mfcvae.cli.show import printer
    from pyro_mfcvae.explore import open_run
    from pyro_mfcvae.explore.server import require_explore, serve

    require_explore()
    _, say = printer(to_stderr=True, quiet=False)

    def greet(address: str) -> None:
        click.echo(address)
        say("Ctrl-C ends it")
        if not no_browser:
            webbrowser.open(address)

    say("preparing the data")
    serve(open_run(run, data_dir), port or 0, greet, say)
