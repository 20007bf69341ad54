"""Typical members of clusters. Source: MFCVAE, Figures 4 and 13 to 16."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from pyro_mfcvae.figures.canvas import Group, Scene
from pyro_mfcvae.figures.names import cluster_labels, describe_part
from pyro_mfcvae.figures.registry import SceneFigure, register_figure
from pyro_mfcvae.figures.seen import Seen, cluster_members

if TYPE_CHECKING:
    from matplotlib.figure import Figure

N_DRAWN = 15  # clusters in a figure
_N_MARKED = 10  # members


@register_figure("clusters")
class Clusters(SceneFigure):
    """Clusters by the mean probability of their members' assignment, members by their own."""

    heading = "Typical members"
    shows = (
        "held-out observations of each cluster, the surest clusters first; p is the mean "
        "probability of a cluster's members, n their number"
    )
    per = ("clustered facet",)
    place = 1

    @override
    def compute(
        self, seen: Seen, *facets: int, n_clusters: int | None = N_DRAWN, title: str = ""
    ) -> Scene:
        """Members of clusters of one facet, or of several ones beside each other.

        Args:
            seen: model and observations.
            *facets: one at least.
            n_clusters: of each facet at most; None takes all that have members.
            title: above all; needed for several facets.
        """
        groups = []
        for j in facets:
            responsibilities = seen.predictions.responsibilities[j]
            chosen = seen.surest(j)[:n_clusters]
            for k, name in zip(chosen, cluster_labels(seen.names(j), chosen), strict=True):
                members = cluster_members(responsibilities, k)
                label = f"{name}  p {responsibilities[members, k].mean():.2f}  n {len(members)}"
                drawn = members if seen.canvas.shows_all_members else members[:_N_MARKED]
                panel = seen.facet_title(j) if len(facets) > 1 else ""
                groups.append(Group(label, seen.observed(drawn), panel))
        if not title:
            (j,) = facets
            which = describe_part(len(groups), len(seen.surest(j)), "cluster in use", "surest")
            title = f"{seen.facet_title(j)}: typical held-out observations of {which}"
        return Scene(title, seen.canvas, {}, groups=groups)

    @override
    def draw(self, result: Scene) -> Figure:
        return result.canvas.draw_groups(result.groups, result.title, _N_MARKED)
