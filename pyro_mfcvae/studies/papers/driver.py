"""Running an experiment: check, train what is missing, measure, write, draw."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyro_mfcvae.config import Component, override
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.evaluation.perceptual import require_lpips
from pyro_mfcvae.figures import save_figure
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.studies.papers.definition import SCALES, Arm, Experiment, Outcome, Scale
from pyro_mfcvae.studies.papers.results import as_markdown, summarise
from pyro_mfcvae.studies.papers.running import (
    Datasets,
    finish_run,
    finished_outcome,
    measure_run,
    placed,
    run_folder,
)
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.callbacks import Say


@dataclass(frozen=True)
class Request:
    """How an experiment is to be run.

    Attributes:
        scale: ``"full"``, ``"reduced"`` in length for machines without a GPU, or ``"quick"``.
        n_seeds: how many seeds; None takes the experiment's own number.
        first_seed: counted on from here.
        only: labels of the arms to run; empty takes all.
        assignments: ``dotted.path=value`` for all arms.
        data_dir: folder of the data's files.
        device: to train on; None leaves the settings as they are.
        out: folder of all results and runs.

    Raises:
        ConfigError: if the scale is unknown, there are no seeds, or the seed is assigned.
    """

    scale: Scale = "full"
    n_seeds: int | None = None
    first_seed: int = 0
    only: Sequence[str] = ()
    assignments: Sequence[str] = ()
    data_dir: Path | None = None
    device: str | None = None
    out: Path = Path("reproduced")

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise unknown("scale", self.scale, SCALES)
        if self.first_seed < 0 or (self.n_seeds is not None and self.n_seeds < 1):
            raise ConfigError(
                "expected a first seed from 0 on and at least one seed, got "
                f"{self.first_seed} and {self.n_seeds}"
            )
        if any(text.partition("=")[0].strip() == "seed" for text in self.assignments):
            raise ConfigError("the seeds of an experiment are given with --seeds and --first-seed")


class Plan:
    """An experiment whose settings and data have been checked; nothing is trained yet.

    Args:
        experiment: the experiment.
        request: how to run it.

    Raises:
        ConfigError, DataError: if something does not fit or is missing.
    """

    def __init__(self, experiment: Experiment, request: Request) -> None:
        self.experiment, self.request = experiment, request
        self.arms = _arms(experiment, request)
        self.distances = experiment.distances(request.scale)
        self.further = experiment.further(request.scale)
        if "lpips" in self.distances:
            require_lpips()
        self._datasets = Datasets()
        self._outcomes: dict[Path, Outcome] = {}  # finished runs do not change
        for arm in self.chosen:
            self._check(arm)

    @property
    def chosen(self) -> list[Arm]:
        """The arms that are asked for."""
        return [arm for arm in self.arms if arm.label in (self.request.only or arm.label)]

    @property
    def folder(self) -> Path:
        """Of the results; another one for other settings than the experiment's own."""
        name = self.experiment.name
        if self.request.scale != "full":
            name += f"-{self.request.scale}"
        own = {arm.label: arm for arm in self.experiment.arms(self.request.scale)}
        changed = [
            arm
            for arm in self.arms
            if run_folder(Path(), arm.config) != run_folder(Path(), own[arm.label].config)
        ]
        if changed:
            name += "-" + run_folder(Path(), changed[0].config).name.split("-")[-3]
        return self.request.out / name

    def run(
        self,
        callbacks: Sequence[Callback] = (),
        say: Say = lambda _: None,
        on_run: Callable[[str], None] = lambda _: None,
    ) -> tuple[dict[str, Any], Path]:
        """Train, measure and draw; finished runs are not repeated, interrupted ones go on.

        Results are written after every run, figures at the end. They have every finished run of
        the experiment, those of earlier requests with the same settings included.

        Args:
            callbacks: of the training loop.
            say: is told what is going on.
            on_run: is told of every run before it begins.

        Returns:
            the results, as of :func:`~pyro_mfcvae.studies.papers.results.summarise`, and their
            folder.

        Raises:
            Interrupted: if Ctrl-C or SIGTERM ended a training.
        """
        request, folder = self.request, self.folder
        n_seeds = request.n_seeds or self.experiment.n_seeds[request.scale]
        seeds = range(request.first_seed, request.first_seed + n_seeds)
        folder.mkdir(parents=True, exist_ok=True)
        asked = [(seed, arm) for seed in seeds for arm in self.chosen]
        for i, (seed, arm) in enumerate(asked):
            on_run(f"run {i + 1} of {len(asked)}: {arm.label}, seed {seed}")
            config = replace(arm.config, seed=seed)
            dataset = self.dataset(config.data)
            run = finish_run(config, run_folder(request.out, config), dataset, callbacks, say)
            probed = self.experiment.probed
            measure_run(arm, run, dataset, probed, self.distances, say, self.further)
            self._write(folder, n_missing=len(asked) - i - 1)
        say("drawing")
        return self._write(folder, draw=True), folder

    def dataset(self, data: Component) -> Dataset:
        """The data of some settings, loaded once."""
        return self._datasets.load(data)

    def outcomes(self) -> list[Outcome]:
        """All finished and measured runs of the experiment, by arm and seed."""
        return [outcome for arm in self.arms for outcome in self._found(arm)]

    def _found(self, arm: Arm) -> Iterator[Outcome]:
        pattern = run_folder(self.request.out, arm.config).name.removesuffix(
            f"seed-{arm.config.seed}"
        )
        runs = self.request.out / "runs"
        seeds = sorted(
            int(path.name.removeprefix(f"{pattern}seed-")) for path in runs.glob(f"{pattern}seed-*")
        )
        for seed in seeds:
            folder = run_folder(self.request.out, replace(arm.config, seed=seed))
            if folder not in self._outcomes and (found := self._finished(arm, folder)):
                self._outcomes[folder] = found
            if folder in self._outcomes:
                yield self._outcomes[folder]

    def _finished(self, arm: Arm, folder: Path) -> Outcome | None:
        dataset, probed = self.dataset(arm.config.data), self.experiment.probed
        return finished_outcome(arm, folder, dataset, probed, self.distances, self.further)

    def _write(self, folder: Path, n_missing: int = 0, draw: bool = False) -> dict[str, Any]:
        outcomes = self.outcomes()
        results = summarise(self.experiment, self.request, self.arms, outcomes, n_missing)
        if draw:
            results["figures"], problems = _draw(self.experiment, outcomes, folder)
            results["notes"] += problems
        write_whole(folder / "results.json", json.dumps(results, indent=1) + "\n")
        write_whole(folder / "table.md", as_markdown(results))
        return results

    def _check(self, arm: Arm) -> None:
        """What does not fit or is missing is told before hours of work."""
        try:
            dataset, _ = prepare(arm.config)
            if lacking := set(arm.facets) - set(dataset.labels):
                raise ConfigError(
                    f"the data have no labels {', '.join(sorted(lacking))}, by which this "
                    "experiment judges"
                )
        except (ConfigError, DataError) as error:
            others = [o.label for o in self.arms if o.config.data != arm.config.data]
            hint = f"; without it: --only {','.join(others)}" if others else ""
            raise type(error)(f"{arm.label}: {error}{hint}") from None


def reproduce(
    experiment: Experiment,
    request: Request,
    callbacks: Sequence[Callback] = (),
    say: Say = lambda _: None,
    on_run: Callable[[str], None] = lambda _: None,
) -> tuple[dict[str, Any], Path]:
    """Check an experiment, then run it: arguments and results as of :meth:`Plan.run`."""
    return Plan(experiment, request).run(callbacks, say, on_run)


def _arms(experiment: Experiment, request: Request) -> list[Arm]:
    """All arms, those that are asked for with the settings that were given.

    Raises:
        ConfigError: if there is no such arm, a setting does not fit, or makes two arms one.
    """
    arms = list(experiment.arms(request.scale))
    labels = [arm.label for arm in arms]
    for label in request.only:
        if label not in labels:
            raise unknown(f"model of {experiment.name}", label, labels)
    found: dict[Path, str] = {}
    for i, arm in enumerate(arms):
        if request.only and arm.label not in request.only:
            # Finished runs of it are shown, for which its data are needed.
            arms[i] = replace(arm, config=placed(arm.config, request.data_dir, request.device))
            continue
        try:
            config = override(arm.config, request.assignments)
        except ConfigError as error:
            hint = "; choose the models that it fits with --only" if len(arms) > 1 else ""
            raise ConfigError(f"{arm.label}: {error}{hint}") from None
        arms[i] = replace(arm, config=placed(config, request.data_dir, request.device))
        same = found.setdefault(run_folder(Path(), config), arm.label)
        if same != arm.label:
            raise ConfigError(
                f"with these settings {same} and {arm.label} are one model, and {experiment.name} "
                "compares nothing"
            )
    return arms


def _draw(
    experiment: Experiment, outcomes: Sequence[Outcome], folder: Path
) -> tuple[list[str], list[str]]:
    """Names of the figures, and what could not be drawn."""
    names: list[str] = []
    try:
        for name, figure in experiment.draw(outcomes):
            save_figure(folder / f"{name}.png", figure)
            names.append(f"{name}.png")
    except ValueError as error:
        return names, [f"not all figures could be drawn: {error}"]
    return names, []
