"""Many settings and seeds."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from pyro_mfcvae.cli.options import DATA_DIR, GUIDE, MODEL, ListsMeasures, sayer
from pyro_mfcvae.errors import ConfigError

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.studies.sweep import SweepEngine


@click.command(cls=ListsMeasures)
@click.argument("spec", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of results and runs [sweeps/NAME OF SPEC].",
)
@click.option(
    "--jobs",
    "n_jobs",
    metavar="N",
    type=click.IntRange(min=1),
    default=1,
    show_default=True,
    help="Trials at a time, which share the CPU threads.",
)
@click.option(
    "--engine",
    "engine_name",
    type=click.Choice(["local", "ray"]),
    default="local",
    show_default=True,
    help="What trains the trials.",
)
@click.option(
    "--cpus-per-trial",
    metavar="N",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="With Ray.",
)
@click.option(
    "--gpus-per-trial",
    metavar="N",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="With Ray; 0.5 shares one, 0 hides all.",
)
@MODEL
@GUIDE
@click.option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, ...")
@DATA_DIR
@click.option("--dry-run", is_flag=True, help="Check everything, list the trials, train nothing.")
@click.option("--example", is_flag=True, help="Print an example of SPEC.")
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
    **engine: Any,
) -> None:
    """Train many settings with several seeds, and compare them.

    SPEC is a YAML or JSON file; without it an example is printed. Its objective is one of the
    measures below. DIR gets sweep.json (every
    trial), table.md (mean and standard deviation over seeds, the best setting first) and
    trials.png, after every trial; each trial is a run in DIR/runs. Finished trials are not
    repeated, interrupted ones go on, and one that fails does not end the others.

    \b
    Examples:
      mfcvae sweep --example > sweep.yaml
      mfcvae sweep sweep.yaml --dry-run
      mfcvae sweep sweep.yaml --jobs 2
      mfcvae sweep sweep.yaml --engine ray --cpus-per-trial 4 --gpus-per-trial 0.5
    """
    from pyro_mfcvae.cli.show import console
    from pyro_mfcvae.cli.trials import show_sweep, show_trials, watch_trials
    from pyro_mfcvae.studies.sweep import EXAMPLE, Interrupted, Sweep, read_spec

    if spec is None or example:
        click.echo(EXAMPLE, nl=False)
        return
    screen = console()
    out = out or Path("sweeps") / spec.stem
    chosen = _engine(out, **engine)
    sayer(screen)("checking settings and data")
    planned = Sweep(read_spec(spec), out, data_dir, device, model, guide)
    if dry_run:
        show_trials(screen, planned)
        return
    try:
        with watch_trials(screen, planned) as watch:
            results = planned.run(chosen, watch)
    except Interrupted:
        _say_how_to_go_on(screen, ctx)
        sys.exit(130)
    show_sweep(screen, results)
    screen.print(f"results: {out}", highlight=False, soft_wrap=True, markup=False)


def _engine(
    out: Path, engine_name: str, n_jobs: int, cpus_per_trial: float, gpus_per_trial: float
) -> SweepEngine:
    from pyro_mfcvae.studies.sweep import InTurn, OnRay, Processes

    if engine_name == "ray":
        if n_jobs > 1:
            raise ConfigError(
                "--jobs is for the local engine; with Ray, --cpus-per-trial and --gpus-per-trial "
                "say how many trials there is room for"
            )
        return OnRay(out / "ray", cpus_per_trial, gpus_per_trial)
    if (cpus_per_trial, gpus_per_trial) != (1, 0):
        raise ConfigError(
            "--cpus-per-trial and --gpus-per-trial are for --engine ray; locally, give --jobs, or "
            "training.n_threads in SPEC"
        )
    return InTurn() if n_jobs == 1 else Processes(n_jobs)


def _say_how_to_go_on(screen: Console, ctx: click.Context) -> None:
    words = ["mfcvae", "sweep"]
    for option in ctx.command.params:
        if ctx.get_parameter_source(option.name) is not ParameterSource.COMMANDLINE:
            continue
        value = str(ctx.params[option.name])
        words += [value] if isinstance(option, click.Argument) else [option.opts[0], value]
    screen.print(
        f"Interrupted; nothing is lost. Go on with\n    {shlex.join(words)}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
