"""Clusters of new rows or pictures."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pyro_mfcvae.cli.options import (
    DATA,
    DATA_DIR,
    PATH,
    RUN,
    SKIP_BROKEN,
    Command,
    data_from,
    option,
    own_files,
    prints_tables,
    say_plainly,
)

if TYPE_CHECKING:
    from pyro_mfcvae.runs.assign import Assigned
    from pyro_mfcvae.tables import Table


@click.command(cls=Command)
@RUN
@DATA
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, allow_dash=True),
    default="-",
    show_default=True,
    metavar="FILE",
    help="A .csv, .jsonl or .parquet file, or - for the standard output.",
)
@option("--copy-to", "Copy pictures to DIR/facet_0/cluster_3/FILE, too.", PATH, "DIR")
@SKIP_BROKEN
@own_files
@DATA_DIR
@prints_tables
def assign(
    run: Path,
    data: str,
    out: Path,
    copy_to: Path | None,
    skip_broken: bool | None,
    data_dir: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Say which clusters of RUN each row or picture of DATA is in.

    DATA is a file, a folder of pictures, the name of a data set, or - for a table as CSV or TSV
    from the standard input. It may have a single row, and needs no labels. Columns are found by
    their names.

    \b
    Examples:
      mfcvae assign runs/penguins-001 new.csv
      mfcvae assign runs/penguins-001 new.csv -o clusters.parquet
      cat new.csv | mfcvae assign runs/penguins-001 - > clusters.csv
      mfcvae assign runs/photos-001 photos --copy-to sorted -o sorted.csv
    """
    from pyro_mfcvae.cli.show import printer, show_json, show_tables
    from pyro_mfcvae.naming import facet_column
    from pyro_mfcvae.runs import assign as assigning
    from pyro_mfcvae.runs.run import Run

    is_piped = str(out) == "-"
    screen, say = printer(as_json or is_piped, quiet)
    opened = Run(run)
    source = data_from(data, None, data_dir, skip_broken)
    rows = assigning.rows_for(opened, source, say)
    if is_piped:
        assigning.assign(opened, rows, sys.stdout.buffer, ".jsonl" if as_json else ".csv", copy_to)
        return
    found = assigning.assign(opened, rows, out, copy_to=copy_to)
    if as_json:
        names = found.facet_names
        sizes = {facet_column(names, j): n.tolist() for j, n in found.sizes.items()}
        show_json({"out": str(out), "n_rows": found.n_rows, "sizes": sizes})
    elif not quiet:
        show_tables(screen, sizes_table(found))
        say_plainly(screen, f"clusters of {found.n_rows} rows: {out}")


def sizes_table(found: Assigned) -> Table:
    """How many rows each cluster has."""
    from pyro_mfcvae.naming import cluster_name, facet_title
    from pyro_mfcvae.tables import Cell, make_table, number, one_line

    def listed(j: int, sizes: list[int]) -> str:
        names = found.names[j]
        if not names:
            return ", ".join(map(str, sizes))
        return ", ".join(f"{cluster_name(names, k)}: {n}" for k, n in enumerate(sizes))

    rows = [
        (
            facet_title(found.facet_names, j),
            number(found.sure[j]),
            Cell(one_line(listed(j, sizes.tolist()))),
        )
        for j, sizes in found.sizes.items()
    ]
    heads = ("", "mean probability", "rows in clusters 0, 1, ...")
    return make_table("clusters of the rows", heads, rows, is_text=True)
