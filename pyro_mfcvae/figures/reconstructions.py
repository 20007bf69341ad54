"""Held-out observations and their reconstructions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.canvas import Scene
from pyro_mfcvae.figures.registry import SceneFigure, register_figure
from pyro_mfcvae.figures.seen import Seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@register_figure("reconstructions")
class Reconstructions(SceneFigure):
    """Observations, evenly spread, beside the means of p(x | z) at the means of q(z | x)."""

    heading = "Reconstructions"
    shows = "held-out observations and their reconstructions"
    place = 11
    of_groups = "They count as one batch."

    @override
    def compute(self, seen: Seen) -> Scene:
        rows = seen.choose(None, seen.canvas.n_reconstructed)
        pictures = evaluation.reconstruct(seen.model, seen.take(rows))
        return Scene(self.shows, seen.canvas, {"x": seen.observed(rows), "pictures": pictures})

    @override
    def draw(self, result: Scene) -> Figure:
        x, pictures = (result.arrays[name][None] for name in ("x", "pictures"))
        return result.canvas.draw_moves(x, pictures, ("input", "reconstruction"), result.title)
