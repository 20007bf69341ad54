"""How many observations each mixture component takes, beside its probability."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pyro_mfcvae.figures.names import cluster_labels, describe_facets, thin
from pyro_mfcvae.figures.registry import RunFigure, register_figure
from pyro_mfcvae.figures.seen import Seen
from pyro_mfcvae.naming import Names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_LABELS = 80


@dataclass(frozen=True, eq=False)
class MixtureWeights:
    """By facet: each observation's most probable cluster (N,), p(c) (K_j,), and all names."""

    clusters: dict[int, NDArray[np.int64]]
    weights: dict[int, NDArray[np.floating]]
    title: str = ""
    names: dict[int, Names] = field(default_factory=dict)
    facet_names: Names = field(default_factory=dict)


@register_figure("weights")
class WeightsFigure(RunFigure[MixtureWeights]):
    """Bars for the share of observations that each component takes, dots for its probability.

    Components are sorted by their share, then by their probability, both falling.
    """

    heading = "Mixture weights"
    shows = (
        "share of the held-out observations that each component takes, beside its probability p(c)"
    )
    place = 12

    @override
    def fits(self, seen: Seen) -> str | None:
        from pyro_mfcvae.evaluation.prior_weights import prior_weights

        if not seen.clustered:
            return "no facet has clusters"
        drawn = prior_weights(seen.model)
        missing = [f"c_{j}" for j in seen.clustered if j not in drawn]
        return f"the model draws no site {', '.join(missing)}" if missing else None

    @override
    def compute(self, seen: Seen) -> MixtureWeights:
        from pyro_mfcvae.evaluation.prior_weights import prior_weights

        weights = prior_weights(seen.model)
        return MixtureWeights(
            {j: seen.predictions.clusters[j] for j in seen.clustered},
            {j: weights[j] for j in seen.clustered},
            "mixture components: share of the held-out observations, and p(c)",
            {j: seen.names(j) for j in seen.clustered},
            seen.facet_names,
        )

    @override
    def draw(self, result: MixtureWeights) -> Figure:
        from matplotlib.figure import Figure

        n = len(result.weights)
        figure = Figure(figsize=(9, 0.5 + 2.2 * n), layout="constrained")
        panels = figure.subplots(n, 1, squeeze=False)[:, 0]
        for axes, (j, weights) in zip(panels, result.weights.items(), strict=True):
            title = describe_facets([j], result.facet_names)
            _draw(axes, title, result.clusters[j], weights, result.names.get(j, {}))
        panels[-1].set_xlabel("component, by the number of its observations", fontsize=9)
        figure.suptitle(result.title, fontsize=10, x=0.01, ha="left")
        return figure


def _draw(
    axes: Axes, name: str, assigned: NDArray[np.int64], pi: NDArray[np.floating], names: Names
) -> None:
    from matplotlib.ticker import PercentFormatter

    n_components = len(pi)
    shares = np.bincount(assigned, minlength=n_components) / len(assigned)
    order = np.lexsort((-pi, -shares))
    positions = np.arange(n_components)
    bars = axes.bar(positions, shares[order], color="C0", label="observations assigned to it")
    (dots,) = axes.plot(positions, pi[order], "o", color="C1", ms=3, label="p(c) of the prior")
    shown = thin(n_components, _MOST_LABELS)
    labels = cluster_labels(names, order[shown])
    is_upright = len(shown) > 30 or max(map(len, labels)) > 3
    size = 8 if len(shown) <= 50 else 6
    axes.set_xticks(shown, labels, fontsize=size, rotation=90 * is_upright)
    axes.set_xlim(-0.8, max(n_components, 8) - 0.2)
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.set_ylabel("share", fontsize=9)
    axes.tick_params(axis="y", labelsize=8)
    title = f"{name}: {np.count_nonzero(shares)} of {n_components} components in use"
    axes.set_title(title, fontsize=9, loc="left")
    axes.grid(axis="y", alpha=0.3)
    axes.set_axisbelow(True)
    beside: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1, 1), "borderpad": 0}
    axes.legend(handles=[bars, dots], ncols=2, fontsize=8, frameon=False, **beside)
