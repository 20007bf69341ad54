"""One facet taken from other observations. Source: MFCVAE, Figures 5 and 17."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.canvas import Scene
from pyro_mfcvae.figures.registry import SceneFigure, register_figure
from pyro_mfcvae.figures.seen import Choice, Indices, Seen, cluster_members

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register_figure("swaps")
class Swaps(SceneFigure):
    """Each of some observations with one facet taken from each of some donors."""

    heading = "Swaps"
    shows = (
        "observations, the inputs, redrawn with this facet taken from others, the donors, by their "
        "numbers among the held-out observations"
    )
    per = ("facet",)
    place = 3
    of_groups = "The inputs count as one batch, each donor as one of its own."

    @override
    def fits(self, seen: Seen, *facets: int) -> str | None:
        return "the model has one facet only" if seen.model.n_facets == 1 else None

    @override
    def compute(
        self,
        seen: Seen,
        facet: int,
        inputs: Choice = None,
        donors: Choice = None,
        clusters: Choice = None,
        n: int = 8,
    ) -> Scene:
        """Observations ``x`` (N, *event), ``donors`` (M, *event), ``pictures`` (N, M, *event).

        Args:
            seen: model and observations.
            facet: j, which is taken from the donors.
            inputs: observations, in rows; None spreads at most n of them evenly.
            donors: observations, in columns; None takes the surest member of each cluster, and of a
                facet with one cluster ten evenly spread ones.
            clusters: of the facet, whose surest members are the donors; None takes the ten surest.
            n: inputs at most.
        """
        evaluation.check_facet(seen.model, facet)
        rows = seen.choose(inputs, n)
        if donors is not None and clusters is not None:
            raise ValueError("expected donors or the clusters to take them from, got both")
        columns = _typical(seen, facet, clusters) if donors is None else seen.choose(donors, n)
        arrays = {
            "pictures": evaluation.swap_facets(
                seen.model, seen.take(rows), seen.take(columns), facet
            ),
            "x": seen.observed(rows),
            "donors": seen.observed(columns),
            "indices": rows,
            "donor_indices": columns,
        }
        others = seen.describe_others("from the inputs", [facet])
        return Scene(f"{seen.facet_title(facet)} from the donors{others}", seen.canvas, arrays)

    @override
    def draw(self, result: Scene) -> Figure:
        x, donors, pictures = (result.arrays[name] for name in ("x", "donors", "pictures"))
        numbers = [result.arrays[name].tolist() for name in ("indices", "donor_indices")]
        return result.canvas.draw_swaps(x, donors, pictures, result.title, numbers)

    @override
    def remarks(self, seen: Seen, *facets: int) -> Iterable[str]:
        yield seen.describe_rest(facets)


@register_figure("swapped-pairs")
class SwappedPairs(SceneFigure):
    """Pairs of observations with one facet exchanged between them."""

    heading = "Swapped pairs"
    shows = "pairs of observations, by their numbers, redrawn with one facet exchanged between them"
    per = ()
    section = "further"
    place = 4

    @override
    def compute(
        self, seen: Seen, facet: int, inputs: Choice = None, donors: Choice = None, n: int = 12
    ) -> Scene:
        """Pairs ``x`` and ``pictures``, (N, 2, *event) both.

        Args:
            seen: model and observations.
            facet: j, which is exchanged.
            inputs: the first of each pair; None spreads at most n of them evenly.
            donors: the second of each; None takes observations in other clusters of the facet.
            n: pairs at most.
        """
        evaluation.check_facet(seen.model, facet)
        pairs = seen.choose_pairs(inputs, donors, n, facet)
        first, second = map(seen.take, pairs)
        arrays = {
            "pictures": evaluation.swap_pairs(seen.model, first, second, facet),
            "x": np.stack([seen.observed(rows) for rows in pairs], 1),
            "indices": np.stack(pairs, 1),
        }
        others = seen.describe_others("unchanged", [facet])
        title = f"pairs with {seen.facet_title(facet)} exchanged{others}"
        return Scene(title, seen.canvas, arrays)

    @override
    def draw(self, result: Scene) -> Figure:
        x, pictures = result.arrays["x"], result.arrays["pictures"]
        numbers = result.arrays["indices"].tolist()
        return result.canvas.draw_moves(x, pictures, ("inputs", "swapped"), result.title, numbers)


def _typical(seen: Seen, facet: int, clusters: Choice, n: int = 10) -> Indices:
    """The surest member of each of a facet's clusters; of a facet with one, evenly spread ones."""
    if clusters is None and facet not in seen.clustered:
        return seen.choose(None, n)
    used = seen.surest(facet)
    chosen = used[:n] if clusters is None else list(clusters)
    if not chosen or not set(chosen) <= set(used):
        raise ValueError(
            f"expected clusters of facet {facet} that have held-out members "
            f"({', '.join(map(str, sorted(used)))}), got {', '.join(map(str, chosen)) or 'none'}"
        )
    responsibilities = seen.predictions.responsibilities[facet]
    return np.array([cluster_members(responsibilities, k)[0] for k in chosen])
