"""What an experiment of a paper is: settings to train, numbers to read off, figures to draw."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pyro_mfcvae.evaluation.measures import MEASURES, PARTS, Part
from pyro_mfcvae.evaluation.results import path_of
from pyro_mfcvae.registry import Registry
from pyro_mfcvae.studies.jobs import Arm, Outcome
from pyro_mfcvae.studies.results import Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["full", "reduced", "quick"]
SCALES: tuple[Scale, ...] = get_args(Scale)

Arms = Sequence[Arm]
Outcomes = Sequence[Outcome]
Numbers = Callable[[Arm], Iterable[Entry]]
Drawn = Iterator[tuple[str, "Figure"]]
Draw = Callable[["Experiment", Outcomes], Drawn]

SHORTER: Mapping[Scale, Sequence[str]] = {
    "reduced": (
        "reduced: the settings of full in fewer epochs, fading in and pretraining included",
    ),
    "quick": (
        "quick: small models, rendered scenes, short runs; published numbers are of other data "
        "and settings",
    ),
}


def no_numbers(arm: Arm) -> Iterable[Entry]:
    """No table."""
    return ()


def no_figures(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    """No figures."""
    yield from ()


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A table or figure of a paper, or a group of ablations.

    Attributes:
        name: on the command line.
        title: one line.
        source: in the paper.
        n_seeds: how many seeds each arm has, by scale.
        arms: gives the settings that are trained at a scale.
        numbers: gives an arm's numbers of the table.
        draw: gives the figures, with the names of their files.
        slow: what is measured of a finished run besides its evaluation, as of
            :func:`~pyro_mfcvae.runs.measure.evaluate_run`.
        slow_quick: what replaces that at the scale ``"quick"``.
        shorter: what a reader must know of the scales.
        remarks: what a reader must know besides.
    """

    name: str
    title: str
    source: str
    arms: Callable[[Scale], Arms]
    n_seeds: Mapping[Scale, int] = field(default_factory=lambda: seeds(1, 1, 1))
    numbers: Numbers = no_numbers
    draw: Draw = no_figures
    slow: Mapping[str, Any] = field(default_factory=dict)
    slow_quick: Mapping[str, Any] = field(default_factory=dict)
    shorter: Mapping[Scale, Sequence[str]] = field(default_factory=lambda: SHORTER)
    remarks: Sequence[str] = ()

    def entries(self, arms: Arms) -> list[Entry]:
        """The numbers of the table, for arms with the settings that they were trained with."""
        return [entry for arm in arms for entry in self.numbers(arm)]

    def slow_at(self, scale: Scale) -> Mapping[str, Any]:
        """What is measured of a run at a scale besides its evaluation."""
        return {**self.slow, **(self.slow_quick if scale == "quick" else {})}

    def notes(self, scale: Scale) -> list[str]:
        """What a reader of the results must know."""
        return [*self.shorter.get(scale, ()), *self.remarks]


EXPERIMENTS: Registry[Experiment] = Registry("experiment")

register_experiments = EXPERIMENTS.add
"""Make experiments known to ``mfcvae reproduce`` by their names."""


def seeds(full: int, reduced: int, quick: int) -> Mapping[Scale, int]:
    """How many seeds each scale has."""
    return {"full": full, "reduced": reduced, "quick": quick}


def first_runs(outcomes: Outcomes) -> list[Outcome]:
    """The run of every arm with its first seed."""
    firsts: dict[str, Outcome] = {}
    for outcome in outcomes:
        firsts.setdefault(outcome.arm.label, outcome)
    return list(firsts.values())


_COUNTED = ("majority_accuracy", "majority_accuracy_training_map", "hungarian_accuracy", "nmi")


def agreement(
    arm: Arm,
    factor: str,
    facet: int,
    row: str,
    published: Mapping[str, str] | None = None,
    measures: Sequence[str] = _COUNTED,
    part: Part = "test",
) -> list[Entry]:
    """How well the clusters of a facet agree with a factor.

    Args:
        arm: the arm.
        factor: that the clusters are judged by.
        facet: j.
        row: of the table.
        published: published numbers by the measure's name.
        measures: their names in ``evaluation.json``; by default every accuracy that papers count
            by, and the NMI.
        part: of the data.
    """
    published = {} if arm.is_quick else published or {}
    return [
        Entry(
            arm=arm.label,
            row=row,
            column=f"{arm.title}, {factor}",
            metric=f"{MEASURES[name].title}, {PARTS[part]}",
            n_clusters=arm.config.model.facets[facet].n_clusters,
            path=path_of(name, part, facet, factor),
            published=published.get(name, ""),
        )
        for name in measures
    ]


def accuracy(arm: Arm, factor: str, facet: int, row: str, published: str = "") -> Entry:
    """The paper's accuracy of one facet and factor."""
    name = "majority_accuracy"
    return agreement(arm, factor, facet, row, {name: published}, [name])[0]


def probes(arm: Arm, factor: str, published: Sequence[str] = ()) -> list[Entry]:
    """What a classifier reads out of each facet's latents, and out of all.

    Args:
        arm: the arm.
        factor: what it reads.
        published: numbers, a facet after the other, then of all.
    """
    facets = range(len(arm.config.model.facets))
    latents: dict[str, tuple[str | int, ...]] = {f"z of facet {j}": ("facets", j) for j in facets}
    latents["z of both" if len(facets) == 2 else "z of all"] = ("all_facets",)
    return [
        Entry(
            arm=arm.label,
            row=row,
            column=f"{arm.title}, {factor}",
            metric="held-out accuracy of scikit-learn's MLPClassifier on sampled latents",
            path=("probe", *path, factor),
            published=published[i] if published else "",
        )
        for i, (row, path) in enumerate(latents.items())
    ]
