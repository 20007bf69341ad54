"""Changing one facet of a run's model and leaving the others."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from typing_extensions import override

from pyro_mfcvae.cli.options import (
    COUNT,
    DATA_DIR,
    NATURAL,
    PATH,
    RUN,
    Numbers,
    NumbersOrAll,
    option,
    own_files,
)
from pyro_mfcvae.errors import ConfigError, DataError, RunError

if TYPE_CHECKING:
    from pyro_mfcvae.figures import Seen


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


def _file(name: str, suffix: str, text: str) -> Any:
    check = {"callback": lambda _ctx, _param, path: _check(path, suffix)}
    return option(name, text, PATH, f"FILE{suffix}", **check)


def _facet(text: str) -> Any:
    def flatten(_ctx: Any, _param: Any, values: tuple[tuple[int, ...], ...]) -> list[int]:
        return [j for some in values for j in some]

    return option("--facet facets", text, Numbers(), "J", multiple=True, callback=flatten)


def _command(*options: Any) -> Callable[[Callable[..., None]], click.Command]:
    """Decorator: a command with these options, and those that all commands have after them."""

    def decorate(function: Callable[..., None]) -> click.Command:
        for decorator in reversed((*options, RUN, _OUT, _ARRAYS, own_files, DATA_DIR)):
            function = decorator(function)
        return intervene.command()(function)

    return decorate


def _check(path: Path | None, suffix: str) -> Path | None:
    """Raise a ConfigError if no file with this suffix can be written there."""
    if path is None:
        return None
    if path.suffix != suffix:
        raise ConfigError(f"{path}: expected a name that ends in {suffix}, got {path.name!r}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: the folder {path.parent} is read-only")
    return path


_OUT = _file("--out", ".png", "The figure [RUN/figures/...].")
_ARRAYS = _file(
    "--arrays",
    ".npz",
    "Write the arrays, too: pictures in the data's own range, and indices [they are not].",
)
_I = (Numbers(), "I,I")
_INPUTS = option("--inputs", "Held-out observations, by number [evenly spread].", *_I)


@_command(
    _facet("The facet that is swapped [the deepest]."),
    _INPUTS,
    option("--donors", "Observations that give the facet [the surest ones of clusters].", *_I),
    option(
        "--clusters",
        "Clusters whose surest members are the donors [the ten surest].",
        Numbers(),
        "K,K",
    ),
    option("--pairs", "Exchange the facet between inputs and donors, pair by pair."),
    option("--n", "Inputs at most.", COUNT, default=8),
)
def swap(facets: list[int], pairs: bool, clusters: tuple[int, ...] | None, **given: Any) -> None:
    """Observations with one facet taken from other observations.

    \b
    Examples:
      mfcvae intervene swap runs/shapes-001 --facet 1 --clusters 3,5
      mfcvae intervene swap runs/shapes-001 --facet 1 --pairs --n 12
    """
    if pairs and clusters is not None:
        raise click.UsageError("--pairs takes its partners from --donors, not from --clusters")
    _check_one(facets)
    if pairs:
        _draw("swapped-pairs", "swapped-pairs", facets or _deepest, **given)
    else:
        _draw("swaps", "swapped", facets or _deepest, clusters=clusters, **given)


@_command(
    _facet("Facets beside each other, such as 0,1 [all that have clusters]."),
    option(
        "--clusters",
        "Clusters of the facet, or all that are in use [the ten surest].",
        NumbersOrAll(),
        "K,K|all",
    ),
    option("--n", "Samples of each.", COUNT, default=10),
    option(
        "--temperature",
        "Covariances of the priors are multiplied with it; below 1 samples are more typical "
        "[that of the run].",
        click.FloatRange(min=0),
        "TAU",
    ),
    option("--seed", "Seed of the samples.", NATURAL, default=0),
)
def generate(
    facets: list[int], clusters: tuple[int, ...] | str | None, n: int, **given: Any
) -> None:
    """Samples of clusters, with the other facets from their priors.

    \b
    Examples:
      mfcvae intervene generate runs/shapes-001 --clusters all
      mfcvae intervene generate runs/shapes-001 --facet 0 --clusters 3,5 --temperature 0.3
    """
    which: dict[str, Any] = {"clusters": clusters, "n_clusters": 10}
    if clusters == "all":
        which = {"clusters": None, "n_clusters": None}
    _draw("samples", "generated", facets, n_samples=n, **which, **given)


@_command(
    _facet("The facet [the deepest]."),
    option(
        "--dimension", "Of the facet's latents [those that change most, for one input].", int, "D"
    ),
    _INPUTS,
    option(
        "--offsets",
        "Steps, in standard deviations of the prior.",
        Numbers(float),
        "S,S",
        default="-3,-2,-1,0,1,2,3",
    ),
    option("--n", "Inputs [8] or dimensions [10] at most.", COUNT),
)
def traverse(facets: list[int], **given: Any) -> None:
    """Observations with one latent dimension moved.

    \b
    Examples:
      mfcvae intervene traverse runs/shapes-001 --facet 0 --inputs 5
      mfcvae intervene traverse runs/shapes-001 --facet 0 --dimension 2 --inputs 0,300,600
    """
    _check_one(facets)
    _draw("traversal", "traversed", facets or _deepest, **given)


@_command(
    _facet("Facets that move, such as 0,1 [all]."),
    _INPUTS,
    option(
        "--ends",
        "Observations where the lines end, one for each input [half of all further on].",
        *_I,
    ),
    option("--steps", "Pictures on each line.", click.IntRange(min=2), default=8),
    option("--n", "Lines at most.", COUNT, default=6),
)
def interpolate(facets: list[int], steps: int, **given: Any) -> None:
    """Straight lines between the latents of pairs of observations.

    \b
    Example:
      mfcvae intervene interpolate runs/shapes-001 --facet 0 --inputs 0,300 --ends 600,900
    """
    _draw("interpolation", "interpolated", facets, n_steps=steps, **given)


@_command(
    _facet("One facet or a pair of them, such as 0,1 [the deepest that has clusters]."),
    option(
        "--clusters",
        "Clusters, once for each facet, or all in use [the most used].",
        NumbersOrAll(),
        "K,K",
        multiple=True,
    ),
    option("--n", "Clusters at most [all; 12 of each of a pair].", COUNT),
)
def means(facets: list[int], **given: Any) -> None:
    """Pictures at the means of clusters of one facet, or of pairs of clusters of two.

    \b
    Examples:
      mfcvae intervene means runs/shapes-001 --facet 0
      mfcvae intervene means runs/shapes-001 --facet 0,1 --clusters 3,5 --clusters 0,1,2
    """
    _draw("means", "means", facets or _deepest_clustered, **given)


def _check_one(facets: list[int]) -> None:
    if len(facets) > 1:
        raise click.UsageError(f"expected one --facet, got {', '.join(map(str, facets))}")


def _deepest(seen: Seen) -> list[int]:
    return [seen.model.n_facets - 1]


def _deepest_clustered(seen: Seen) -> list[int]:
    return [max(seen.clustered, default=seen.model.n_facets - 1)]


def _draw(
    name: str,
    file: str,
    facets: Sequence[int] | Callable[[Seen], list[int]],
    run: Path,
    data_dir: Path | None,
    out: Path | None,
    arrays: Path | None,
    **options: Any,
) -> None:
    """Compute a figure, then write it and its arrays.

    Args:
        name: of the figure.
        file: that it goes into, without facets and ending, unless ``out`` is given.
        facets: that it is of; a function where none were given.
        run: its folder.
        data_dir: folder of the data's files.
        out: file of the figure.
        arrays: file of the arrays.
        **options: of the figure.
    """
    from pyro_mfcvae.figures import get_figure, save_arrays, save_figure
    from pyro_mfcvae.runs.draw import look
    from pyro_mfcvae.runs.run import Run

    opened = Run(run)
    seen, figure = look(opened, opened.dataset(data_dir)), get_figure(name)
    result = figure.compute(seen, *(facets(seen) if callable(facets) else facets), **options)
    if out is None:
        numbers = "" if callable(facets) else "-".join(map(str, facets))
        out = opened.figures / f"{file}{'-facet-' * bool(numbers)}{numbers}.png"
    try:
        opened.figures.mkdir(exist_ok=True)
        if arrays is not None:
            save_arrays(arrays, result.arrays)
            click.echo(arrays)
        save_figure(out, figure.draw(result))
    except OSError as error:
        raise click.UsageError(f"{error.filename or out} cannot be written: {error}") from None
    click.echo(out)
