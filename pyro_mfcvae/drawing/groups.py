"""What the observations of a batch share, of a run's model: pictures along it, and batches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.drawing.held_out import HeldOut
from pyro_mfcvae.evaluation.embedding import neighbour_embedding
from pyro_mfcvae.evaluation.groups import RANDOM, Kind, draw_groups, group_latents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_GROUPS = 50  # of each kind, as points


def along_shared(seen: HeldOut, title: str, n_clusters: int | None = None) -> Figure:
    """Grids of pictures, the shared latent in rows and each cluster's own one in columns.

    Args:
        seen: model and held-out observations.
        title: above all, before what the figure shows.
        n_clusters: how many at most, those with most observations first; None takes all that have
            any.
    """
    clusters = seen.most_used(0)[:n_clusters]
    found = [evaluation.shared_and_own(seen.model, cluster) for cluster in clusters]
    grids = [seen.drawable(grid) for grid, _, _ in found]
    _, rows, columns = found[0]
    has_clusters = 0 in seen.clustered
    names = [f"cluster {k}" for k in clusters] if has_clusters else [""]
    what = "offset of every dimension, shared latent in rows, own from its prior's mean in columns"
    return figures.shared_and_own_grids(
        grids, names, rows.tolist(), columns.tolist(), f"{title}: {what}"
    )


def between_kinds(
    seen: HeldOut, kinds: tuple[Kind, Kind], group_size: int, title: str
) -> tuple[Figure, NDArray[np.floating]]:
    """From a group of one kind to one of another, and from a picture of one to one of the other.

    Args:
        seen: model and held-out observations.
        kinds: of the groups; one kind twice takes two groups of it.
        group_size: B.
        title: above all, before what the figure shows.

    Returns:
        the figure, and the shared latents that its rows have, (M, D_1).
    """
    n_groups = 2 if kinds[0] == kinds[1] else 1
    groups = draw_groups(seen.labels, list(dict.fromkeys(kinds)), n_groups, group_size)
    ends = groups.rows[:, 0]
    pictures, shared = evaluation.between_groups(
        seen.model, [seen.take(rows) for rows in groups.rows], list(seen.take(ends))
    )
    first, second = seen.shown[ends]
    names = (kinds[0].name, kinds[1].name)
    rows = "shared latent in rows, " if seen.model.structure.group_size is not None else ""
    text = f"{title}; {rows}own in columns"
    grid = seen.drawable(pictures)
    return figures.between_groups_grid(grid, (first, second), names, text), shared


def map_of_groups(
    seen: HeldOut,
    kinds: Sequence[Kind],
    group_size: int,
    title: str,
    paths: Mapping[str, NDArray[np.floating]] | None = None,
) -> Figure:
    """Held-out groups of each kind, and random ones, by the means of their q(z_1 | X), by t-SNE.

    Args:
        seen: model and held-out observations.
        kinds: of the groups.
        group_size: B.
        title: above the plot, before what it shows.
        paths: {name: shared latents (M, D_1)} of lines to be drawn among them.
    """
    groups = draw_groups(seen.labels, [*kinds, RANDOM], _N_GROUPS, group_size, seed=1)
    means, _ = group_latents(seen.model, seen.x, groups.rows)
    paths = paths or {}
    points = neighbour_embedding(np.concatenate([means, *paths.values()]))
    lines, start = [], len(means)
    for name, path in paths.items():
        lines.append((name, points[start : start + len(path)]))
        start += len(path)
    names = [kind.name for kind in groups.kinds]
    of = "q(z_1 | X)" if seen.model.structure.group_size is not None else "z_0"
    text = f"{title}: means of {of} of held-out batches of {group_size}"
    return figures.group_points(points[: len(means)], groups.classes, names, text, lines)
