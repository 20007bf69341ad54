"""Everything that is measured of a model: one row each.

Whatever lists measures reads this table: ``evaluate``, the log of held-out observations, terminal
tables, report pages with their explanations, comparisons of runs, the agreement figure, objectives
of sweeps and help texts. A measure of one's own is one call of :func:`register_measure`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

import pyro_mfcvae.evaluation.accuracies as accuracies
from pyro_mfcvae.config.observation import MISSING

if TYPE_CHECKING:
    from pyro_mfcvae.data.observations import Observations
    from pyro_mfcvae.models.base import FacetModel

Part = Literal["train", "test"]
Level = Literal["run", "facet", "factor", "pair"]
Unit = Literal["share", "nats", "count", "number"]

PARTS: Mapping[Part, str] = {"test": "held out", "train": "training"}

MAIN_ACCURACY = "majority_accuracy_training_map"


@dataclass(frozen=True, eq=False, kw_only=True)
class View:
    """What measures are computed from: one part of the data, as one facet sees it.

    Attributes:
        model: the model.
        x: observations (N, *event).
        clusters: most probable clusters (N,).
        responsibilities: q(c | x), (N, K).
        z_mean: means of q(z | x), (N, D).
        labels: classes of one factor (N,), of observations that have one.
        cluster_map: most frequent class of each cluster among the training observations, (K,).
        other_clusters: clusters of another facet, (N,).
    """

    model: FacetModel
    x: Observations
    clusters: ArrayLike = ()
    responsibilities: ArrayLike = ()
    z_mean: ArrayLike = ()
    labels: ArrayLike = ()
    cluster_map: ArrayLike = ()
    other_clusters: ArrayLike = ()

    def judged_by(self, labels: NDArray[np.int64]) -> View:
        """The same of those of the N observations whose label (N,) is not missing, with labels."""
        if (rows := np.flatnonzero(labels != MISSING)).size == labels.size:
            return replace(self, labels=labels)
        import torch

        from pyro_mfcvae.data.observations import select

        return replace(
            self,
            x=select(self.x, torch.from_numpy(rows)),
            clusters=np.asarray(self.clusters)[rows],
            responsibilities=np.asarray(self.responsibilities)[rows],
            z_mean=np.asarray(self.z_mean)[rows],
            labels=labels[rows],
        )


_OF_FACET = {"clusters", "responsibilities", "z_mean"}


@dataclass(frozen=True)
class Measure:
    """One row of the table.

    Attributes:
        name: in ``evaluation.json`` and of a sweep's objective.
        title: a few words, as of a column.
        function: gives the number; the names of its arguments are attributes of :class:`View`.
            None where it comes with the objective, or with a slow measurement
            (:mod:`~pyro_mfcvae.evaluation.slow`).
        explanation: one or two sentences; by default the first line of the function's docstring.
        needs: the function's arguments that have no default; found out by itself.
        unit: of the number; a share is shown in percent.
        more_is_better: None if neither more nor less is.
        is_logged: whether it is measured while a run trains; it must be quick, and there is no
            ``cluster_map`` for it.
        is_brief: whether it is among the few that short tables and comparisons of runs show.
    """

    name: str
    title: str
    function: Callable[..., float] | None = None
    explanation: str = ""
    needs: tuple[str, ...] = ()
    _: KW_ONLY
    unit: Unit = "share"
    more_is_better: bool | None = True
    is_logged: bool = False
    is_brief: bool = True

    def __post_init__(self) -> None:
        if self.function is not None:
            arguments = inspect.signature(self.function).parameters.values()
            needs = tuple(each.name for each in arguments if each.default is each.empty)
            object.__setattr__(self, "needs", needs)
            if not self.explanation:
                doc = (inspect.getdoc(self.function) or "").partition("\n")[0]
                object.__setattr__(self, "explanation", doc)
        if unknown := set(self.needs) - set(View.__dataclass_fields__):
            raise ValueError(
                f"measure {self.name} takes {', '.join(sorted(unknown))}; a View has "
                f"{', '.join(View.__dataclass_fields__)}"
            )
        quick = self.level in ("facet", "factor") and "cluster_map" not in self.needs
        if self.is_logged and not quick:
            raise ValueError(
                f"measure {self.name}: is_logged is for measures of a facet, or of a facet and a "
                "factor, without cluster_map"
            )

    @property
    def level(self) -> Level:
        """What it is a number of: a run, a facet, a facet and a factor, or two facets."""
        if "labels" in self.needs:
            return "factor"
        if "other_clusters" in self.needs:
            return "pair"
        return "facet" if _OF_FACET & set(self.needs) else "run"

    def measure(self, view: View) -> float:
        """The number of one view.

        Raises:
            ValueError: if it is not measured by a function of its own.
        """
        if self.function is None:
            raise ValueError(f"measure {self.name} has no function of its own")
        value = self.function(*(getattr(view, need) for need in self.needs))
        return value.item() if isinstance(value, np.generic | np.ndarray) else value

    def text(self, value: float | None) -> str:
        """The number for a table, a share in percent without its sign; a dash for None."""
        if value is None:
            return "–"
        if self.unit == "share":
            return f"{100 * value:z.1f}"
        return f"{value:.0f}" if self.unit == "count" else f"{value:z.2f}"


MEASURES: dict[str, Measure] = {}


def register_measure(measure: Measure) -> None:
    """Add a row; one of the same name is replaced."""
    MEASURES[measure.name] = measure


def measures_of(level: Level, **flags: bool) -> Iterator[Measure]:
    """The rows of a level, such as those with ``is_brief=True``."""
    for row in MEASURES.values():
        if row.level == level and all(getattr(row, name) == value for name, value in flags.items()):
            yield row


def find_measure(name: str) -> Measure:
    """The row of this name; a made-up one where a file has a measure that the table has not."""
    title = name.replace("_", " ")
    return MEASURES.get(name) or Measure(name, title, is_brief=False)


def agreement(
    labels: ArrayLike,
    clusters: ArrayLike,
    cluster_map: ArrayLike | None = None,
    responsibilities: ArrayLike | None = None,
) -> dict[str, float]:
    """All measures of agreement that can be had from these arrays, by name.

    Args:
        labels: classes (N,).
        clusters: clusters (N,).
        cluster_map: classes of the clusters (K,), learnt on other observations.
        responsibilities: q(c | x), (N, K), that the clusters are the largest of.

    Raises:
        ValueError: if the arrays are empty, differ in length, or hold negative numbers, or if a
            cluster has no entry in the map.
    """
    given = {"labels": labels, "clusters": clusters}
    given |= {} if cluster_map is None else {"cluster_map": cluster_map}
    given |= {} if responsibilities is None else {"responsibilities": responsibilities}
    return {
        row.name: row.function(*(given[need] for need in row.needs))
        for row in measures_of("factor")
        if row.function is not None and given.keys() >= set(row.needs)
    }


def agreement_matrices(
    clusters: Sequence[ArrayLike],
    labels: Mapping[str, ArrayLike],
    cluster_maps: Sequence[Mapping[str, ArrayLike]] | None = None,
    responsibilities: Sequence[ArrayLike] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """All measures of agreement between J facets and F factors: {measure: (J, F)}.

    Clusters (N,) and what else :func:`agreement` takes are given for each facet, labels (N,) for
    each factor, whose order is that of the columns; the map of a facet is given by factor.

    Raises:
        ValueError: as :func:`agreement`, and if there is no facet or no factor.
    """
    if not len(clusters) or not labels:
        raise ValueError(
            f"expected at least one facet and one factor, got {len(clusters)} and {len(labels)}"
        )
    rows = [
        [
            agreement(
                classes,
                found,
                None if cluster_maps is None else cluster_maps[j][factor],
                None if responsibilities is None else responsibilities[j],
            )
            for factor, classes in labels.items()
        ]
        for j, found in enumerate(clusters)
    ]
    return {
        name: np.array([[cell[name] for cell in row] for row in rows], dtype=np.float64)
        for name in rows[0][0]
    }


def _accuracy(function: Callable[..., float], title: str, name: str = "", **flags: Any) -> Measure:
    """A row of :mod:`~pyro_mfcvae.evaluation.accuracies`, by default of the function's name."""
    return Measure(name or function.__name__, title, function, **flags)


_BOUND = "A tighter bound on log p(x), from several samples of z."
_PROBE = "Held-out accuracy of a classifier that sees one sample of q(z | x)."

for _row in (
    Measure("elbo", "ELBO", None, "Bound on log p(x), by the run's guide.", unit="nats"),
    Measure("importance_weighted_bound", "importance-weighted bound", None, _BOUND, unit="nats"),
    _accuracy(
        accuracies.occupied_clusters,
        "clusters in use",
        unit="count",
        more_is_better=None,
        is_logged=True,
    ),
    _accuracy(
        accuracies.assignment_entropy,
        "entropy of q(c | x), nats",
        unit="nats",
        more_is_better=False,
        is_brief=False,
    ),
    _accuracy(
        accuracies.normalized_assignment_entropy,
        "entropy of q(c | x), % of log K",
        more_is_better=False,
        is_brief=False,
    ),
    _accuracy(accuracies.mapped_accuracy, "majority accuracy, training map", MAIN_ACCURACY),
    _accuracy(
        accuracies.majority_accuracy, "majority accuracy, own map", is_logged=True, is_brief=False
    ),
    _accuracy(accuracies.class_weighted_accuracy, "class-weighted accuracy", is_brief=False),
    _accuracy(accuracies.exemplar_accuracy, "exemplar accuracy", is_logged=True, is_brief=False),
    _accuracy(accuracies.hungarian_accuracy, "Hungarian accuracy"),
    _accuracy(accuracies.normalized_mutual_information, "NMI", "nmi", is_logged=True),
    _accuracy(accuracies.adjusted_rand_index, "ARI", "ari"),
    _accuracy(accuracies.homogeneity, "homogeneity"),
    Measure("probe_accuracy", "probe accuracy", None, _PROBE, ("labels", "z_mean"), is_brief=False),
    _accuracy(accuracies.redundancy, "NMI of two facets' clusterings", more_is_better=False),
):
    register_measure(_row)
