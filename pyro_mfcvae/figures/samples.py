"""Samples of clusters. Source: MFCVAE, Figures 6 and 21 to 24."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.canvas import Group, Scene
from pyro_mfcvae.figures.clusters import N_DRAWN
from pyro_mfcvae.figures.names import describe_facets, describe_part, readable
from pyro_mfcvae.figures.registry import SceneFigure, register_figure
from pyro_mfcvae.figures.seen import Choice, Seen
from pyro_mfcvae.naming import cluster_title

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register_figure("samples")
class Samples(SceneFigure):
    """What the model draws from clusters of one facet each, other facets from their priors."""

    heading = "Samples"
    shows = "what the model draws from each cluster of this facet, all else drawn from the priors"
    per = ("clustered facet",)
    place = 2

    @override
    def compute(
        self,
        seen: Seen,
        *facets: int,
        clusters: Choice = None,
        n_clusters: int | None = N_DRAWN,
        n_samples: int | None = None,
        temperature: float | None = None,
        seed: int = 0,
    ) -> Scene:
        """Pictures drawn from clusters: ``pictures_{j}`` (R_j, n, *event) of ``clusters_{j}``.

        Args:
            seen: model and observations.
            *facets: beside each other; none takes all that have clusters.
            clusters: of the only facet; None takes the surest ones of each.
            n_clusters: how many of these at most; None takes all that have members.
            n_samples: pictures of each cluster; None takes as many as there is room for.
            temperature: tau; None takes that of the run.
            seed: of the draws.
        """
        facets = facets or tuple(seen.clustered) or (0,)
        for facet in facets:
            evaluation.check_facet(seen.model, facet)
        if clusters is not None and len(facets) != 1:
            got = describe_facets(facets)
            raise ValueError(f"expected one facet that the clusters belong to, got {got}")
        n_samples = seen.canvas.n_samples if n_samples is None else n_samples
        temperature = seen.temperature if temperature is None else temperature
        arrays: dict[str, np.ndarray] = {}
        groups, which = [], []
        for j in facets:
            used = seen.surest(j)
            chosen = used[:n_clusters] if clusters is None else list(clusters)
            drawn = evaluation.sample_clusters(seen.model, j, chosen, n_samples, temperature, seed)
            arrays |= {f"pictures_{j}": drawn, f"clusters_{j}": np.array(chosen)}
            panel = seen.facet_title(j) if len(facets) > 1 else ""
            titles = [readable(cluster_title(seen.names(j), k)) for k in chosen]
            groups += [Group(title, x, panel) for title, x in zip(titles, drawn, strict=True)]
            part = describe_part(len(chosen), len(used), "cluster in use", "surest")
            part = part if clusters is None else f"{len(chosen)} clusters"
            which.append(f"{seen.facet_title(j)}: {part}")
        others = seen.describe_others("from their priors")
        others += max(seen.with_unused([j]) for j in facets)
        title = f"samples of {'; '.join(which)}{others}, temperature {temperature:g}"
        return Scene(title, seen.canvas, arrays, groups=groups)

    @override
    def draw(self, result: Scene) -> Figure:
        return result.canvas.draw_groups(result.groups, result.title)
