"""Pictures at the means of clusters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
from typing_extensions import override

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.canvas import Scene
from pyro_mfcvae.figures.names import cluster_labels, describe_part
from pyro_mfcvae.figures.registry import SceneFigure, register_figure
from pyro_mfcvae.figures.seen import Choice, Seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_OF_PAIRS = 12  # clusters of each facet
_LETTERS = 8  # of a name above a picture


@register_figure("means")
class Means(SceneFigure):
    """What the model draws at the means of clusters of a facet, or of pairs of clusters of two."""

    heading = "Cluster means"
    shows = "what the model draws at the means of clusters"
    per = ("clustered facet", "pair of clustered facets")
    place = 5

    @override
    def compute(
        self,
        seen: Seen,
        *facets: int,
        clusters: Sequence[Choice | Literal["all"]] = (),
        n: int | None = None,
    ) -> Scene:
        """``pictures`` (R, *event), or (R, C, *event) of pairs, of ``clusters_{j}``.

        Args:
            seen: model and observations.
            *facets: one or two of them.
            clusters: of each of these; None, or nothing at the end, takes the most used ones,
                ``"all"`` all that have members.
            n: how many of the most used ones; None takes all for one facet, 12 for two.
        """
        if len(facets) not in (1, 2) or len(clusters) > len(facets):
            raise ValueError(
                "expected one or two facets and at most as many lists of clusters, got "
                f"{len(facets)} and {len(clusters)}"
            )
        most = n if n is not None or len(facets) == 1 else _OF_PAIRS
        chosen, which = [], []
        for j, given in zip(facets, [*clusters, None, None], strict=False):
            used = seen.most_used(j)
            if given is None or given == "all":
                chosen.append(used if given else used[:most])
                part = describe_part(len(chosen[-1]), len(used), "cluster in use", "most used")
            else:
                chosen.append(list(given))
                part = f"{len(given)} clusters"
            which.append(f"{seen.facet_title(j)}, {part}")
        pictures = evaluation.cluster_means(seen.model, facets, chosen)
        parts = which[0] if len(which) == 1 else f"rows: {which[0]}; columns: {which[1]}"
        rest = ", other facets at the means of their priors"
        rest += seen.with_unused(facets)
        title = f"means of {parts}{rest * (seen.model.n_facets > len(facets))}"
        arrays = {f"clusters_{j}": np.array(k) for j, k in zip(facets, chosen, strict=True)}
        names = [
            cluster_labels(seen.names(j), k, _LETTERS) for j, k in zip(facets, chosen, strict=True)
        ]
        heads = names[1] if len(names) > 1 else ()
        return Scene(title, seen.canvas, {"pictures": pictures} | arrays, names[0], heads)

    @override
    def draw(self, result: Scene) -> Figure:
        names = [result.labels, *([result.heads] if result.heads else [])]
        return result.canvas.draw_means(result.arrays["pictures"], names, result.title)

    @override
    def details(self, seen: Seen, *facets: int) -> Iterable[str]:
        if len(facets) > 1:
            yield seen.canvas.layout.get("means", "")
        yield from self.remarks(seen, *facets)

    @override
    def remarks(self, seen: Seen, *facets: int) -> Iterable[str]:
        if any(map(seen.is_conditional, facets)):
            yield "Components are those where the facet that they depend on is 0."
        elif seen.model.n_facets > len(facets):
            yield "All else is at the means of the priors."
