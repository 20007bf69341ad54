"""What the observations of a batch share: pictures along it, and batches as points.

Source: Peis et al., "Unsupervised Learning of Global Factors in Deep Generative Models", 2020
(UG-VAE), Figures 3 to 7.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyro_mfcvae import evaluation
from pyro_mfcvae.evaluation.groups import RANDOM, GroupKind, draw_groups, group_latents
from pyro_mfcvae.evaluation.latents import neighbour_embedding
from pyro_mfcvae.figures.grids import Panel
from pyro_mfcvae.figures.marks import class_colors
from pyro_mfcvae.figures.names import describe_shares, readable
from pyro_mfcvae.figures.seen import Seen
from pyro_mfcvae.naming import cluster_title

Array = NDArray[np.floating]

_N_GROUPS = 50  # of each kind, as points
_MARKERS = "os^vDPX*<>"


def draw_along_shared(seen: Seen, title: str, n_clusters: int | None = None) -> Figure:
    """Grids of pictures, the shared latent in rows and each cluster's own one in columns.

    Args:
        seen: model and held-out observations.
        title: above all, before what the figure shows.
        n_clusters: how many at most, those with most observations first; None takes all that have
            any.
    """
    panels: list[Panel] = []
    for k in seen.most_used(0)[:n_clusters]:
        grid, *offsets = evaluation.shared_and_own(seen.model, k)
        labels, heads = ([_describe(value) for value in values] for values in offsets)
        name = cluster_title(seen.names(0), k) if 0 in seen.clustered else ""
        rows = [list(row) for row in grid]
        panels.append(Panel(rows, [""] * len(rows) if panels else labels, heads, title=name))
    what = "offset of every dimension, shared latent in rows, own from its prior's mean in columns"
    return seen.pictures.draw_panels(panels, f"{title}: {what}")


def draw_between_kinds(
    seen: Seen, kinds: tuple[GroupKind, GroupKind], group_size: int, title: str
) -> tuple[Figure, Array]:
    """From a group of one kind to one of another in rows, from one picture to one in columns.

    The two observations stand at both sides. There is one row where nothing is shared.

    Args:
        seen: model and held-out observations.
        kinds: of the groups; one kind twice takes two groups of it.
        group_size: B.
        title: above all.

    Returns:
        the figure, and the shared latents that its rows have, (M, D_1).
    """
    n_groups = 2 if kinds[0] == kinds[1] else 1
    groups = draw_groups(seen.labels, list(dict.fromkeys(kinds)), n_groups, group_size)
    ends = groups.rows[:, 0]
    pictures, shared = evaluation.between_groups(
        seen.model, [seen.take(rows) for rows in groups.rows], list(seen.take(ends))
    )
    rows = [[None, *row, None] for row in pictures]
    rows[0][0], rows[-1][-1] = seen.observed(ends)
    labels = [f"shared {share}" for share in describe_shares(len(rows))]
    labels[0], labels[-1] = (f"shared by {readable(kind.name)}" for kind in kinds)
    heads = ["from", *describe_shares(pictures.shape[1]), "to"]
    panel = Panel(rows, labels if len(rows) > 1 else [""], heads)
    title = f"{title}; {'shared latent in rows, ' * seen.has_groups}own in columns"
    return seen.pictures.draw_panels([panel], title), shared


def draw_map_of_groups(
    seen: Seen,
    kinds: Sequence[GroupKind],
    group_size: int,
    title: str,
    paths: Mapping[str, Array] | None = None,
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
    points, *ways = np.split(points, np.cumsum([len(means), *map(len, paths.values())])[:-1])
    figure = Figure(figsize=(6.5, 5.2), layout="constrained")
    axes = figure.subplots()
    colors = class_colors(len(kinds))
    for k, kind in enumerate(groups.kinds):
        style: dict[str, Any] = {"s": 60, "color": "0.75", "marker": ".", "zorder": 1}
        if kind is not RANDOM:
            marker = _MARKERS[k % len(_MARKERS)]
            style = {"s": 22, "color": colors[k], "marker": marker, "zorder": 2}
        of_kind = points[groups.classes == k]
        axes.scatter(*of_kind.T, label=readable(kind.name), lw=0, alpha=0.8, **style)
    for i, (name, way) in enumerate(zip(paths, ways, strict=True)):
        style = {"color": ("black", "saddlebrown")[i % 2], "label": readable(name, 40)}
        axes.plot(*way.T, "-D", ms=3, lw=1, zorder=3, **style)
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("t-SNE 1", fontsize=8)
    axes.set_ylabel("t-SNE 2", fontsize=8)
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    of = "q(z_1 | X)" if seen.has_groups else "z_0"
    text = f"{title}: means of {of} of held-out batches of {group_size}"
    figure.suptitle(text, fontsize=9, x=0.01, ha="left", wrap=True)
    return figure


def _describe(offset: float) -> str:
    return "0" if abs(offset) < 1e-6 else f"{offset:+.2g}"
