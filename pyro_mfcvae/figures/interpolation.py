"""Straight lines between the latents of pairs of observations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.canvas import Scene
from pyro_mfcvae.figures.names import describe_shares
from pyro_mfcvae.figures.registry import SceneFigure, register_figure
from pyro_mfcvae.figures.seen import Choice, Seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register_figure("interpolation")
class Interpolation(SceneFigure):
    """What the model draws on the way from one observation to another."""

    heading = "Interpolation"
    shows = "what the model draws on the way from one observation to another"
    place = 7
    old_names = ("interpolations",)
    of_groups = "Starts count as one batch, ends as another."

    @override
    def fits(self, seen: Seen) -> str | None:
        return "there is one held-out observation only" if len(seen.x) < 2 else None

    @override
    def compute(
        self,
        seen: Seen,
        *facets: int,
        inputs: Choice = None,
        ends: Choice = None,
        n: int = 6,
        n_steps: int = 8,
    ) -> Scene:
        """``pictures`` (N, M, *event) from ``start`` to ``end``, (N, *event) both.

        Args:
            seen: model and observations.
            *facets: which of them move; none moves all.
            inputs: where the lines start; None spreads at most n of them evenly.
            ends: one for each input; None chooses.
            n: lines at most.
            n_steps: M, from 2.
        """
        for facet in facets:
            evaluation.check_facet(seen.model, facet)
        every = range(seen.model.n_facets)
        moving = sorted(set(facets or every))
        first, last = seen.choose_pairs(inputs, ends, n)
        pictures = evaluation.interpolate(
            seen.model, seen.take(first), seen.take(last), n_steps, moving
        )
        title = f"{seen.facet_title(*moving)} on a straight line from one input to the other"
        if staying := [j for j in every if j not in moving]:
            title += seen.describe_others("as in the first", moving, seen.facet_title(*staying))
        arrays = {
            "pictures": pictures,
            "start": seen.observed(first),
            "end": seen.observed(last),
            "start_indices": first,
            "end_indices": last,
            "facets": np.array(moving),
        }
        labels = [f"{a} to {b}" for a, b in zip(first, last, strict=True)]
        return Scene(title, seen.canvas, arrays, labels)

    @override
    def draw(self, result: Scene) -> Figure:
        pictures, start, end = (result.arrays[name] for name in ("pictures", "start", "end"))
        heads = describe_shares(pictures.shape[1])
        return result.canvas.draw_paths(pictures, result.labels, heads, result.title, start, end)
