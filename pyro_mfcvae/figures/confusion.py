"""Which classes the members of each cluster have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pyro_mfcvae.evaluation.accuracies import contingency, normalized_mutual_information
from pyro_mfcvae.figures.heatmaps import COLORS, HeatMap, draw_heat_maps
from pyro_mfcvae.figures.names import class_labels, cluster_labels, readable
from pyro_mfcvae.figures.registry import RunFigure, register_figure
from pyro_mfcvae.figures.seen import Seen, labelled
from pyro_mfcvae.naming import Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

IntArray = NDArray[np.int64]

_N_FACTORS = 8  # in a figure
_MOST_NUMBERS = (30, 15)  # rows and columns up to which there is room for numbers
_LEFT, _COLOR_BAR, _LETTER = 0.8, 0.55, 0.07  # inches


@dataclass(frozen=True, eq=False)
class Confused:
    """Clusters (N,), by factor classes (N,) and the names of all classes, and names of clusters."""

    labels: Mapping[str, IntArray]
    clusters: IntArray
    class_names: Mapping[str, Sequence[str]]
    title: str = ""
    names: Names = field(default_factory=dict)


@register_figure("confusion")
class Confusion(RunFigure[Confused]):
    """The share of each class among the members of each of one facet's clusters.

    There is a panel for every factor. Rows are the clusters that have members, sorted by their
    most frequent class, then by their size, falling; a row's label has the cluster's name and
    its number of members n. Columns are classes. Where there is room, the shares are written as
    percentages, zeros left out.
    """

    heading = "Clusters against classes"
    shows = "which classes the held-out observations of each cluster have"
    per = ("clustered facet",)
    place = 8

    @override
    def fits(self, seen: Seen, facet: int) -> str | None:
        return None if seen.labels else "the data have no labels"

    @override
    def compute(self, seen: Seen, facet: int) -> Confused:
        closest = factors_by_agreement(seen, facet)[:_N_FACTORS]
        return Confused(
            {factor: classes for factor, classes in seen.labels.items() if factor in closest},
            seen.predictions.clusters[facet],
            seen.class_names,
            f"{seen.facet_title(facet)}: classes of the held-out observations in each cluster",
            seen.names(facet),
        )

    @override
    def draw(self, result: Confused) -> Figure:
        panels = [
            _panel(factor, np.asarray(classes), result, result.class_names[factor])
            for factor, classes in result.labels.items()
        ]
        figure = draw_heat_maps(panels, result.title, _COLOR_BAR)
        _draw_color_bar(figure)
        return figure


def factors_by_agreement(seen: Seen, facet: int) -> list[str]:
    """All factors, those first that agree best with the clusters of a facet."""
    clusters = seen.predictions.clusters[facet]
    agreement = {
        factor: normalized_mutual_information(*labelled(classes, clusters))
        for factor, classes in seen.labels.items()
    }
    return sorted(agreement, key=lambda factor: -agreement[factor])


def _panel(factor: str, classes: IntArray, result: Confused, class_names: Sequence[str]) -> HeatMap:
    classes, clusters = labelled(classes, result.clusters)
    counts = contingency(classes, clusters, n_classes=len(class_names))
    sizes = counts.sum(1)
    order = np.lexsort((-sizes, counts.argmax(1)))
    order = order[sizes[order] > 0]
    n_columns = counts.shape[1]
    has_numbers = len(order) <= _MOST_NUMBERS[0] and n_columns <= _MOST_NUMBERS[1]
    nmi = normalized_mutual_information(classes, clusters)
    named = zip(order, cluster_labels(result.names, order), strict=True)
    labels = [f"{name}  n {sizes[k]}" for k, name in named]
    return HeatMap(
        f"{readable(factor)}\nNMI {nmi:.2f}",
        counts[order] / sizes[order, None],
        labels,
        class_labels(factor, class_names),
        (
            0.34 if has_numbers else min(0.2, max(0.05, 5 / n_columns)),
            min(0.25, max(0.13, 8 / len(order))),
        ),
        max(_LEFT, _LETTER * max(map(len, labels), default=0)),
        _write if has_numbers else None,
        # Clusters for other classes follow.
        np.flatnonzero(np.diff(counts[order].argmax(1))).tolist(),
    )


def _write(share: float) -> str:
    return f"{100 * share:.0f}" if share >= 0.005 else ""


def _draw_color_bar(figure: Figure) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.ticker import PercentFormatter

    width, height = figure.get_size_inches()
    axes = figure.add_axes((0.9 / width, 0.4 / height, 2.4 / width, 0.1 / height))
    colors = ScalarMappable(Normalize(0, 1), COLORS)
    figure.colorbar(
        colors, cax=axes, format=PercentFormatter(1), ticks=[0, 0.5, 1], orientation="horizontal"
    )
    axes.tick_params(labelsize=7)
    at: dict[str, Any] = {"transform": axes.transAxes, "va": "center"}
    axes.text(1.06, 0.5, "of the cluster's members", fontsize=8, **at)
