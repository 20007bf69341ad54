"""How every facet agrees with every factor, measure by measure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pyro_mfcvae.evaluation.measures import find_measure
from pyro_mfcvae.figures.heatmaps import HeatMap, draw_heat_maps
from pyro_mfcvae.figures.names import describe_facets, readable
from pyro_mfcvae.figures.registry import RunFigure, register_figure
from pyro_mfcvae.figures.seen import Recorded
from pyro_mfcvae.naming import Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_CELL, _LEFT, _LETTER = (0.5, 0.36), 1.15, 0.075  # inches
_WIDTH = 2.3  # that of the longest measure's name


@dataclass(frozen=True, eq=False)
class AgreementMatrices:
    """Matrices {measure: (J, F)}, names of the F factors, and K_j of the J facets."""

    matrices: Mapping[str, NDArray[np.floating]]
    factors: Sequence[str]
    n_clusters: Sequence[int]
    title: str = ""
    names: Names = field(default_factory=dict)  # of facets


@register_figure("agreement")
class Agreement(RunFigure[AgreementMatrices]):
    """A heat map for every measure: facets in rows, factors in columns, in percent."""

    heading = "Agreement with factors"
    shows = "how facets and labelled factors agree"
    reads = "results"
    place = 9

    @override
    def fits(self, recorded: Recorded) -> str | None:
        assert recorded.results is not None  # as ``reads`` says
        return None if recorded.results.matrices() else "the data have no labels"

    @override
    def compute(self, recorded: Recorded) -> AgreementMatrices:
        results = recorded.results
        assert results is not None  # as ``reads`` says
        return AgreementMatrices(
            results.matrices(),
            results.factors,
            [facet.n_clusters for facet in results.facets],
            f"held-out observations after step {results.step}, percent",
            recorded.facet_names,
        )

    @override
    def draw(self, result: AgreementMatrices) -> Figure:
        rows = [
            f"{describe_facets([j], result.names)}, K = {n}"
            for j, n in enumerate(result.n_clusters)
        ]
        columns = [readable(factor) for factor in result.factors]
        style: dict[str, Any] = {
            "cell": _CELL,
            "left": max(_LEFT, _LETTER * max(map(len, rows))),
            "write": _write,
            "least_width": _WIDTH,
        }
        panels = [
            HeatMap(find_measure(measure).title, values, rows, columns, **style)
            for measure, values in result.matrices.items()
        ]
        return draw_heat_maps(panels, result.title)

    @override
    def details(self, recorded: Recorded) -> Iterable[str]:
        assert recorded.results is not None
        if not all(facet.has_clusters for facet in recorded.results.facets):
            yield "What is measured of clusters is empty for a facet with one only."


def _write(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:z.1f}"
