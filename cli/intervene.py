"""Changing one facet of a run's model and leaving the others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
from typing_extensions import override

from pyro_mfcvae.cli.numbers import Numbers, NumbersOrAll
from pyro_mfcvae.cli.options import DATA_DIR, RUN, own_files
from pyro_mfcvae.errors import DataError, RunError

if TYPE_CHECKING:
    from pyro_mfcvae.drawing.held_out import HeldOut
    from pyro_mfcvae.drawing.interventions import Intervention


class Interventions(click.Group):
    """A group whose commands take an error in their arguments for one of usage."""

    @override
    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except (DataError, RunError):
            raise
        except ValueError as error:
            if ctx.find_root().params.get("debug"):
                raise
            raise click.UsageError(str(error)) from error


@click.group(cls=Interventions)
def intervene() -> None:
    """Change one facet of RUN's model and leave the others.

    Each command draws a figure; observations are held-out ones, counted from 0.

    \b
    Examples:
      mfcvae intervene swap runs/shapes-001 --facet 1
      mfcvae intervene swap runs/shapes-001 --facet 1 --inputs 0,300 --donors 600,900 --pairs
      mfcvae intervene generate runs/shapes-001 --clusters all --temperature 0.3
      mfcvae intervene traverse runs/shapes-001 --facet 0 --dimension 2
      mfcvae intervene interpolate runs/shapes-001 --facet 0 --inputs 0,300 --ends 600,900
      mfcvae intervene means runs/shapes-001 --facet 0,1
    """


def _common(command: Callable[..., None]) -> Callable[..., None]:
    """The options of all commands."""
    for option in (
        DATA_DIR,
        own_files,
        click.option(
            "--arrays",
            metavar="FILE.npz",
            type=click.Path(path_type=Path),
            help="Write the arrays, too: pictures in the data's own range, indices.",
        ),
        click.option(
            "--out",
            metavar="FILE.png",
            type=click.Path(path_type=Path),
            help="The figure [RUN/figures/...].",
        ),
        RUN,
    ):
        command = option(command)
    return command


def _facet(text: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    return click.option(
        "--facet",
        "facets",
        metavar="J",
        type=Numbers(),
        multiple=True,
        callback=lambda _ctx, _param, values: [j for some in values for j in some],
        help=text,
    )


_INPUTS = click.option(
    "--inputs",
    metavar="I,I",
    type=Numbers(),
    help="Held-out observations, by number [evenly spread].",
)
_POSITIVE = click.IntRange(min=1)


@intervene.command()
@_facet("The facet that is swapped [the deepest].")
@_INPUTS
@click.option(
    "--donors",
    metavar="I,I",
    type=Numbers(),
    help="Observations that give the facet [the surest ones of clusters].",
)
@click.option(
    "--clusters",
    metavar="K,K",
    type=Numbers(),
    help="Clusters whose surest members are the donors [the ten surest].",
)
@click.option(
    "--pairs", is_flag=True, help="Exchange the facet between inputs and donors, pair by pair."
)
@click.option("--n", type=_POSITIVE, default=8, show_default=True, help="Inputs at most.")
@_common
def swap(
    run: Path,
    facets: list[int],
    inputs: tuple[int, ...] | None,
    donors: tuple[int, ...] | None,
    clusters: tuple[int, ...] | None,
    pairs: bool,
    n: int,
    **files: Path | None,
) -> None:
    """Observations with one facet taken from other observations.

    \b
    Examples:
      mfcvae intervene swap runs/shapes-001 --facet 1 --clusters 3,5
      mfcvae intervene swap runs/shapes-001 --facet 1 --pairs --n 12
    """
    if pairs and clusters is not None:
        raise click.UsageError("--pairs takes its partners from --donors, not from --clusters")

    def compute(seen: HeldOut) -> Intervention:
        from pyro_mfcvae.drawing import interventions

        facet = _one_facet(facets, seen)
        if pairs:
            return interventions.swap_pairs(seen, facet, inputs, donors, n)
        return interventions.swap(seen, facet, inputs, donors, clusters, n)

    _write(run, "swapped-pairs" if pairs else "swapped", facets, compute, **files)


@intervene.command()
@_facet("Facets beside each other, such as 0,1 [all that have clusters].")
@click.option(
    "--clusters",
    metavar="K,K|all",
    type=NumbersOrAll(),
    help="Clusters of the facet, or all that are in use [the ten surest].",
)
@click.option("--n", type=_POSITIVE, default=10, show_default=True, help="Samples of each.")
@click.option(
    "--temperature",
    metavar="TAU",
    type=click.FloatRange(min=0),
    help="Covariances are multiplied with it [that of the run].",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@_common
def generate(
    run: Path,
    facets: list[int],
    clusters: tuple[int, ...] | str | None,
    n: int,
    temperature: float | None,
    seed: int,
    **files: Path | None,
) -> None:
    """Samples of clusters, with the other facets from their priors.

    \b
    Examples:
      mfcvae intervene generate runs/shapes-001 --clusters all
      mfcvae intervene generate runs/shapes-001 --facet 0 --clusters 3,5 --temperature 0.3
    """

    def compute(seen: HeldOut) -> Intervention:
        from pyro_mfcvae.drawing import from_clusters

        every = clusters == "all"
        return from_clusters.generate(
            seen,
            facets or None,
            None if every else clusters,
            None if every else 10,
            n,
            temperature,
            seed,
        )

    _write(run, "generated", facets, compute, **files)


@intervene.command()
@_facet("The facet [the deepest].")
@click.option(
    "--dimension",
    metavar="D",
    type=int,
    help="Of the facet's latents [those that change most, for one input].",
)
@_INPUTS
@click.option(
    "--offsets",
    metavar="S,S",
    type=Numbers(float),
    default="-3,-2,-1,0,1,2,3",
    show_default=True,
    help="Steps, in standard deviations of the prior.",
)
@click.option("--n", type=_POSITIVE, help="Inputs [8] or dimensions [10] at most.")
@_common
def traverse(
    run: Path,
    facets: list[int],
    dimension: int | None,
    inputs: tuple[int, ...] | None,
    offsets: tuple[float, ...],
    n: int | None,
    **files: Path | None,
) -> None:
    """Observations with one latent dimension moved.

    \b
    Examples:
      mfcvae intervene traverse runs/shapes-001 --facet 0 --inputs 5
      mfcvae intervene traverse runs/shapes-001 --facet 0 --dimension 2 --inputs 0,300,600
    """

    def compute(seen: HeldOut) -> Intervention:
        from pyro_mfcvae.drawing import interventions

        facet = _one_facet(facets, seen)
        return interventions.traverse(seen, facet, dimension, inputs, offsets, n)

    _write(run, "traversed", facets, compute, **files)


@intervene.command()
@_facet("Facets that move, such as 0,1 [all].")
@_INPUTS
@click.option("--ends", metavar="I,I", type=Numbers(), help="Where the lines end, one per input.")
@click.option(
    "--steps",
    type=click.IntRange(min=2),
    default=8,
    show_default=True,
    help="Pictures on each line.",
)
@click.option("--n", type=_POSITIVE, default=6, show_default=True, help="Lines at most.")
@_common
def interpolate(
    run: Path,
    facets: list[int],
    inputs: tuple[int, ...] | None,
    ends: tuple[int, ...] | None,
    steps: int,
    n: int,
    **files: Path | None,
) -> None:
    """Straight lines between the latents of pairs of observations.

    \b
    Example:
      mfcvae intervene interpolate runs/shapes-001 --facet 0 --inputs 0,300 --ends 600,900
    """

    def compute(seen: HeldOut) -> Intervention:
        from pyro_mfcvae.drawing import interventions

        return interventions.interpolate(seen, facets or None, inputs, ends, n, steps)

    _write(run, "interpolated", facets, compute, **files)


@intervene.command()
@_facet("One facet or a pair of them, such as 0,1 [the deepest that has clusters].")
@click.option(
    "--clusters",
    metavar="K,K",
    type=NumbersOrAll(),
    multiple=True,
    help="Clusters, once for each facet, or all in use [the most used].",
)
@click.option("--n", type=_POSITIVE, help="Clusters at most [all; 12 of each of a pair].")
@_common
def means(
    run: Path,
    facets: list[int],
    clusters: tuple[tuple[int, ...] | str, ...],
    n: int | None,
    **files: Path | None,
) -> None:
    """Pictures at the means of clusters of one facet, or of pairs of clusters of two.

    \b
    Examples:
      mfcvae intervene means runs/shapes-001 --facet 0
      mfcvae intervene means runs/shapes-001 --facet 0,1 --clusters 3,5 --clusters 0,1,2
    """

    def compute(seen: HeldOut) -> Intervention:
        from pyro_mfcvae.drawing import from_clusters

        chosen = facets or [max(seen.clustered, default=seen.model.n_facets - 1)]
        named = [
            seen.most_used(j) if given == "all" else given
            for j, given in zip(chosen, clusters, strict=False)
        ]
        return from_clusters.means(seen, chosen, [*named, *clusters[len(named) :]], n)

    _write(run, "means", facets, compute, **files)


def _one_facet(facets: list[int], seen: HeldOut) -> int:
    chosen = facets or [seen.model.n_facets - 1]
    if len(chosen) != 1:
        raise click.UsageError(f"expected one --facet, got {', '.join(map(str, chosen))}")
    return chosen[0]


def _write(
    run: Path,
    name: str,
    facets: list[int],
    compute: Callable[[HeldOut], Intervention],
    data_dir: Path | None,
    out: Path | None,
    arrays: Path | None,
) -> None:
    """Compute, then write the figure and the arrays, after a look at where they go."""
    from pyro_mfcvae.drawing.held_out import look
    from pyro_mfcvae.drawing.saving import check_target, save_arrays, save_figure
    from pyro_mfcvae.runs.run import Run

    opened = Run(run)
    for target, suffix in ((out, ".png"), (arrays, ".npz")):
        if target is not None:
            check_target(target, suffix)
    done = compute(look(opened, opened.dataset(data_dir)))
    if out is None:
        numbers = "-".join(map(str, facets))
        out = opened.figures / f"{name}{'-facet-' if facets else ''}{numbers}.png"
    try:
        opened.figures.mkdir(exist_ok=True)
        if arrays is not None:
            save_arrays(arrays, done.arrays)
            click.echo(arrays)
        save_figure(out, done.figure)
    except OSError as error:
        raise click.UsageError(f"{error.filename or out} cannot be written: {error}") from None
    click.echo(out)
