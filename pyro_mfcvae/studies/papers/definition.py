"""What an experiment of a paper is: settings to train, numbers to read off, figures to draw."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.registry import Registry
from pyro_mfcvae.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Scale = Literal["full", "reduced", "quick"]
SCALES: tuple[Scale, ...] = get_args(Scale)

OWN_MAP = "majority accuracy, held out, map of its own"

_NOTES = {
    "reduced": "reduced: the settings of full in fewer epochs, fading in and pretraining included",
    "quick": "quick: small models, rendered scenes, short runs; published numbers are of other "
    "data and settings",
}


@dataclass(frozen=True)
class Arm:
    """Settings that are trained with several seeds.

    Attributes:
        label: what tells it from the experiment's other arms.
        config: the settings; their seed is replaced.
        title: of the data or of what was changed, as it stands in tables and figures.
        facets: {factor: facet that is to find it}.
    """

    label: str
    config: Config
    title: str
    facets: Mapping[str, int] = field(default_factory=dict)

    @property
    def is_quick(self) -> bool:
        """Whether published numbers are of other data."""
        return (self.config.preset or "").startswith("quick")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number of a table: where it is measured, and what was published.

    Attributes:
        arm: label of its arm.
        row: of the table, such as the model.
        column: of the table, such as the data and the factor.
        metric: its full name.
        n_clusters: K, where the metric depends on it.
        path: where it stands in the measures of a run: keys and indices, the outermost first.
        published: the published number as it was printed, empty where there is none.
        percent: whether it is a share, shown in percent.
    """

    arm: str
    row: str
    column: str
    metric: str
    path: tuple[str | int, ...]
    n_clusters: int | None = None
    published: str = ""
    percent: bool = True

    def value(self, measures: Mapping[str, Any]) -> float | None:
        """The number in the measures of a run; None where it was not measured."""
        found: Any = measures
        for key in self.path:
            try:
                found = found[key]
            except (KeyError, IndexError):
                return None
        return float(found)


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished run of an arm.

    Attributes:
        arm: the arm.
        seed: the run's.
        run: the run.
        dataset: its data.
        measures: its ``evaluation.json``.
    """

    arm: Arm
    seed: int
    run: Run
    dataset: Dataset
    measures: Mapping[str, Any]

    @functools.cached_property
    def fade(self) -> tuple[float, ...]:
        """Fade weights of the run's last step."""
        return self.run.fade()

    @functools.cached_property
    def seconds(self) -> float | None:
        """Seconds of the run's training, where they were recorded."""
        return self.run.training_seconds()

    def over_epochs(self, name: str, split: str = "test") -> tuple[list[int], list[float]]:
        """Epochs, and what was measured under a name while the run trained."""
        return self._logged(name, split, "epoch")

    def over_steps(self, name: str) -> tuple[list[int], list[float]]:
        """Steps, and the mean of a term over the batch at each log point."""
        return self._logged(name, "train", "step")

    def _logged(self, name: str, split: str, at: str) -> tuple[list[int], list[float]]:
        records = [
            record
            for record in self.run.metrics()
            if record["split"] == split and name in record["values"]
        ]
        return [r[at] for r in records], [r["values"][name] for r in records]


Measure = Callable[[Run, Dataset], Any]
Arms = Sequence[Arm]
Outcomes = Sequence[Outcome]
Drawn = Iterator[tuple[str, "Figure"]]


@dataclass(frozen=True, kw_only=True)
class Experiment(ABC):
    """A table or figure of a paper, or a group of ablations.

    Attributes:
        name: on the command line.
        title: one line.
        source: in the paper.
        n_seeds: how many seeds each arm has, by scale.
        probed: whether classifiers are trained on the latents.
    """

    name: str
    title: str
    source: str
    n_seeds: Mapping[Scale, int]
    probed: bool = False

    @abstractmethod
    def arms(self, scale: Scale) -> Arms:
        """What is trained."""

    def entries(self, arms: Arms) -> Sequence[Entry]:
        """The numbers of the table, for arms with the settings that they were trained with."""
        return ()

    def distances(self, scale: Scale) -> Sequence[str]:
        """Distances of pictures whose means tell the diversity of data and samples."""
        return ()

    def further(self, scale: Scale) -> Mapping[str, Measure]:
        """What else is measured of a finished run, by the name that it has in the results."""
        return {}

    def draw(self, outcomes: Outcomes) -> Drawn:
        """The figures, with the names of their files."""
        yield from ()

    def notes(self, scale: Scale) -> Sequence[str]:
        """What a reader of the results must know."""
        return [_NOTES[scale]] if scale in _NOTES else []


def first_runs(outcomes: Outcomes) -> list[Outcome]:
    """The run of every arm with its first seed."""
    firsts: dict[str, Outcome] = {}
    for outcome in outcomes:
        firsts.setdefault(outcome.arm.label, outcome)
    return list(firsts.values())


EXPERIMENTS: Registry[Experiment] = Registry("experiment")

register_experiments = EXPERIMENTS.add
"""Make experiments known to ``mfcvae reproduce`` by their names."""


def accuracy(arm: Arm, factor: str, facet: int, row: str, published: str = "") -> Entry:
    """The paper's accuracy of one facet and factor."""
    return Entry(
        arm=arm.label,
        row=row,
        column=f"{arm.title}, {factor}",
        metric=OWN_MAP,
        n_clusters=arm.config.model.facets[facet].n_clusters,
        path=("facets", facet, "factors", factor, "test", "majority_accuracy"),
        published="" if arm.is_quick else published,
    )


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


def agreement(
    arm: Arm, factor: str, facet: int, row: str, published: Mapping[str, str] | None = None
) -> list[Entry]:
    """Every accuracy that papers count by, and the NMI, of one facet and factor.

    Args:
        arm: the arm.
        factor: that the clusters are judged by.
        facet: j.
        row: of the table.
        published: published numbers by the measure's name in ``evaluation.json``.
    """
    published = {} if arm.is_quick else published or {}
    metrics = {
        "majority_accuracy": OWN_MAP,
        "majority_accuracy_training_map": "majority accuracy, held out, map of the training part",
        "hungarian_accuracy": "Hungarian accuracy, held out",
        "nmi": "NMI, held out",
    }
    return [
        Entry(
            arm=arm.label,
            row=row,
            column=f"{arm.title}, {factor}",
            metric=metric,
            n_clusters=arm.config.model.facets[facet].n_clusters,
            path=("facets", facet, "factors", factor, "test", name),
            published=published.get(name, ""),
        )
        for name, metric in metrics.items()
    ]
