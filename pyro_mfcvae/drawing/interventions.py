"""One facet changed and the others left, on a run's held-out observations: arrays and figures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.drawing.from_clusters import means
from pyro_mfcvae.drawing.held_out import HeldOut, Indices
from pyro_mfcvae.drawing.intervention import Choice, Intervention, in_words, part_of
from pyro_mfcvae.evaluation.predictions import check_facet

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OFFSETS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


def swap(
    seen: HeldOut,
    facet: int,
    inputs: Choice = None,
    donors: Choice = None,
    clusters: Choice = None,
    n: int = 8,
) -> Intervention:
    """Each of some observations with one facet taken from each of some donors.

    Args:
        seen: model and observations.
        facet: j, which is taken from the donors.
        inputs: observations, in rows; None spreads at most n of them evenly.
        donors: observations, in columns; None takes the surest member of each cluster, and of a
            facet with one cluster ten evenly spread ones.
        clusters: of the facet, whose surest members are the donors; None takes the ten surest.
        n: inputs at most.

    Raises:
        ValueError: if a facet, a cluster or an observation does not exist, or a cluster has no
            members.
    """
    check_facet(seen.model, facet)
    rows = seen.choose(inputs, n)
    if donors is not None and clusters is not None:
        raise ValueError("expected donors or the clusters to take them from, got both")
    columns = _typical(seen, facet, clusters) if donors is None else seen.choose(donors, n)
    x, given = seen.observed(rows), seen.observed(columns)
    pictures = evaluation.swap_facets(seen.model, seen.take(rows), seen.take(columns), facet)
    title = f"facet {facet} from the donors{seen.others('from the inputs', [facet])}"
    return Intervention(
        {"pictures": pictures, "x": x, "donors": given, "indices": rows, "donor_indices": columns},
        seen.figures.swaps(*map(seen.drawable, (x, given, pictures)), title=title),
    )


def swap_pairs(
    seen: HeldOut, facet: int, inputs: Choice = None, donors: Choice = None, n: int = 12
) -> Intervention:
    """Pairs of observations with one facet exchanged between them.

    Args:
        seen: model and observations.
        facet: j, which is exchanged.
        inputs: the first of each pair; None spreads at most n of them evenly.
        donors: the second of each; None takes observations in other clusters of the facet.
        n: pairs at most.

    Raises:
        ValueError: if the facet or an observation does not exist, or there are not as many donors
            as inputs.
    """
    check_facet(seen.model, facet)
    first, second = seen.pairs(inputs, donors, n, facet)
    pairs = np.stack([seen.observed(first), seen.observed(second)], 1)
    pictures = evaluation.swap_pairs(seen.model, seen.take(first), seen.take(second), facet)
    title = f"pairs with facet {facet} exchanged{seen.others('unchanged', [facet])}"
    return Intervention(
        {"pictures": pictures, "x": pairs, "indices": np.stack([first, second], 1)},
        seen.figures.swapped_pairs(seen.drawable(pairs), seen.drawable(pictures), title),
    )


def traverse(
    seen: HeldOut,
    facet: int,
    dimension: int | None = None,
    inputs: Choice = None,
    offsets: Sequence[float] = OFFSETS,
    n: int | None = None,
) -> Intervention:
    """One dimension of a facet moved for some observations, or each dimension for one of them.

    Args:
        seen: model and observations.
        facet: j.
        dimension: of z_j, from 0; None takes those that change the pictures most.
        inputs: observations; without a dimension only one. None chooses.
        offsets: in standard deviations of z_j under its prior.
        n: observations (8) or dimensions (10) at most.

    Raises:
        ValueError: if the facet, the dimension or an observation does not exist, or there are
            several observations and no dimension.
    """
    check_facet(seen.model, facet)
    others = seen.others("unchanged", [facet])
    moved = f"moved by standard deviations of its prior, for {{}}{others}"
    if dimension is None:
        rows = _one(seen, inputs)
        dimensions, drawn = evaluation.traverse_dimensions(
            seen.model, seen.take(rows), facet, n or 10, offsets
        )
        pictures, labels = drawn[:, 0], [f"dimension {d}" for d in dimensions]
        n_all = seen.model.facets[facet].latent_dim
        which = part_of(len(dimensions), n_all, "dimensions", "most effective")
        title = f"facet {facet}: {which} {moved.format(f'held-out observation {rows[0]}')}"
        x = seen.observed(rows)
        shown = [seen.drawable(x)[0], *[None] * (len(dimensions) - 1)]
    else:
        rows, dimensions = seen.choose(inputs, n or 8), [dimension]
        pictures = evaluation.traverse(seen.model, seen.take(rows), facet, dimension, offsets)
        labels = [f"input {i}" for i in rows]
        title = f"facet {facet}: dimension {dimension} {moved.format('held-out observations')}"
        x = seen.observed(rows)
        shown = list(seen.drawable(x))
    return Intervention(
        {
            "pictures": pictures,
            "x": x,
            "indices": rows,
            "dimensions": np.array(dimensions),
            "offsets": np.array(offsets),
        },
        seen.figures.traversal(seen.drawable(pictures), offsets, labels, title, shown),
    )


def interpolate(
    seen: HeldOut,
    facets: Choice = None,
    inputs: Choice = None,
    ends: Choice = None,
    n: int = 6,
    n_steps: int = 8,
) -> Intervention:
    """Straight lines between the latents of pairs of observations.

    Args:
        seen: model and observations.
        facets: which of them move; None moves all.
        inputs: where the lines start; None spreads at most n of them evenly.
        ends: one for each input; None chooses.
        n: lines at most.
        n_steps: pictures of each line.

    Raises:
        ValueError: if a facet or an observation does not exist, there are not as many ends as
            inputs, or fewer than two steps.
    """
    for facet in facets or ():
        check_facet(seen.model, facet)
    first, last = seen.pairs(inputs, ends, n)
    pictures = evaluation.interpolate(
        seen.model, seen.take(first), seen.take(last), n_steps, facets
    )
    start, end = seen.observed(first), seen.observed(last)
    moving = sorted(set(range(seen.model.n_facets) if facets is None else facets))
    title = f"{in_words(moving)} on a straight line from one input to the other"
    staying = [j for j in range(seen.model.n_facets) if j not in moving]
    title += seen.others("as in the first", moving, in_words(staying)) if staying else ""
    return Intervention(
        {
            "pictures": pictures,
            "start": start,
            "end": end,
            "start_indices": first,
            "end_indices": last,
            "facets": np.array(moving),
        },
        seen.figures.interpolation(
            *map(seen.drawable, (start, end, pictures)),
            [f"{a} to {b}" for a, b in zip(first, last, strict=True)],
            title,
        ),
    )


def draw_interventions(seen: HeldOut) -> Iterator[tuple[str, Figure]]:
    """What belongs to the figures of every run."""
    n_facets = seen.model.n_facets
    for j in range(n_facets):
        if n_facets > 1:
            yield f"swaps-facet-{j}", swap(seen, j).figure
        yield f"traversal-facet-{j}", traverse(seen, j).figure
    for j in seen.clustered:
        yield f"means-facet-{j}", means(seen, [j]).figure
    for pair in combinations(seen.clustered, 2):
        yield f"means-facets-{pair[0]}-{pair[1]}", means(seen, pair).figure
    if len(seen.x) > 1:
        yield "interpolation", interpolate(seen).figure


def _typical(seen: HeldOut, facet: int, clusters: Choice, n: int = 10) -> Indices:
    """The surest member of each of a facet's clusters; of a facet with one, evenly spread ones."""
    if clusters is None and facet not in seen.clustered:
        return seen.choose(None, n)
    responsibilities = seen.predictions.responsibilities[facet]
    order = figures.cluster_order(responsibilities)
    chosen = order[:n] if clusters is None else list(clusters)
    if not chosen or not set(chosen) <= set(order):
        raise ValueError(
            f"expected clusters of facet {facet} that have held-out members "
            f"({', '.join(map(str, sorted(order)))}), got {', '.join(map(str, chosen)) or 'none'}"
        )
    return np.array([figures.cluster_members(responsibilities, k)[0] for k in chosen])


def _one(seen: HeldOut, inputs: Choice) -> Indices:
    if inputs is not None and len(inputs) != 1:
        raise ValueError(
            f"expected one observation, or a dimension to move, got {len(inputs)} observations"
        )
    return seen.choose([len(seen.x) // 2] if inputs is None else inputs, 1)
