"""Looking at a run: tables, figures, guides side by side, a page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
from typing_extensions import override

from pyro_mfcvae.cli import completion
from pyro_mfcvae.cli.options import (
    COUNT,
    DATA_DIR,
    NATURAL,
    PATH,
    RUN,
    Choice,
    Command,
    ListsMeasures,
    Numbers,
    argument,
    option,
    own_files,
    prints_tables,
    sayer,
    split_commas,
)


@click.command(cls=ListsMeasures)
@RUN
@option("--probe", "Classify every factor from every facet's latents, too; takes minutes.")
@option(
    "--bound importance_weighted_bound",
    "The importance-weighted bound with S samples of z, too, in nats per observation.",
    NATURAL,
    "S",
    default=0,
)
@option(
    "--diversity",
    "Mean distance of random pairs of observations and of samples, too; can be repeated.",
    Choice(["pixels", "lpips"]),
    multiple=True,
)
@option("--all everything", "Print every measure, for both parts.")
@own_files
@DATA_DIR
@prints_tables
def evaluate(
    run: Path, everything: bool, data_dir: Path | None, as_json: bool, quiet: bool, **slow: Any
) -> None:
    """Evaluate the model of RUN and print tables.

    Its training and its held-out data are measured, and written to evaluation.json.

    \b
    Examples:
      mfcvae evaluate runs/shapes-001
      mfcvae evaluate runs/shapes-001 --probe --bound 64
      mfcvae evaluate runs/shapes-001 --all
    """
    from pyro_mfcvae.cli.show import printer, show_evaluation, show_json
    from pyro_mfcvae.runs.measure import evaluate_run
    from pyro_mfcvae.runs.run import Run

    opened = Run(run)
    screen, say = printer(as_json, quiet)
    results = evaluate_run(opened, opened.dataset(data_dir), slow, say)
    if as_json:
        show_json(results.to_dict())
    elif not quiet:
        show_evaluation(screen, results, everything)


class _Figures(Command):
    """A command whose help lists the figures that there are."""

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from pyro_mfcvae.figures.registry import all_figures

        with formatter.section("Figures"):
            formatter.write_dl(
                [(f.name, f"{f.heading}: {f.shows}.") for f in all_figures() if f.per]
            )


@click.command(cls=_Figures)
@RUN
@own_files
@DATA_DIR
def figures(run: Path, data_dir: Path | None) -> None:
    """Draw the figures of RUN again.

    They go into its folder "figures".

    \b
    Example:
      mfcvae figures runs/shapes-001
    """
    from pyro_mfcvae.runs.draw import draw_run
    from pyro_mfcvae.runs.run import Run

    opened = Run(run)
    for path in draw_run(opened, opened.dataset(data_dir), click.echo):
        click.echo(path)


@click.command(cls=Command)
@RUN
@option("--guides", "Guides to compare [all that fit the model].", None, "NAME,FILE.py:Name")
@option(
    "--samples",
    "Numbers of samples of z per observation.",
    Numbers(least=1),
    "S,S",
    default="1,2,8,32",
)
@option(
    "--n-draws",
    "Draws of the noise, over which means and variances are taken.",
    click.IntRange(min=2),
    default=20,
)
@option(
    "--n-observations",
    "Held-out observations; of a model whose batches share a latent, one batch as in training "
    "instead.",
    COUNT,
    default=100,
)
@own_files
@DATA_DIR
@prints_tables
def compare(
    run: Path,
    guides: str | None,
    samples: tuple[int, ...],
    n_draws: int,
    n_observations: int,
    data_dir: Path | None,
    as_json: bool,
    quiet: bool,
) -> None:
    """Compare guides on the model of RUN, under the same noise.

    Prints the ELBO with its terms, gap to "enumerate" beside its prediction, variance of the
    gradient of q(z | x) and time for each number of samples; writes comparison.json and
    figures/guides.png. Guides that do not fit the model are listed with the reason; networks that
    were not trained are not made up.

    \b
    Examples:
      mfcvae compare runs/shapes-001
      mfcvae compare runs/shapes-001 --guides vade,enumerate --samples 1,4,16
      mfcvae compare runs/shapes-001 --guides vade,mine.py:Own
    """
    from rich.progress import Progress

    from pyro_mfcvae.cli.show import printer, show_comparison, show_json
    from pyro_mfcvae.plugins import guide_name
    from pyro_mfcvae.runs.draw import draw_comparison
    from pyro_mfcvae.runs.measure import compare_run
    from pyro_mfcvae.runs.run import Run

    names = guides and [guide_name(text) for text in split_commas(guides)]
    opened = Run(run)
    screen, say = printer(as_json, quiet)
    with Progress(console=screen, transient=True, disable=quiet) as progress:
        task = progress.add_task("comparing", total=None)
        results = compare_run(
            opened,
            opened.dataset(data_dir),
            names,
            sorted(set(samples)),
            n_observations,
            n_draws,
            lambda n_done, n_all: progress.update(task, completed=n_done, total=n_all),
        )
    if as_json:
        show_json(results.to_dict())
    elif not quiet:
        show_comparison(screen, results)
    for path in draw_comparison(opened):
        say(f"figure: {path}")


@click.command()
@argument(
    "runs",
    "Folder of a run, such as runs/shapes-001, or of several.",
    PATH,
    metavar="RUN...",
    nargs=-1,
    required=True,
    shell_complete=completion.complete_runs,
)
@option("--out", "The page [report.html in RUN, or here for several runs].", PATH, "FILE")
@option(
    "--interactive",
    "Maps to look around in instead, as mfcvae explore has them [interactive.html in RUN].",
)
@own_files
@DATA_DIR
def report(
    runs: tuple[Path, ...], out: Path | None, interactive: bool, data_dir: Path | None
) -> None:
    """Write one HTML page on RUN, or on several runs side by side.

    The page is a single file that opens in any browser and loads nothing. What has not been
    measured or drawn is done first. An earlier report is replaced; no other file is.

    \b
    Examples:
      mfcvae report runs/shapes-001
      mfcvae report runs/shapes-001 runs/shapes-002 --out both.html
      mfcvae report runs/shapes-001 --interactive
    """
    from pyro_mfcvae.cli.show import console

    say = sayer(console())
    if interactive:
        from pyro_mfcvae.explore import write_page

        if len(runs) > 1:
            raise click.UsageError("--interactive takes one run; give one after the other")
        click.echo(write_page(runs[0], out, data_dir, say))
    else:
        from pyro_mfcvae.report import write_report

        click.echo(write_report(runs, out, data_dir, say))
