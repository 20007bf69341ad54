"""Observations redrawn while one latent dimension moves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.canvas import Scene
from pyro_mfcvae.figures.names import describe_part, describe_steps
from pyro_mfcvae.figures.registry import SceneFigure, register_figure
from pyro_mfcvae.figures.seen import Choice, Seen

if TYPE_CHECKING:
    from matplotlib.figure import Figure

OFFSETS = (-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0)


@register_figure("traversal")
class Traversal(SceneFigure):
    """One dimension of a facet moved for some observations, or each dimension for one of them."""

    heading = "Traversals"
    shows = "an observation redrawn while one latent dimension moves"
    per = ("facet",)
    place = 6
    old_names = ("traversals",)
    of_groups = "The input counts as a batch of its own."

    @override
    def compute(
        self,
        seen: Seen,
        facet: int,
        dimension: int | None = None,
        inputs: Choice = None,
        offsets: Sequence[float] = OFFSETS,
        n: int | None = None,
    ) -> Scene:
        """``pictures`` (R, M, *event) of R observations ``x``, or of R dimensions of one, (1, ...).

        Args:
            seen: model and observations.
            facet: j.
            dimension: of z_j, from 0; None takes those that change the pictures most.
            inputs: observations; without a dimension only one. None chooses.
            offsets: in standard deviations of z_j under its prior.
            n: observations (8) or dimensions (10) at most.
        """
        evaluation.check_facet(seen.model, facet)
        if dimension is None:
            if inputs is not None and len(inputs) != 1:
                raise ValueError(
                    "expected one observation, or a dimension to move, got "
                    f"{len(inputs)} observations"
                )
            rows = seen.choose([len(seen.x) // 2] if inputs is None else inputs, 1)
            dimensions, drawn = evaluation.traverse_dimensions(
                seen.model, seen.take(rows), facet, n or 10, offsets
            )
            pictures, labels = drawn[:, 0], [f"dimension {d}" for d in dimensions]
            n_all = seen.model.facets[facet].latent_dim
            moved = describe_part(len(dimensions), n_all, "dimension", "most effective")
            of = f"held-out observation {rows[0]}"
        else:
            rows, dimensions = seen.choose(inputs, n or 8), [dimension]
            pictures = evaluation.traverse(seen.model, seen.take(rows), facet, dimension, offsets)
            labels = [f"input {i}" for i in rows]
            moved, of = f"dimension {dimension}", "held-out observations"
        others = seen.describe_others("unchanged", [facet])
        moved += " moved by standard deviations of its prior"
        title = f"{seen.facet_title(facet)}: {moved}, for {of}"
        numbers = {"dimensions": np.array(dimensions), "offsets": np.array(offsets)}
        arrays = {"pictures": pictures, "x": seen.observed(rows), "indices": rows}
        return Scene(f"{title}{others}", seen.canvas, arrays | numbers, labels)

    @override
    def draw(self, result: Scene) -> Figure:
        arrays, heads = result.arrays, describe_steps(result.arrays["offsets"].tolist())
        return result.canvas.draw_paths(
            arrays["pictures"], result.labels, heads, result.title, arrays["x"]
        )

    @override
    def remarks(self, seen: Seen, facet: int) -> Iterable[str]:
        yield seen.describe_rest([facet])
        if seen.is_conditional(facet):
            yield "Standard deviations are those where the facet that this one depends on is 0."
