"""What the settings of a sweep are ranked by.

One half of the held-out observations ranks them; the other half gives the numbers to report.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from pyro_mfcvae.config import Config, Whole
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError, did_you_mean
from pyro_mfcvae.evaluation.measures import MEASURES, Level, Measure, Part
from pyro_mfcvae.evaluation.results import path_of
from pyro_mfcvae.evaluation.slow import HALVES
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.studies.results import Entry

_PLACES: Mapping[Level, tuple[str, ...]] = {
    "run": (),
    "facet": ("facet",),
    "factor": ("facet", "factor"),
    "pair": ("facet", "other_facet"),
}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Criterion:
    """One number of a run, by default the ELBO of held-out observations.

    Attributes:
        measure: a name in the table of measures; ``"elbo"`` is in nats per observation, with all
            KLs at weight 1 and with the run's own likelihood.
        split: of the data; of the held-out part the half for choosing.
        mode: whether more is better; None takes what the table says.
        facet: j, of a measure of facets.
        factor: of a measure of a facet and a factor.
        other_facet: of a measure of two facets.
    """

    measure: str = "elbo"
    split: Part = "test"
    mode: Literal["max", "min"] | None = None
    facet: Whole | None = None
    factor: str | None = None
    other_facet: Whole | None = None

    def __post_init__(self) -> None:
        possible = [r.name for r in MEASURES.values() if r.function or r.name == "elbo"]
        if self.measure not in possible:
            raise unknown("measure", self.measure, possible)
        places = _PLACES[self.row.level]
        for place in ("facet", "factor", "other_facet"):
            if (getattr(self, place) is None) == (place in places):
                needed = " and ".join(f"a {name}" for name in places) or "no facet or factor"
                raise ValueError(f"{self.measure} needs {needed}: see {place}")
        if self.mode is None:
            if self.row.more_is_better is None:
                raise ValueError(f"of {self.measure} neither more nor less is better: give a mode")
            object.__setattr__(self, "mode", "max" if self.row.more_is_better else "min")

    @property
    def row(self) -> Measure:
        """The row of the table."""
        return MEASURES[self.measure]

    def __str__(self) -> str:
        facet = "" if self.facet is None else f"facet {self.facet}"
        other = "" if self.other_facet is None else f"facet {self.other_facet}"
        of = ", ".join(filter(None, (self.factor, facet, other)))
        unit = ", nats" if self.measure == "elbo" else ""
        rows = "training" if self.split == "train" else "held out for choosing"
        return f"{self.row.title}{unit}{of and f' ({of})'}, {rows}"

    def entry(self, arm: str) -> Entry:
        """Where it stands in the evaluation of an arm's runs."""
        return self._entry(arm, "choice", self.split)

    def reported_entry(self, arm: str) -> Entry:
        """Where the same measure of the held-out observations stands that choose nothing."""
        return self._entry(arm, "report", "test")

    def _entry(self, arm: str, half: str, split: Part) -> Entry:
        path = path_of(self.measure, split, self.facet, self.factor, self.other_facet)
        return Entry(
            arm=arm,
            row=arm,
            column="",
            metric=str(self),
            path=(HALVES, half, *path),
            percent=self.row.unit == "share",
        )

    def check(self, config: Config, dataset: Dataset) -> None:
        """Raise a ConfigError if there is no such facet or factor, or too little held out."""
        if len(dataset.test) < 2:
            raise ConfigError(
                "a sweep ranks by one half of the held-out observations and reports the other, but "
                f"only {len(dataset.test)} is held out; hold out more"
            )
        n_facets, factors = len(config.model.facets), ", ".join(dataset.labels)
        for facet in (self.facet, self.other_facet):
            if facet is None:
                continue
            if facet >= n_facets:
                raise ConfigError(
                    f"the objective is of facet {facet}, but the model has facets 0 to "
                    f"{n_facets - 1}"
                )
            if not config.model.facets[facet].has_clusters:
                raise ConfigError(
                    f"the objective is of facet {facet}, which has one cluster only and so no "
                    "clustering; choose another facet, or give it more clusters"
                )
        if self.factor is not None and self.factor not in dataset.labels:
            raise ConfigError(
                f"the objective is of factor {self.factor!r}, but the data have "
                f"{f'only {factors}' if factors else 'no labels'}"
                f"{did_you_mean(self.factor, dataset.labels)}"
            )
