"""The experiments of the papers."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyro_mfcvae.cli.options import (
    COUNT,
    DATA_DIR,
    DEVICE,
    FOLDER,
    JOBS,
    NATURAL,
    option,
    paragraph,
    say_plainly,
    sayer,
    settings_of,
    split_commas,
)
from pyro_mfcvae.cli.studies import watch_study
from pyro_mfcvae.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.studies.papers import Experiment


@click.command()
@click.argument("names", metavar="[NAME]...", nargs=-1)
@option("--seeds n_seeds", "Seeds of every model [the experiment's own].", COUNT, "N")
@option("--first-seed", "Counted on from here.", NATURAL, "N", default=0)
@option("--quick", "Small models and data of our own, under 3 minutes.")
@option("--reduced", "The same settings in fewer epochs.")
@option("--only", "Only these of its models.", None, "LABEL,LABEL")
@option("--probe probed", "Of a preset: train classifiers on each facet's latents, too.")
@settings_of("a setting of all models")
@DATA_DIR
@DEVICE
@JOBS
@option("--out", "Folder of results and runs.", FOLDER, "DIR", default=Path("reproduced"))
def reproduce(
    names: tuple[str, ...],
    quick: bool,
    reduced: bool,
    only: str | None,
    probed: bool,
    n_jobs: int,
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
    from pyro_mfcvae.cli.show import console
    from pyro_mfcvae.studies.execution import InTurn, Processes
    from pyro_mfcvae.studies.papers import EXPERIMENTS, Interrupted, Plan, Request, get_experiment
    from pyro_mfcvae.training.callbacks import ProgressBar

    if not names:
        for experiment in sorted(EXPERIMENTS.values(), key=_kind_and_number):
            text = f"{experiment.title} ({experiment.source})"
            click.echo(paragraph(f"{experiment.name:<16}", text))
        return
    if quick and reduced:
        raise ConfigError("--quick and --reduced exclude each other; give one of them")
    request = Request(
        scale="quick" if quick else "reduced" if reduced else "full",
        only=split_commas(only),
        **given,
    )
    screen = console()
    say = sayer(screen)
    say("checking settings and data")
    in_turn = n_jobs == 1
    execution = InTurn([ProgressBar(screen)], say) if in_turn else Processes(n_jobs)
    for plan in [Plan(get_experiment(name, probed), request) for name in names]:
        screen.rule(f"{plan.experiment.name}: {plan.experiment.title}")
        try:
            with watch_study(screen, plan.study, "run", lambda r: r.state, not in_turn) as watch:
                results, folder = plan.run(execution, watch)
        except Interrupted:
            screen.print("Interrupted; nothing is lost. The same command goes on.")
            sys.exit(130)
        _show(screen, results)
        say_plainly(screen, f"results: {folder}")


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
