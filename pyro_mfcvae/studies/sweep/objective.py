"""What the trials of a sweep are judged by."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from pyro_mfcvae.config import Config, Whole
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.studies.results import Entry

Agreement = Literal[
    "majority_accuracy",
    "majority_accuracy_training_map",
    "class_weighted_accuracy",
    "hungarian_accuracy",
    "nmi",
    "homogeneity",
    "ari",
]
AGREEMENT: tuple[str, ...] = get_args(Agreement)

_PARTS = {"train": "training", "test": "held out"}


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Objective:
    """One number of a run's ``evaluation.json``.

    Attributes:
        measure: ``"elbo"``, in nats per observation and with the run's own likelihood, or how a
            facet's clusters agree with a factor.
        split: of the data.
        mode: whether more is better.
        facet: j, of an agreement.
        factor: of an agreement.
    """

    measure: Literal["elbo"] | Agreement = "elbo"
    split: Literal["train", "test"] = "test"
    mode: Literal["max", "min"] = "max"
    facet: Whole | None = None
    factor: str | None = None

    def __post_init__(self) -> None:
        given = [self.facet is not None, self.factor is not None]
        if self.measure in AGREEMENT and not all(given):
            raise ValueError(f"{self.measure} needs a facet and a factor")
        if self.measure == "elbo" and any(given):
            raise ValueError(
                "elbo is of no facet or factor; leave them out, or choose a measure "
                f"of agreement: {', '.join(AGREEMENT)}"
            )

    @property
    def is_agreement(self) -> bool:
        """Whether it is a share, of a facet and a factor."""
        return self.measure != "elbo"

    def __str__(self) -> str:
        measure = self.measure.replace("_", " ") if self.is_agreement else "ELBO, nats"
        of = f" of {self.factor} in facet {self.facet}" if self.is_agreement else ""
        return f"{measure}{of}, {_PARTS[self.split]}"

    def entry(self, arm: str) -> Entry:
        """Where it stands in the measures of an arm's runs."""
        path: tuple[str | int, ...] = ("elbo", self.split, "elbo")
        if self.is_agreement:
            path = ("facets", self.facet, "factors", self.factor, self.split, self.measure)
        return Entry(
            arm=arm, row=arm, column="", metric=str(self), path=path, percent=self.is_agreement
        )

    def check(self, config: Config, dataset: Dataset) -> None:
        """Raise a ConfigError if there is no such facet or factor."""
        if not self.is_agreement:
            return
        n_facets, factors = len(config.model.facets), ", ".join(dataset.labels)
        if self.facet >= n_facets:
            raise ConfigError(
                f"the objective is of facet {self.facet}, but the model has facets 0 to "
                f"{n_facets - 1}"
            )
        if not config.model.facets[self.facet].has_clusters:
            raise ConfigError(
                f"the objective is of facet {self.facet}, which has one cluster only and so no "
                "clustering; choose another facet, or give it more clusters"
            )
        if self.factor not in dataset.labels:
            raise ConfigError(
                f"the objective is of factor {self.factor!r}, but the data have "
                f"{f'only {factors}' if factors else 'no labels'}"
            )
