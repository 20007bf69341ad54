"""The experiments of the papers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyro_mfcvae.cli import completion
from pyro_mfcvae.cli.options import (
    COUNT,
    DATA_DIR,
    DEVICE,
    FOLDER,
    JOBS,
    NATURAL,
    OF_MODEL,
    OF_RESULTS,
    OF_RUNS,
    OF_SETTINGS,
    Command,
    argument,
    option,
    paragraph,
    prints_tables,
    say_plainly,
    settings_of,
    split_commas,
)
from pyro_mfcvae.cli.studies import watch_study
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.signals import status_of

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.studies.papers import Experiment


@click.command(cls=Command)
@argument(
    "names",
    "Experiments or presets [they are listed].",
    metavar="[NAME]...",
    nargs=-1,
    shell_complete=completion.EXPERIMENTS,
)
@option(
    "--seeds n_seeds", "Seeds of every model [the experiment's own].", COUNT, "N", group=OF_RUNS
)
@option(
    "--first-seed",
    "The first seed, from which the others count on.",
    NATURAL,
    "N",
    default=0,
    group=OF_RUNS,
)
@option("--quick", "Small models and data of our own, under 3 minutes.", group=OF_SETTINGS)
@option("--reduced", "The same settings in fewer epochs.", group=OF_SETTINGS)
@option("--only", "Only these of its models [all].", None, "LABEL,LABEL", group=OF_MODEL)
@option("--probe probed", "Of a preset: train classifiers on each facet's latents, too.")
@settings_of("a setting of all models")
@DATA_DIR
@DEVICE
@JOBS
@option(
    "--out",
    "Folder of results and runs.",
    FOLDER,
    "DIR",
    default=Path("reproduced"),
    group=OF_RESULTS,
)
@prints_tables
def reproduce(
    names: tuple[str, ...],
    quick: bool,
    reduced: bool,
    only: str | None,
    probed: bool,
    n_jobs: int,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> None:
    """Run experiments of the papers, or presets with several seeds.

    Without NAME the experiments are listed.

    Each leaves DIR/NAME with results.json (every seed, mean and standard deviation), table.md
    (beside the published numbers) and its figures. Runs are kept in DIR/runs and serve every
    experiment that has the same settings; finished ones are not repeated, interrupted ones go on.

    \b
    Examples:
      mfcvae reproduce
      mfcvae reproduce table-1 figure-4 --quick
      mfcvae reproduce shapes --seeds 5
      mfcvae reproduce table-2 --reduced --seeds 3 --only mnist,vade-mnist --data-dir ~/data
    """
    from pyro_mfcvae.cli.show import printer, show_json, show_list
    from pyro_mfcvae.signals import Interrupted
    from pyro_mfcvae.studies.execution import InTurn, Processes
    from pyro_mfcvae.studies.papers import EXPERIMENTS, Plan, Request, get_experiment
    from pyro_mfcvae.training.callbacks import ProgressBar

    if not names:
        known = sorted(EXPERIMENTS.values(), key=_kind_and_number)
        listed = {each.name: f"{each.title} ({each.source})" for each in known}
        if as_json or quiet:
            show_list(listed, as_json)
        for name in () if as_json or quiet else listed:
            click.echo(paragraph(f"{name:<16}", listed[name]))
        return
    if quick and reduced:
        raise ConfigError("--quick and --reduced exclude each other; give one of them")
    request = Request(
        scale="quick" if quick else "reduced" if reduced else "full",
        only=split_commas(only),
        **given,
    )
    screen, say = printer(as_json or quiet, quiet)
    found = {}
    say("checking settings and data")
    in_turn = n_jobs == 1
    bars = [] if quiet else [ProgressBar(screen)]
    execution = InTurn(bars, say) if in_turn else Processes(n_jobs)
    for plan in [Plan(get_experiment(name, probed), request) for name in names]:
        screen.rule(f"{plan.experiment.name}: {plan.experiment.title}")
        try:
            with watch_study(screen, plan.study, "run", lambda r: r.state, not in_turn) as watch:
                results, folder = plan.run(execution, watch)
        except Interrupted as error:
            screen.print("Interrupted; nothing is lost. The same command goes on.")
            sys.exit(status_of(error))
        found[plan.experiment.name] = results
        if not (as_json or quiet):
            _show(screen, results)
            say_plainly(screen, f"results: {folder}")
    if as_json:
        show_json(found)


def _kind_and_number(experiment: Experiment) -> tuple[int, int]:
    """Tables, then figures, each by number, then the rest."""
    kind, _, number = experiment.name.partition("-")
    place = {"table": 0, "figure": 1}.get(kind, 2)
    return place, int(number) if number.isdecimal() else 99


def _show(screen: Console, results: dict[str, Any]) -> None:
    from pyro_mfcvae.studies.results import results_table
    from pyro_mfcvae.tables import show_table

    for note in results["notes"]:
        screen.print(note, style="dim", highlight=False)
    if results["table"]:
        show_table(screen, results_table(results, brief=True))
