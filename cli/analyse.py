"""Looking at a run: tables, figures, guides side by side."""

from __future__ import annotations

from pathlib import Path

import click
from typing_extensions import override

from pyro_mfcvae.cli.options import DATA_DIR, RUN, own_files, sayer
from pyro_mfcvae.errors import ConfigError


@click.command()
@RUN
@click.option(
    "--probe",
    "probed",
    is_flag=True,
    help="Classify every factor from every facet's latents, too; takes minutes.",
)
@click.option(
    "--bound",
    "n_importance_samples",
    metavar="S",
    type=click.IntRange(min=0),
    default=0,
    help="The importance-weighted bound with S samples, too.",
)
@click.option(
    "--diversity",
    "distances",
    type=click.Choice(["pixels", "lpips"]),
    multiple=True,
    help="Mean distance of random pairs of observations and of samples, too; can be repeated.",
)
@click.option("--all", "everything", is_flag=True, help="Print every measure, for both parts.")
@own_files
@DATA_DIR
def evaluate(
    run: Path,
    probed: bool,
    n_importance_samples: int,
    distances: tuple[str, ...],
    everything: bool,
    data_dir: Path | None,
) -> None:
    """Evaluate the model of RUN and print tables.

    Its training and its held-out data are measured, and written to evaluation.json.

    \b
    Examples:
      mfcvae evaluate runs/shapes-001
      mfcvae evaluate runs/shapes-001 --probe --bound 64
      mfcvae evaluate runs/shapes-001 --all
    """
    from pyro_mfcvae.cli.show import console, show_evaluation, show_everything
    from pyro_mfcvae.runs.measure import evaluate_run
    from pyro_mfcvae.runs.run import Run

    opened = Run(run)
    screen = console()
    results = evaluate_run(
        opened, opened.dataset(data_dir), probed, n_importance_samples, sayer(screen), distances
    )
    show_evaluation(screen, results)
    if everything:
        show_everything(screen, results)


class _Figures(click.Command):
    """A command whose help lists the figures that there are."""

    @override
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        from pyro_mfcvae.figures import all_figures

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


@click.command()
@RUN
@click.option("--guides", metavar="NAME,FILE.py:Name", help="Which ones [all that fit].")
@click.option(
    "--samples",
    metavar="S,S",
    default="1,2,8,32",
    show_default=True,
    help="Samples of z per observation.",
)
@click.option(
    "--n-draws",
    type=click.IntRange(min=2),
    default=20,
    show_default=True,
    help="Draws of the noise.",
)
@click.option(
    "--n-observations",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Held-out observations; of a model whose batches share a latent, one batch "
    "as in training instead.",
)
@own_files
@DATA_DIR
def compare(
    run: Path,
    guides: str | None,
    samples: str,
    n_draws: int,
    n_observations: int,
    data_dir: Path | None,
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

    from pyro_mfcvae.cli.show import console, show_comparison
    from pyro_mfcvae.plugins import guide_name
    from pyro_mfcvae.runs.draw import draw_comparison
    from pyro_mfcvae.runs.measure import compare_run
    from pyro_mfcvae.runs.run import Run

    names = None if guides is None else [guide_name(text.strip()) for text in guides.split(",")]
    counts = _counts(samples)
    opened, screen = Run(run), console()
    with Progress(console=screen, transient=True) as progress:
        task = progress.add_task("comparing", total=None)
        results = compare_run(
            opened,
            opened.dataset(data_dir),
            names,
            counts,
            n_observations,
            n_draws,
            lambda n_done, n_all: progress.update(task, completed=n_done, total=n_all),
        )
    show_comparison(screen, results)
    for path in draw_comparison(opened):
        screen.print(f"figure: {path}", highlight=False, soft_wrap=True, markup=False)


def _counts(text: str) -> list[int]:
    """Numbers from 1 on, separated by commas."""
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise ConfigError(f"--samples takes whole numbers from 1 on, such as 1,2,8; got {text!r}")
    return sorted({int(part) for part in parts})
