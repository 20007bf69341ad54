"""Many settings and seeds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyro_mfcvae.cli.options import (
    DATA_DIR,
    DEVICE,
    FOLDER,
    GUIDE,
    JOBS,
    MODEL,
    OF_MACHINE,
    OF_RESULTS,
    PATH,
    Choice,
    ListsMeasures,
    argument,
    option,
    prints_tables,
    same_command,
    say_plainly,
)
from pyro_mfcvae.cli.studies import watch_study
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.signals import status_of

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.studies.jobs import Execution, Record
    from pyro_mfcvae.studies.sweep import Sweep

_TRIAL = ("run", "settings", "seed", "state")


@click.command(cls=ListsMeasures)
@argument("spec", "A YAML or JSON file [an example is printed].", PATH, required=False)
@option(
    "--out", "Folder of results and runs [sweeps/NAME OF SPEC].", FOLDER, "DIR", group=OF_RESULTS
)
@JOBS
@option(
    "--engine engine_name",
    "What trains the trials: this machine, as one program where shapes are equal, or Ray.",
    Choice(["local", "together", "ray"]),
    default="local",
    group=OF_MACHINE,
)
@option(
    "--cpus-per-trial",
    "CPU cores of a trial, with --engine ray.",
    click.FloatRange(min=0, min_open=True),
    "N",
    default=1.0,
    group=OF_MACHINE,
)
@option(
    "--gpus-per-trial",
    "GPUs of a trial, with --engine ray; 0.5 shares one, 0 hides all.",
    click.FloatRange(min=0),
    "N",
    default=0.0,
    group=OF_MACHINE,
)
@MODEL
@GUIDE
@DEVICE
@DATA_DIR
@option("--dry-run", "Check everything, list the trials, train nothing.")
@option("--example", "Print an example of SPEC.")
@prints_tables
@click.pass_context
def sweep(
    ctx: click.Context,
    spec: Path | None,
    out: Path | None,
    model: str | None,
    guide: str | None,
    device: str | None,
    data_dir: Path | None,
    dry_run: bool,
    example: bool,
    as_json: bool,
    quiet: bool,
    **engine: Any,
) -> None:
    """Train many settings with several seeds, and compare them.

    SPEC is a YAML or JSON file; without it an example is printed. Its objective is one of the
    measures below. DIR gets sweep.json (every trial), table.md (mean and standard deviation over
    seeds, the best setting first) and trials.png, after every trial; each trial is a run in
    DIR/runs. Finished trials are not repeated, interrupted ones go on, and one that fails does not
    end the others.

    \b
    Examples:
      mfcvae sweep --example > sweep.yaml
      mfcvae sweep sweep.yaml --dry-run
      mfcvae sweep sweep.yaml --jobs 2
      mfcvae sweep sweep.yaml --engine ray --cpus-per-trial 4 --gpus-per-trial 0.5
    """
    from pyro_mfcvae.cli.show import printer, show_json
    from pyro_mfcvae.signals import Interrupted
    from pyro_mfcvae.studies.sweep import EXAMPLE, Sweep, read_spec

    if spec is None or example:
        click.echo(EXAMPLE, nl=False)
        return
    screen, say = printer(as_json or quiet, quiet)
    out = out or Path("sweeps") / spec.stem
    chosen = _engine(out, **engine)
    say("checking settings and data")
    planned = Sweep(read_spec(spec), out, data_dir, device, model, guide)
    if dry_run:
        trials = _trials(planned)
        if as_json:
            show_json([dict(zip(_TRIAL, trial, strict=True)) for trial in trials])
        elif not quiet:
            _show_trials(screen, planned, trials)
        return

    def format_result(record: Record) -> str:
        if record.outcome is None:
            return record.state
        entry = planned.spec.objective.entry(record.job.arm.label)
        value = entry.value(record.outcome.evaluation)
        if value is None:
            return record.state
        return f"{100 * value:.2f} %" if entry.percent else f"{value:.3f}"

    try:
        with watch_study(screen, planned.study, "trial", format_result) as watch:
            results = planned.run(chosen, watch)
    except Interrupted as error:
        command = same_command(ctx, "sweep")
        say_plainly(screen, f"Interrupted; nothing is lost. Go on with\n    {command}")
        sys.exit(status_of(error))
    if as_json:
        show_json(results)
    elif not quiet:
        _show(screen, results)
        say_plainly(screen, f"results: {out}")


def _engine(
    out: Path, engine_name: str, n_jobs: int, cpus_per_trial: float, gpus_per_trial: float
) -> Execution:
    from pyro_mfcvae.studies.execution import InTurn, Processes
    from pyro_mfcvae.studies.many_runs import AsOne
    from pyro_mfcvae.studies.on_ray import OnRay

    if n_jobs > 1 and engine_name != "local":
        raise ConfigError(
            "--jobs is for --engine local; with Ray, --cpus-per-trial and --gpus-per-trial say how "
            "many trials there is room for"
        )
    if engine_name == "ray":
        return OnRay(out / "ray", cpus_per_trial, gpus_per_trial)
    if (cpus_per_trial, gpus_per_trial) != (1, 0):
        raise ConfigError(
            "--cpus-per-trial and --gpus-per-trial are for --engine ray; locally, give --jobs, or "
            "training.n_threads in SPEC"
        )
    if engine_name == "together":
        return AsOne()
    return InTurn() if n_jobs == 1 else Processes(n_jobs)


def _trials(sweep: Sweep) -> list[list[str]]:
    return [
        [job.name, job.arm.label, str(job.seed), sweep.study.records[job.name].state]
        for job in sweep.study.jobs
    ]


def _show_trials(screen: Console, sweep: Sweep, trials: list[list[str]]) -> None:
    """List all trials."""
    from pyro_mfcvae.tables import make_table, show_table

    show_table(screen, make_table("", _TRIAL, trials, is_text=True))
    n_missing = len(sweep.study.missing)
    say_plainly(screen, f"{len(sweep.study.jobs)} trials, {n_missing} to train")


def _show(screen: Console, results: dict[str, Any]) -> None:
    """Print the table, and what went wrong."""
    from pyro_mfcvae.studies.sweep.results import notes, results_table
    from pyro_mfcvae.tables import show_table

    show_table(screen, results_table(results))
    for note in notes(results):
        screen.print(note, style="dim", highlight=False, markup=False)
