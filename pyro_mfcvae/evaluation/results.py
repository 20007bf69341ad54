"""What an evaluation and a comparison of guides found: typed, and read and written here only.

The files ``evaluation.json`` and ``comparison.json`` of runs hold what ``to_dict`` gives. Files of
earlier versions lack measures and blocks; what a file has and this version does not know is kept
in ``others``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_mfcvae.evaluation.measures import (
    MAIN_ACCURACY,
    MEASURES,
    PARTS,
    Level,
    Measure,
    Part,
    find_measure,
    measures_of,
)
from pyro_mfcvae.files import validated
from pyro_mfcvae.findings import Finding
from pyro_mfcvae.naming import Names, facet_title

Number = int | float
Values = dict[str, Number]


@dataclass(frozen=True)
class FactorResults:
    """What a facet's clusters have to do with one factor of n_classes, by part and measure."""

    n_classes: int
    train: Values
    test: Values


@dataclass(frozen=True)
class ClusterResults:
    """A cluster of a table's held-out rows.

    Attributes:
        cluster: k.
        size: its rows.
        sure: mean probability of the cluster among them.
        apart: {column, or category of one: mean of its rows minus that of all, in their standard
            deviation}, the largest.
    """

    cluster: int
    size: int
    sure: float
    apart: dict[str, float]


@dataclass(frozen=True)
class FacetResults:
    """Facet j with K_j clusters and D_j latent dimensions.

    Attributes:
        measures: of the facet by itself: {measure: {part: number}}.
        factors: by name; none without labels, or without clusters.
        clusters: those with held-out rows, the largest first; of pictures none.
    """

    n_clusters: int
    latent_dim: int
    measures: dict[str, dict[Part, Number]] = field(default_factory=dict)
    factors: dict[str, FactorResults] = field(default_factory=dict)
    clusters: list[ClusterResults] = field(default_factory=list)

    @property
    def has_clusters(self) -> bool:
        """Whether there is more than one."""
        return self.n_clusters > 1

    def n_used(self, part: Part = "test") -> int:
        """Clusters with at least one member."""
        return int(self.measures["occupied_clusters"][part])


@dataclass(frozen=True)
class Bound:
    """The importance-weighted bound, in nats per observation."""

    n_samples: int  # S
    n_observations: dict[Part, int]  # that it was measured on, by part
    train: float  # on training observations
    test: float  # on held-out ones
    elbo: dict[Part, float] = field(default_factory=dict)  # of the same observations, by part


@dataclass(frozen=True)
class Probe:
    """Held-out accuracies of a classifier that sees sampled latents."""

    n_train: int  # observations that it was trained on
    n_test: int  # that it is judged by
    facets: list[Values]  # from each facet's latents: {factor: accuracy}
    all_facets: Values  # from all of them together
    most_frequent_class: Values  # what knowing nothing gives


@dataclass(frozen=True)
class Diversity:
    """Mean distances of random pairs of observations, and of samples of the model."""

    n_pairs: int  # how many
    distances: dict[str, Values]  # {distance: {"data" | "samples": mean}}
    n_samples: int | None = None  # of the model, that pairs are drawn from
    temperature: float | None = None  # of these samples


@dataclass(frozen=True)
class Term:
    """One term of the objective."""

    title: str  # in words
    weight: float | None  # that it has in the ELBO; None for the ELBO and the reconstruction
    values: dict[Part, float]  # by part, in nats per observation


@dataclass(frozen=True)
class Evaluation:
    """Everything that was measured of a model.

    Attributes:
        n_observations: by part.
        elbo: {part: {term: mean}}, with the weights of the terms.
        facets: shallow first.
        measures: of the whole model, {measure: {part: number}}, and of every two facets,
            {measure: {part: J x J}}, with None for a facet without clusters.
        step: of the model.
        n_steps: of the whole training.
        data: digest of the data.
        model: digest of the model.
        health: what is wrong with the model; None in files of earlier versions.
        importance_weighted_bound: slow, so measured only if asked for, as are the next two.
        probe: of the latents.
        diversity: of pictures.
        others: slow measurements of experiments, by name.
        facet_names: that a person gave; they are kept elsewhere.
    """

    n_observations: dict[Part, int]
    elbo: dict[Part, Values]
    facets: list[FacetResults]
    measures: dict[str, dict[Part, Any]] = field(default_factory=dict)
    step: int = 0
    n_steps: int = 0
    data: str | None = None
    model: str | None = None
    health: tuple[Finding, ...] | None = None
    importance_weighted_bound: Bound | None = None
    probe: Probe | None = None
    diversity: Diversity | None = None
    others: dict[str, Any] = field(default_factory=dict)
    facet_names: Names = field(default_factory=dict, compare=False)

    @property
    def slow(self) -> dict[str, Any]:
        """The slow measurements that were made, by name."""
        known = {name: getattr(self, name) for name in _BLOCKS}
        return {name: block for name, block in known.items() if block is not None} | self.others

    def with_slow(self, measured: Mapping[str, Any]) -> Evaluation:
        """The same with these slow measurements, by name."""
        own = {name: block for name, block in measured.items() if name in _BLOCKS}
        others = {name: block for name, block in measured.items() if name not in _BLOCKS}
        return replace(self, **own, others=self.others | others)

    @property
    def factors(self) -> list[str]:
        """Names of the labelled factors, in order."""
        probed = self.probe.all_facets if self.probe else {}
        named = [name for facet in self.facets for name in facet.factors]
        return list(dict.fromkeys([*named, *probed]))

    @property
    def fade(self) -> list[float]:
        """Weights of the facets, (J,)."""
        return [self.elbo["test"].get(f"fade_{j}", 1.0) for j in range(len(self.facets))]

    def n_classes(self, factor: str) -> int | None:
        """Number of a factor's classes; None if no facet was judged by it."""
        found = (facet.factors.get(factor) for facet in self.facets)
        return next((each.n_classes for each in found if each is not None), None)

    def value(
        self,
        measure: str,
        part: Part = "test",
        facet: int | None = None,
        factor: str | None = None,
        other_facet: int | None = None,
    ) -> float | None:
        """One number of a part of the data; None where it was not measured.

        Facet j, a factor and another facet are given for measures that are of them.
        """
        return self.at(*path_of(measure, part, facet, factor, other_facet))

    def at(self, *path: Any) -> float | None:
        """A number by its keys in ``evaluation.json``; None where it was not measured."""
        found: Any = self
        try:
            for key in path:
                if isinstance(found, Evaluation | FacetResults) and key not in _fields(type(found)):
                    found = (found.measures | getattr(found, "others", {}))[key]
                else:
                    found = found[key] if isinstance(found, dict | list) else getattr(found, key)
            return found if isinstance(found, int | float) else None
        except (KeyError, IndexError, AttributeError, TypeError):
            return None

    def measured(self, level: Level) -> list[Measure]:
        """The measures of a level that this evaluation has, in the order of the table."""
        if level == "factor":
            found = [factor for facet in self.facets for factor in facet.factors.values()]
            names = [name for each in found for name in (*each.train, *each.test)]
            names += ["probe_accuracy"] if self.probe else []
        elif level == "facet":
            names = [name for facet in self.facets for name in facet.measures]
        else:
            names = ["elbo", *self.slow, *self.measures]
        rows = [row for row in measures_of(level) if row.name in names]
        if level in ("run", "pair"):
            return rows
        return [*rows, *map(find_measure, dict.fromkeys(n for n in names if n not in MEASURES))]

    def facet_title(self, j: int) -> str:
        """What facet j is called, such as ``facet 0`` or ``facet species``."""
        return facet_title(self.facet_names, j)

    def pairs(self) -> list[tuple[int, int]]:
        """Every two facets that both have clusters."""
        clustered = [j for j, facet in enumerate(self.facets) if facet.has_clusters]
        return [(i, j) for i in clustered for j in clustered if i < j]

    def matrices(self, part: Part = "test") -> dict[str, NDArray[np.float64]]:
        """Every measure of a facet and a factor, {measure: (J, F)}, factors as in ``factors``.

        What a facet without clusters does not have is nan. A measure that is missing in a facet
        with clusters, as in files of earlier versions, is left out.
        """
        found = {}
        for row in self.measured("factor"):
            rows = [
                [self.value(row.name, part, j, factor) for factor in self.factors]
                for j in range(len(self.facets))
            ]
            whole = all(
                None not in own
                for own, facet in zip(rows, self.facets, strict=True)
                if facet.has_clusters
            )
            values = np.array(rows, dtype=np.float64)
            if whole and not np.isnan(values).all():
                found[row.name] = values
        return found

    def terms(self) -> list[Term]:
        """The terms of the ELBO with their weights, the ELBO first."""
        weights, known = self.elbo["test"], {"elbo": "ELBO", "reconstruction": "log p(x | z)"}
        titles, weighed = dict(known), {}
        hidden = {f"kl_weight_{name}" for name in weights}
        for j, facet in enumerate(self.facets):
            hidden |= {f"fade_{j}", f"kl_weight_{j}"}
            hidden |= set() if facet.has_clusters else {f"kl_c_{j}"}
            for kl, of in (("kl_z", "z"), ("kl_c", "c")):
                titles[f"{kl}_{j}"] = f"KL of {of}, {self.facet_title(j)}"
                weighed[f"{kl}_{j}"] = weights.get(f"kl_weight_{j}", weights.get(f"fade_{j}"))
        return [
            Term(
                titles.get(name, name),
                weighed.get(name, weights.get(f"kl_weight_{name}")),
                {part: terms[name] for part, terms in self.elbo.items() if name in terms},
            )
            for name in weights
            if name not in hidden
        ]

    def to_dict(self) -> dict[str, Any]:
        """As ``evaluation.json`` holds it."""
        values = asdict(self)
        values.pop("facet_names")
        for facet in values["facets"]:
            facet |= facet.pop("measures")
            if not facet["clusters"]:
                del facet["clusters"]
        values |= values.pop("measures") | values.pop("others")
        if self.health is not None:
            values["health"] = [finding.to_dict() for finding in self.health]
        return {name: value for name, value in values.items() if value is not None}

    @classmethod
    def from_dict(cls, values: Any) -> Evaluation:
        """From what ``to_dict`` gives, of this or an earlier version.

        Raises:
            ValueError: if something is missing, or of the wrong kind.
        """
        if not isinstance(values, dict):
            raise ValueError("expected an object")
        rest = {name: value for name, value in values.items() if name not in _fields(cls)}
        measures = {name: rest.pop(name) for name in list(rest) if _by_part(rest[name])}
        own = {name: value for name, value in values.items() if name in _fields(cls)}
        if isinstance(own.get("facets"), list):
            own["facets"] = [_facet_fields(facet) for facet in own["facets"]]
        found = validated(cls, {**own, "measures": measures, "others": rest})
        needed = [("elbo", part, "elbo") for part in ("test", *found.elbo)]
        for j, facet in enumerate(found.facets):
            needed += [path_of("occupied_clusters", facet=j)] * facet.has_clusters
            needed += [path_of(MAIN_ACCURACY, facet=j, factor=name) for name in facet.factors]
        for path in needed:
            if found.at(*path) is None:
                raise ValueError(f"{'.'.join(map(str, path))} is missing")
        return found


_BLOCKS = ("importance_weighted_bound", "probe", "diversity")


@dataclass(frozen=True)
class GuideResults:
    """One guide with one number of samples; means over observations and draws, in nats.

    Attributes:
        guide: its name.
        n_samples: S.
        elbo: the bound.
        elbo_standard_error: over draws.
        gradient_variance: total variance over draws of the loss's gradient with respect to all
            parameters of q(z | x).
        seconds: median time of a forward and backward pass.
        terms: of the ELBO.
        gap: how far the ELBO lies below that of the reference; None where there is no reference.
        predicted_gap: the same from the samples alone; None where that cannot be.
        least_gap: the least that any q(c | x) could have.
        gap_mismatch: the largest difference of gap and prediction in any draw.
        gradient_norm: norm of the mean gradient.
        is_bound: whether the objective is a bound on log p(x).
    """

    guide: str
    n_samples: int
    elbo: float
    elbo_standard_error: float
    gradient_variance: float
    seconds: float
    terms: Values = field(default_factory=dict)
    gap: float | None = None
    predicted_gap: float | None = None
    least_gap: float | None = None
    gap_mismatch: float | None = None
    gradient_norm: float | None = None
    is_bound: bool = True

    @property
    def title(self) -> str:
        """What the guide is called in tables."""
        return self.guide if self.is_bound else f"{self.guide} (no bound)"


@dataclass(frozen=True)
class Comparison:
    """Guides side by side on one model, under the same noise.

    Attributes:
        reference: the guide that gaps are measured from; None where it does not fit the model.
        n_observations: how many.
        n_draws: draws of the noise.
        guides: one row for each guide and number of samples.
        left_out: guides that do not fit the model, and why.
        group_size: number of observations that share a latent, if any do.
        seed: of the noise.
        fade: weights of the facets, (J,).
        step: of the model.
    """

    reference: str | None
    n_observations: int
    n_draws: int
    guides: list[GuideResults]
    left_out: dict[str, str] = field(default_factory=dict)
    group_size: int | None = None
    seed: int = 0
    fade: list[float] = field(default_factory=list)
    step: int = 0

    @property
    def observations(self) -> str:
        """In words, which observations guides were compared on."""
        if self.group_size is None:
            return f"{self.n_observations} held-out observations"
        return f"one batch of {self.n_observations} held-out observations that share a latent"

    @property
    def reasons(self) -> str:
        """In words, which guides were left out and why; empty if none was."""
        names: dict[str, list[str]] = {}
        for name, reason in self.left_out.items():
            names.setdefault(reason, []).append(name)
        said = [f"{', '.join(of)}: {reason}" for reason, of in names.items()]
        return f"Left out: {'. '.join(said)}." if said else ""

    def to_dict(self) -> dict[str, Any]:
        """As ``comparison.json`` holds it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Any) -> Comparison:
        """From what ``to_dict`` gives, of this or an earlier version.

        Raises:
            ValueError: if something is missing, or of the wrong kind.
        """
        return validated(cls, values)


def path_of(
    measure: str,
    part: Part = "test",
    facet: int | None = None,
    factor: str | None = None,
    other_facet: int | None = None,
) -> tuple[Any, ...]:
    """Where a number stands in ``evaluation.json``; arguments as of :meth:`Evaluation.value`."""
    if measure == "elbo":
        return ("elbo", part, measure)
    if measure == "probe_accuracy":
        return ("probe", "facets", facet, factor) if part == "test" else ("probe", part)
    if factor is not None:
        return ("facets", facet, "factors", factor, part, measure)
    if other_facet is not None:
        return (measure, part, facet, other_facet)
    return (measure, part) if facet is None else ("facets", facet, measure, part)


def log_name(measure: str, facet: int, factor: str | None = None) -> str:
    """What a number of a facet, or of a facet and a factor, is called in ``metrics.jsonl``."""
    return f"{measure}_{facet}" if factor is None else f"{measure}_{facet}_{factor}"


def logged_factors(names: Sequence[str], measure: str) -> list[tuple[int, str]]:
    """Facets and factors that a measure was logged of, from all names of a log point."""
    found = []
    for name in names:
        if name.startswith(f"{measure}_"):
            facet, _, factor = name.removeprefix(f"{measure}_").partition("_")
            if facet.isdecimal() and len(facet) <= 2 and factor:
                found.append((int(facet), factor))
    return found


def _fields(kind: Any) -> frozenset[str]:
    return frozenset(f.name for f in fields(kind)) - {"measures", "others"}


def _by_part(value: Any) -> bool:
    return isinstance(value, dict) and len(value) > 0 and set(value) <= set(PARTS)


def _facet_fields(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    known = {name: value for name, value in values.items() if name in _fields(FacetResults)}
    rest = {name: value for name, value in values.items() if name not in known}
    return {**known, "measures": rest}
