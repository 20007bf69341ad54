"""What studies are made of: arms, jobs and their outcomes."""

from __future__ import annotations

import functools
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from typing_extensions import override

from pyro_mfcvae.config import Component, Config
from pyro_mfcvae.data import Dataset, load_dataset
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.runs.run import Run

State = Literal["waiting", "running", "finished", "failed", "interrupted"]


@dataclass(frozen=True)
class Arm:
    """Settings that are trained with several seeds.

    Attributes:
        label: what tells it from the study's other arms.
        config: the settings; their seed is replaced.
        title: of the data or of what was changed, as it stands in tables and figures.
        facets: {factor: facet that is to find it}.
        values: what differs from the other arms of a sweep, by dotted path.
    """

    label: str
    config: Config
    title: str = ""
    facets: Mapping[str, int] = field(default_factory=dict)
    values: Mapping[str, Any] = field(default_factory=dict)

    @property
    def is_quick(self) -> bool:
        """Whether published numbers are of other data."""
        return (self.config.preset or "").startswith("quick")


@dataclass(frozen=True, eq=False)
class Job:
    """One run of a study: an arm with a seed.

    Attributes:
        arm: its settings.
        config: the same with the run's seed.
        folder: of the run.
        slow: what is measured of it besides its evaluation, as of
            :func:`~pyro_mfcvae.runs.measure.evaluate_run`.
    """

    arm: Arm
    config: Config
    folder: Path
    slow: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.config.seed

    @property
    def name(self) -> str:
        """The same wherever and whenever these settings are trained with this seed."""
        return self.folder.name

    @override
    def __str__(self) -> str:
        return f"{self.arm.label}, seed {self.seed}"


@dataclass(frozen=True, eq=False)
class Outcome:
    """A finished run of an arm.

    Attributes:
        arm: the arm.
        run: the run.
        dataset: its data.
        evaluation: its results.
    """

    arm: Arm
    run: Run
    dataset: Dataset
    evaluation: Evaluation

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.run.config.seed

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


@dataclass(frozen=True, eq=False)
class Record:
    """How far a job has come.

    Attributes:
        job: the job.
        state: how far.
        outcome: the finished run.
        error: what went wrong with a failed one.
    """

    job: Job
    state: State = "waiting"
    outcome: Outcome | None = None
    error: str | None = None


class Watch:
    """Hooks of a study; each does nothing unless overridden."""

    def on_begin(self, job: Job) -> None:
        """Before a job is trained."""

    def on_step(self, job: Job, step: int, n_steps: int) -> None:
        """Now and then while a job is trained."""

    def on_end(self, job: Job, error: str | None) -> None:
        """After a job has been trained and measured, or has failed."""


class Datasets:
    """The data of several runs, loaded once for all that share them."""

    def __init__(self) -> None:
        self._loaded: dict[str, Dataset] = {}

    def load(self, data: Component, loaded: Dataset | None = None) -> Dataset:
        """The data of some settings, which may have been loaded already."""
        key = json.dumps([data.name, data.options], sort_keys=True)
        if key not in self._loaded:
            self._loaded[key] = load_dataset(data) if loaded is None else loaded
        return self._loaded[key]


class Execution(ABC):
    """Trains and measures jobs."""

    @abstractmethod
    def run(self, jobs: Sequence[Job], watch: Watch, datasets: Datasets) -> None:
        """Train and measure every job; one that fails does not end the others.

        Args:
            jobs: that are not finished.
            watch: is told of each one's beginning and end.
            datasets: of the jobs.

        Raises:
            KeyboardInterrupt: if Ctrl-C or SIGTERM ended a training; everything so far is saved.
        """
