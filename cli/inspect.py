"""What would be done with data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pyro_mfcvae.cli.options import (
    CATEGORIES,
    DATA,
    DATA_DIR,
    LABELS,
    SKIP_BROKEN,
    Command,
    data_from,
    prints_tables,
    say_plainly,
    settings_of,
)
from pyro_mfcvae.errors import DataError

if TYPE_CHECKING:
    from pyro_mfcvae.data.inspection import Inspection
    from pyro_mfcvae.tables import Table


@click.command(cls=Command)
@DATA
@LABELS
@CATEGORIES
@SKIP_BROKEN
@DATA_DIR
@settings_of("an option of the data, such as data.options.size=32")
@prints_tables
def inspect(
    data: str,
    labels: str | None,
    categories: str | None,
    skip_broken: bool | None,
    data_dir: Path | None,
    assignments: tuple[str, ...],
    as_json: bool,
    quiet: bool,
) -> None:
    """Say what a training would do with every column of DATA, and why.

    DATA is a file, a folder of pictures, the name of a data set, or - for a table as CSV or TSV
    from the standard input.

    \b
    Examples:
      mfcvae inspect penguins.csv
      mfcvae inspect penguins.csv --labels species,sex --categories island
      mfcvae inspect photos --set data.options.size=32
    """
    from dataclasses import asdict, replace

    from pyro_mfcvae.cli.show import printer, show_json, show_tables
    from pyro_mfcvae.config import override
    from pyro_mfcvae.data.inspection import inspect_data
    from pyro_mfcvae.presets import default_preset, get_preset

    source = data_from(data, labels, data_dir, skip_broken, categories)
    config = replace(get_preset(default_preset(None)).config, data=source)
    found = inspect_data(override(config, assignments).data)
    screen, _ = printer(as_json, quiet)
    if as_json:
        show_json({"columns": list(map(asdict, found.columns)), "warnings": found.notes})
    elif not quiet:
        show_tables(screen, _columns_table(found))
        for note in found.notes:
            say_plainly(screen, f"warning: {note}")
    if found.dataset is None:
        raise DataError(found.problem)
    if not (as_json or quiet):
        n_train, n_test = len(found.dataset.train), len(found.dataset.test)
        shape = found.dataset.observation.shape
        say_plainly(screen, f"{n_train} observations {shape} to train on, {n_test} held out")


def _columns_table(found: Inspection) -> Table:
    from pyro_mfcvae.tables import make_table

    rows = [(each.name, each.kind, each.use, each.why) for each in found.columns]
    heads = ("column", "values", "use", "why")
    return make_table("what a training does with it", heads, rows, is_text=True)
