"""From data to named clusters with one command, and which facets and clusters to ask for."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyro_mfcvae.cli.options import (
    CATEGORIES,
    COUNT,
    DATA,
    DATA_DIR,
    DEVICE,
    FOLDER,
    LABELS,
    NATURAL,
    OF_MODEL,
    OF_RESULTS,
    OF_SETTINGS,
    PATH,
    SKIP_BROKEN,
    TRACK,
    Command,
    data_from,
    option,
    prints_tables,
    same_command,
    say_plainly,
    settings_of,
    tracked_by,
)
from pyro_mfcvae.signals import status_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from pyro_mfcvae.data import Dataset
    from pyro_mfcvae.evaluation.ranking import Candidate
    from pyro_mfcvae.presets.auto import Auto, Choice
    from pyro_mfcvae.tables import Table

SETTINGS = settings_of("any setting that was chosen, such as training.learning_rate=1e-3")
SEED = option(
    "--seed",
    "Seed of the first weights, the order of observations and the noise; those of starts are drawn "
    "from it [0].",
    NATURAL,
    "N",
    group=OF_SETTINGS,
)


@click.command(cls=Command)
@DATA
@option(
    "--facets",
    "Clusters of each facet, or latent dimensions and clusters [from the number of rows]. The "
    "shallow facet stands first and the deep one last; they train together.",
    None,
    "K,K|D:K,D:K",
    group=OF_MODEL,
)
@option(
    "--starts n_starts",
    "Runs with seeds of their own, of which the held-out ELBO chooses one [4].",
    COUNT,
    "N",
    group=OF_SETTINGS,
)
@LABELS
@CATEGORIES
@SKIP_BROKEN
@DATA_DIR
@SETTINGS
@SEED
@option(
    "--out",
    "A new run folder, or that of an interrupted fit, which goes on [runs/NAME-001].",
    PATH,
    group=OF_RESULTS,
)
@TRACK
@DEVICE
@prints_tables
@click.pass_context
def fit(
    ctx: click.Context,
    facets: str | None,
    n_starts: int | None,
    out: Path | None,
    track: tuple[str, ...],
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Cluster DATA: choose settings, train, evaluate, draw, assign every row, and report.

    DATA is a file, a folder of pictures, or - for a table as CSV or TSV from the standard input,
    which is not kept. All results are in a new run folder: assign.csv has the clusters of every
    row, report.html the page to look at first. Several starts are trained, in its folder "runs".
    The run is that with the best held-out ELBO.

    \b
    Examples:
      mfcvae fit penguins.csv
      mfcvae fit penguins.csv --facets 6,4 --labels species,sex
      mfcvae fit penguins.csv --labels species --categories island,sex
      mfcvae fit photos --set data.options.size=32 --skip-broken
    """
    from pyro_mfcvae.cli.assign import sizes_table
    from pyro_mfcvae.cli.show import printer, show_evaluation, show_json, show_tables
    from pyro_mfcvae.data.rows import Rows
    from pyro_mfcvae.report import write_report
    from pyro_mfcvae.runs import assign as assigning
    from pyro_mfcvae.runs.complete import complete
    from pyro_mfcvae.runs.fit import fit_folder
    from pyro_mfcvae.studies.many_runs import AsOne
    from pyro_mfcvae.studies.select import Selection, candidate_of, promote
    from pyro_mfcvae.training.callbacks import ProgressBar

    screen, say = printer(as_json, quiet)
    given["assignments"] = (*tracked_by(track), *given["assignments"])
    dataset, settle = _prepare(say=say, n_starts=n_starts, **given)
    auto = settle(facets)
    if not (as_json or quiet):
        show_tables(screen, _choices_table(auto.choices))
    with fit_folder(auto.config, out) as folder, _going_on(ctx, screen, folder):
        selection = Selection({"start": auto.config}, auto.n_starts, folder, dataset)
        say(f"training in {folder}")
        selection.run(AsOne([] if quiet else [ProgressBar(screen)], say))
        starts = selection.starts(selection.arms[0])
        failed = [str(r.error) for r in selection.study.records.values() if r.error]
        found = candidate_of(starts)
        run = promote(starts[0].run, folder)
        results = complete(run, dataset, say)
        say("assigning")
        table = run.path / "assign.csv"
        assigned = assigning.assign(run, Rows.of(dataset), table)
        page = write_report([run.path], None, given["data_dir"], say)
    if as_json:
        paths = {"run": run.path, "assign": table, "report": page, "figures": run.figures}
        places = {name: str(path) for name, path in paths.items()}
        folders = [str(start.run.path) for start in starts]
        of_starts = dict(zip(folders, found.starts, strict=True))
        told = {"starts": of_starts, "stability": found.stability.tolist(), "failed": failed}
        show_json({**places, **told, "evaluation": results.to_dict()})
    elif not quiet:
        show_evaluation(screen, results)
        show_tables(screen, sizes_table(assigned))
        for line in _of_starts(found, selection.seeds.index(starts[0].seed)):
            say_plainly(screen, line)
        for error in failed:
            say_plainly(screen, f"a start failed: {error}")
        say_plainly(screen, f"clusters of every row: {table}\nfigures: {run.figures}")
        say_plainly(screen, f"look first at: {page}")


@click.command(cls=Command)
@DATA
@option(
    "--facets several",
    "Clusters of each facet of a candidate, as of fit; can be repeated [a grid].",
    None,
    "K,K|D:K,D:K",
    multiple=True,
    group=OF_MODEL,
)
@option("--starts n_starts", "Runs of each candidate [4].", COUNT, "N", group=OF_SETTINGS)
@LABELS
@CATEGORIES
@SKIP_BROKEN
@DATA_DIR
@SETTINGS
@SEED
@option("--out", "Folder of results and runs [selections/NAME].", FOLDER, "DIR", group=OF_RESULTS)
@DEVICE
@prints_tables
@click.pass_context
def select(
    ctx: click.Context,
    several: tuple[str, ...],
    n_starts: int | None,
    out: Path | None,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Say how many facets and clusters suit DATA, without labels.

    Every candidate is trained from several starts. The best held-out ELBO, and of what is within
    one standard error of it the simplest, comes first; what has a fault comes last, such as two
    facets that say the same. DIR gets candidates.csv, candidates.png, selection.json and
    selection.md; every start is a run in DIR/runs. Finished starts are not repeated, and
    interrupted ones go on.

    \b
    Examples:
      mfcvae select penguins.csv
      mfcvae select penguins.csv --facets 3 --facets 3,2 --facets 6,4 --starts 8
    """
    from pyro_mfcvae.cli.show import printer, show_json, show_tables
    from pyro_mfcvae.cli.studies import watch_study
    from pyro_mfcvae.evaluation.ranking import table_rows
    from pyro_mfcvae.presets.auto import grid_of_clusters
    from pyro_mfcvae.runs.run import run_name
    from pyro_mfcvae.studies.jobs import Watch
    from pyro_mfcvae.studies.select import Selection, mean_elbo, results_table

    screen, say = printer(as_json, quiet)
    dataset, settle = _prepare(say=say, n_starts=n_starts, **given)
    grid = [",".join(map(str, k)) for k in grid_of_clusters(len(dataset.train))]
    autos = {text: settle(text) for text in several or grid}
    say("checking settings and data")
    configs = {text: auto.config for text, auto in autos.items()}
    folder = out or Path("selections") / run_name(next(iter(configs.values())))
    n_starts = next(iter(autos.values())).n_starts
    selection = Selection(configs, n_starts, folder, dataset)
    with _going_on(ctx, screen, folder):
        if quiet:
            ranking = selection.run(watch=Watch())
        else:
            with watch_study(screen, selection.study, "start", mean_elbo) as watch:
                ranking = selection.run(watch=watch)
    chosen = [*autos][ranking.order[0]]
    without = ("several", "n_starts", "out", "as_json", "quiet")
    words = ("--facets", chosen, "--starts", n_starts)
    command = same_command(ctx, "fit", *words, without=without)
    selection.write(ranking, command)
    if as_json:
        told = {"recommendation": ranking.recommendation, "command": command}
        show_json({"out": str(folder), **told, "candidates": table_rows(ranking)})
    elif not quiet:
        show_tables(screen, results_table(ranking))
        say_plainly(
            screen, f"{ranking.recommendation}\nresults: {folder}\nfit it with\n    {command}"
        )


def _prepare(
    data: str,
    labels: str | None,
    categories: str | None,
    skip_broken: bool | None,
    data_dir: Path | None,
    assignments: tuple[str, ...],
    seed: int | None,
    device: str | None,
    n_starts: int | None,
    say: Callable[[str], None],
) -> tuple[Dataset, Callable[[str | None], Auto]]:
    """The data, and what makes settings for them with facets as they are given."""
    from dataclasses import replace

    from pyro_mfcvae.config import override, parse_clusters
    from pyro_mfcvae.data import load_dataset
    from pyro_mfcvae.presets import default_preset, get_preset
    from pyro_mfcvae.runs.fit import settings_from_data

    source = data_from(data, labels, data_dir, skip_broken, categories)
    given = [*assignments]
    given += [f"seed={seed}"] if seed is not None else []
    given += [f"training.device={device}"] if device is not None else []
    of_data = [text for text in given if text.lstrip().startswith("data.")]
    start = replace(get_preset(default_preset(None)).config, data=source)
    source = override(start, of_data).data
    say("preparing the data")
    dataset = load_dataset(source)

    def settle(facets: str | None) -> Auto:
        k, d = (None, None) if facets is None else parse_clusters(facets)
        auto = settings_from_data(dataset, source, k, d, n_starts)
        return replace(auto, config=override(auto.config, given))

    return dataset, settle


@contextmanager
def _going_on(ctx: click.Context, screen: Console, folder: Path) -> Iterator[None]:
    """End the process if it was interrupted, and say how to go on."""
    try:
        yield
    except KeyboardInterrupt as error:
        command = same_command(ctx, str(ctx.info_name), "--out", folder, without=["out"])
        say_plainly(screen, f"Interrupted; nothing is lost. Go on with\n    {command}")
        sys.exit(status_of(error))


def _of_starts(found: Candidate, number: int) -> Iterator[str]:
    n, scores = len(found.starts), ", ".join(f"{elbo:.2f}" for elbo in found.starts[1:])
    if n > 1:
        yield (
            f"start {number + 1} has the best held-out ELBO, {found.starts[0]:.2f} nats a row; the "
            f"other {n - 1}: {scores}"
        )
        stable = ", ".join(f"{nmi:.2f}" for nmi in found.stability)
        yield f"how far the others find the same facets (NMI): {stable}"


def _choices_table(choices: Sequence[Choice]) -> Table:
    from pyro_mfcvae.tables import make_table

    rows = [(one.setting, str(one.value), one.reason) for one in choices]
    return make_table("settings from the data", ("setting", "value", "why"), rows, is_text=True)
