"""Everything that is measured of a model: one row each.

Whatever lists measures reads this table: ``evaluate``, the log of held-out observations, terminal
tables, report pages with their explanations, comparisons of runs, the agreement figure, objectives
of sweeps and help texts. A measure of one's own is one call of :func:`register_measure`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike

from pyro_mfcvae.evaluation import accuracies

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
        labels: classes of one factor (N,).
        training_map: most frequent class of each cluster among the training observations, (K,).
        other_clusters: clusters of another facet, (N,).
    """

    model: FacetModel
    x: Observations
    clusters: ArrayLike = ()
    responsibilities: ArrayLike = ()
    z_mean: ArrayLike = ()
    labels: ArrayLike = ()
    training_map: ArrayLike = ()
    other_clusters: ArrayLike = ()


_OF_FACET = {"clusters", "responsibilities", "z_mean"}


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One row of the table.

    Attributes:
        name: in ``evaluation.json`` and of a sweep's objective.
        title: a few words, as of a column.
        explanation: one or two sentences.
        needs: names of the attributes of :class:`View` that the function takes, in its order.
        function: gives the number; None where it comes with the objective, or with a slow
            measurement (:mod:`~pyro_mfcvae.evaluation.slow`).
        unit: of the number; a share is shown in percent.
        more_is_better: None if neither more nor less is.
        is_logged: whether it is measured while a run trains; it must be quick, and there is no
            ``training_map`` for it.
        is_brief: whether it is among the few that short tables and comparisons of runs show.
    """

    name: str
    title: str
    explanation: str
    needs: tuple[str, ...] = ()
    function: Callable[..., float] | None = None
    unit: Unit = "share"
    more_is_better: bool | None = True
    is_logged: bool = False
    is_brief: bool = True

    def __post_init__(self) -> None:
        if unknown := set(self.needs) - set(View.__dataclass_fields__):
            raise ValueError(
                f"measure {self.name}: needs {', '.join(sorted(unknown))}, but a View has only "
                f"{', '.join(View.__dataclass_fields__)}"
            )
        if self.is_logged and (
            self.level not in ("facet", "factor") or "training_map" in self.needs
        ):
            raise ValueError(
                f"measure {self.name}: is_logged is for measures of a facet, or of a facet and a "
                "factor, without training_map"
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
    return MEASURES.get(name) or Measure(name=name, title=title, explanation="", is_brief=False)


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
        cluster_map: classes of the clusters (K,), learnt on other observations; adds
            ``majority_accuracy_training_map``.
        responsibilities: q(c | x), (N, K), that the clusters are the largest of; adds
            ``exemplar_accuracy``.

    Raises:
        ValueError: if the arrays are empty, differ in length, or hold negative numbers, or if a
            cluster has no entry in the map.
    """
    given = {"labels": labels, "clusters": clusters}
    given |= {} if cluster_map is None else {"training_map": cluster_map}
    given |= {} if responsibilities is None else {"responsibilities": responsibilities}
    return {
        row.name: row.function(*(given[need] for need in row.needs))
        for row in measures_of("factor")
        if row.function is not None and given.keys() >= set(row.needs)
    }


for _row in (
    Measure(
        name="elbo",
        title="ELBO",
        explanation="Bound on log p(x) per observation, with the run's own guide and likelihood.",
        unit="nats",
    ),
    Measure(
        name="importance_weighted_bound",
        title="importance-weighted bound",
        explanation="A tighter bound on log p(x) per observation, from several samples of z.",
        unit="nats",
    ),
    Measure(
        name="occupied_clusters",
        title="clusters in use",
        explanation="Clusters that are the most probable one of at least one observation.",
        needs=("clusters",),
        function=accuracies.occupied_clusters,
        unit="count",
        more_is_better=None,
        is_logged=True,
    ),
    Measure(
        name="assignment_entropy",
        title="entropy of q(c | x), nats",
        explanation="Mean entropy of the assignment: 0 is certain, log K is knowing nothing.",
        needs=("responsibilities",),
        function=accuracies.assignment_entropy,
        unit="nats",
        more_is_better=False,
        is_brief=False,
    ),
    Measure(
        name="normalized_assignment_entropy",
        title="entropy of q(c | x), % of log K",
        explanation="Mean entropy of the assignment as a share of log K.",
        needs=("responsibilities",),
        function=lambda r: accuracies.assignment_entropy(r, normalized=True),
        more_is_better=False,
        is_brief=False,
    ),
    Measure(
        name="majority_accuracy_training_map",
        title="majority accuracy, training map",
        explanation="Each cluster stands for the class most frequent in it among the training "
        "observations. Several clusters may stand for one class, so it grows with K.",
        needs=("labels", "clusters", "training_map"),
        function=accuracies.mapped_accuracy,
    ),
    Measure(
        name="majority_accuracy",
        title="majority accuracy, own map",
        explanation="Majority accuracy with the map learnt on the observations that are judged.",
        needs=("labels", "clusters"),
        function=accuracies.majority_accuracy,
        is_logged=True,
        is_brief=False,
    ),
    Measure(
        name="class_weighted_accuracy",
        title="class-weighted accuracy",
        explanation="Majority accuracy (own map) averaged over classes, each counting the same.",
        needs=("labels", "clusters"),
        function=accuracies.class_weighted_accuracy,
        is_brief=False,
    ),
    Measure(
        name="exemplar_accuracy",
        title="exemplar accuracy",
        explanation="Each cluster stands for the class of its surest member; the accuracy of the "
        "GMVAE paper.",
        needs=("labels", "responsibilities"),
        function=accuracies.exemplar_accuracy,
        is_logged=True,
        is_brief=False,
    ),
    Measure(
        name="hungarian_accuracy",
        title="Hungarian accuracy",
        explanation="At most one cluster per class; surplus clusters count as wrong.",
        needs=("labels", "clusters"),
        function=accuracies.hungarian_accuracy,
    ),
    Measure(
        name="nmi",
        title="NMI",
        explanation="Mutual information of clusters and classes over the mean of their entropies.",
        needs=("labels", "clusters"),
        function=accuracies.normalized_mutual_information,
        is_logged=True,
    ),
    Measure(
        name="ari",
        title="ARI",
        explanation="Adjusted Rand index: pairs on which both agree, 0 by chance.",
        needs=("labels", "clusters"),
        function=accuracies.adjusted_rand_index,
    ),
    Measure(
        name="homogeneity",
        title="homogeneity",
        explanation="Share of the classes' entropy that the clusters tell.",
        needs=("labels", "clusters"),
        function=accuracies.homogeneity,
    ),
    Measure(
        name="probe_accuracy",
        title="probe accuracy",
        explanation="Held-out accuracy of a classifier that sees one sample of q(z | x).",
        needs=("labels", "z_mean"),
        is_brief=False,
    ),
    Measure(
        name="redundancy",
        title="NMI of two facets' clusterings",
        explanation="0 if two facets partition in different ways, 1 if they say the same.",
        needs=("clusters", "other_clusters"),
        function=accuracies.redundancy,
        more_is_better=False,
    ),
):
    register_measure(_row)
