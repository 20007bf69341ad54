"""What the clusters look like: Figures 4 to 6, 13 to 17 and 21 to 24, of the first seed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from pyro_mfcvae import figures
from pyro_mfcvae.figures import Seen
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.studies.papers.experiment import (
    Draw,
    Drawn,
    Experiment,
    Outcomes,
    first_runs,
    register_experiments,
)
from pyro_mfcvae.studies.papers.settings import MNIST, SHAPES3D_1, SHAPES3D_2, SVHN, mfcvae_arms

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW, _N_COLUMNS = 10, 10  # clusters in the figures of the main text, pictures of each
_STYLE = {"mnist": 0}  # the facet that is swapped; elsewhere colour, in facet 1

Picture = Callable[[Seen, int, str], "Figure"]  # of style facet and title of the data


def pictures(picture: Picture) -> Draw:
    """One figure for each data set, of the model with the first seed."""

    def draw(experiment: Experiment, outcomes: Outcomes) -> Drawn:
        for outcome in first_runs(outcomes):
            label, title = outcome.arm.label, f"{outcome.arm.title}, seed {outcome.seed}"
            seen = look(outcome.run, outcome.dataset)
            yield f"{experiment.name}-{label}", picture(seen, _STYLE.get(label, 1), title)

    return draw


def examples(n_clusters: int | None) -> Picture:
    """Held-out observations of each cluster, as in Figure 4."""

    def picture(seen: Seen, style: int, title: str) -> Figure:
        return figures.draw_figure(
            "clusters",
            seen,
            *range(seen.model.n_facets),
            n_clusters=n_clusters,
            title=f"{title}: held-out observations of each cluster, the surest first",
        )

    return picture


def samples(n_clusters: int | None) -> Picture:
    """Pictures drawn from each cluster, other facets from their priors, as in Figure 6."""
    options = {"n_clusters": n_clusters, "n_samples": _N_COLUMNS}
    return lambda seen, style, title: figures.draw_figure("samples", seen, **options)


def draw_swaps(n_pairs: int) -> Picture:
    """Pairs whose style or colour is exchanged, as in Figure 5."""

    def picture(seen: Seen, style: int, title: str) -> Figure:
        pairs = contrasting_pairs(seen.predictions.responsibilities, style, n_pairs)
        if not len(pairs):
            raise ValueError(
                f"{title}: facet {style} has one cluster in use, so that nothing can be swapped"
            )
        return figures.draw_figure(
            "swapped-pairs", seen, style, inputs=pairs[:, 0].tolist(), donors=pairs[:, 1].tolist()
        )

    return picture


def contrasting_pairs(
    responsibilities: Sequence[np.ndarray], facet: int, n_pairs: int
) -> np.ndarray:
    """Observations of different clusters of a facet, and of all others where there are such.

    Nothing is chosen by eye: every two clusters of the facet that follow each other, the surest
    first, give their surest members, the second such that it differs from the first in all other
    facets; then the next members, and so on.

    Args:
        responsibilities: J arrays (N, K_j).
        facet: j, from 0.
        n_pairs: how many at most; clusters are taken again, with further members, if there are
            too few.

    Returns:
        indices, (n, 2).
    """
    clusters = np.stack([r.argmax(1) for r in responsibilities], 1)
    others = np.delete(clusters, facet, 1)
    order = figures.cluster_order(responsibilities[facet])
    members = {k: figures.cluster_members(responsibilities[facet], k) for k in order}
    pairs: list[tuple[int, int]] = []
    for place in range(max(map(len, members.values()))):
        for a, b in pairwise(order):
            if place < len(members[a]) and len(pairs) < n_pairs:
                first = members[a][place]
                differing = members[b][(others[members[b]] != others[first]).all(1)]
                partners = differing if len(differing) else members[b]
                pairs.append((first, partners[min(place, len(partners) - 1)]))
        if len(pairs) >= n_pairs or len(order) < 2:
            break
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


_FEW_SETS = (MNIST, SHAPES3D_1, SVHN)
_HELD_OUT, _DRAWN = "held-out examples of all clusters", "samples of all clusters"

# Number of the figure, title, data sets, and what is drawn.
_FIGURES = (
    (4, "held-out examples of clusters", _FEW_SETS, examples(_FEW)),
    (5, "style or colour swapped", _FEW_SETS, draw_swaps(6)),
    (6, "samples of clusters", _FEW_SETS, samples(_FEW)),
    (13, _HELD_OUT, (MNIST,), examples(None)),
    (14, _HELD_OUT, (SHAPES3D_1,), examples(None)),
    (15, _HELD_OUT, (SHAPES3D_2,), examples(None)),
    (16, _HELD_OUT, (SVHN,), examples(None)),
    (17, "style or colour swapped, more", (MNIST, SHAPES3D_1, SHAPES3D_2, SVHN), draw_swaps(24)),
    (21, _DRAWN, (MNIST,), samples(None)),
    (22, _DRAWN, (SHAPES3D_1,), samples(None)),
    (23, _DRAWN, (SHAPES3D_2,), samples(None)),
    (24, _DRAWN, (SVHN,), samples(None)),
)
_OF_ANOTHER_PAPER = (13, 21)

register_experiments(
    *(
        Experiment(
            name=f"figure-{number}",
            title=title,
            source=f"MFCVAE, Figure {number}",
            arms=lambda scale, cases=cases: mfcvae_arms(scale, *cases),  # type: ignore[misc]
            draw=pictures(picture),
            remarks=[f"{number} (b) shows another paper's model (LTVAE) and is left out"]
            * (number in _OF_ANOTHER_PAPER),
        )
        for number, title, cases, picture in _FIGURES
    )
)
