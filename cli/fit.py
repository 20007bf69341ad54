"""From data to named clusters with one command."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pyro_mfcvae.cli.options import (
    DATA,
    DATA_DIR,
    DEVICE,
    LABELS,
    NATURAL,
    OF_MODEL,
    OF_SETTINGS,
    OUT,
    SKIP_BROKEN,
    Command,
    Numbers,
    data_from,
    option,
    prints_tables,
    say_plainly,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pyro_mfcvae.presets.auto import Choice
    from pyro_mfcvae.tables import Table


@click.command(cls=Command)
@DATA
@option(
    "--facets n_clusters",
    "Clusters of each facet [from the number of rows]. The shallow facet stands first and the deep "
    "one last; they train together.",
    Numbers(least=1),
    "K,K",
    group=OF_MODEL,
)
@LABELS
@SKIP_BROKEN
@DATA_DIR
@settings_of("any setting that was chosen, such as training.learning_rate=1e-3")
@option("--seed", "Of weights, order and noise.", NATURAL, group=OF_SETTINGS)
@OUT
@DEVICE
@prints_tables
def fit(
    data: str,
    n_clusters: tuple[int, ...] | None,
    labels: str | None,
    skip_broken: bool | None,
    data_dir: Path | None,
    assignments: tuple[str, ...],
    seed: int | None,
    out: Path | None,
    device: str | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Cluster DATA: choose settings, train, evaluate, draw, assign every row, and report.

    DATA is a file, a folder of pictures, or - for a table as CSV or TSV from the standard input,
    which is not kept. All results are in a new run folder: assign.csv has the
    clusters of every row, report.html the page to look at first.

    \b
    Examples:
      mfcvae fit penguins.csv
      mfcvae fit penguins.csv --facets 6,4 --labels species,sex
      mfcvae fit photos --set data.options.size=32 --skip-broken
    """
    from dataclasses import replace

    from pyro_mfcvae.cli.assign import sizes_table
    from pyro_mfcvae.cli.show import printer, show_evaluation, show_json, show_tables
    from pyro_mfcvae.cli.train import end_if_interrupted
    from pyro_mfcvae.config import override
    from pyro_mfcvae.data import load_dataset
    from pyro_mfcvae.data.rows import Rows
    from pyro_mfcvae.presets import default_preset, get_preset
    from pyro_mfcvae.report import write_report
    from pyro_mfcvae.runs import assign as assigning
    from pyro_mfcvae.runs.complete import complete
    from pyro_mfcvae.runs.fit import settings_from_data
    from pyro_mfcvae.runs.train import train
    from pyro_mfcvae.training.callbacks import ProgressBar

    screen, say = printer(as_json, quiet)
    source = data_from(data, labels, data_dir, skip_broken)
    given = [*assignments]
    given += [f"seed={seed}"] if seed is not None else []
    given += [f"training.device={device}"] if device is not None else []
    of_data = [text for text in given if text.lstrip().startswith("data.")]
    start = replace(get_preset(default_preset(None)).config, data=source)
    source = override(start, of_data).data
    say("preparing the data")
    dataset = load_dataset(source)
    config, choices = settings_from_data(dataset, source, n_clusters)
    config = override(config, given)
    shows = not (as_json or quiet)
    if shows:
        show_tables(screen, _choices_table(choices))
    bars = [] if quiet else [ProgressBar(screen)]
    run, state, _ = train(config, out, bars, say, dataset=dataset)
    end_if_interrupted(screen, [run], state)
    results = complete(run, dataset, say)
    say("assigning")
    table = run.path / "assign.csv"
    found = assigning.assign(run, Rows.of(dataset), table)
    page = write_report([run.path], None, data_dir, say)
    if as_json:
        paths = {"run": run.path, "assign": table, "report": page, "figures": run.figures}
        places = {name: str(path) for name, path in paths.items()}
        show_json({**places, "evaluation": results.to_dict()})
    elif not quiet:
        show_evaluation(screen, results)
        show_tables(screen, sizes_table(found))
        say_plainly(screen, f"clusters of every row: {table}\nfigures: {run.figures}")
        say_plainly(screen, f"look first at: {page}")


def _choices_table(choices: Sequence[Choice]) -> Table:
    from pyro_mfcvae.tables import make_table

    rows = [(one.setting, str(one.value), one.reason) for one in choices]
    return make_table("settings from the data", ("setting", "value", "why"), rows, is_text=True)
