"""Running an experiment: check, train what is missing, measure, write, draw."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyro_mfcvae.config import config_to_dict, digest, override
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import ConfigError, DataError, RunError
from pyro_mfcvae.evaluation.perceptual import require_lpips
from pyro_mfcvae.figures import save_figure
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.studies.engine import Study, check_distinct, relocate
from pyro_mfcvae.studies.execution import InTurn
from pyro_mfcvae.studies.jobs import Arm, Execution, Outcome, Watch
from pyro_mfcvae.studies.papers.experiment import SCALES, Experiment, Scale
from pyro_mfcvae.studies.results import as_page, describe, table_line


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
        self.arms = _make_arms(experiment, request)
        slow = experiment.slow_at(request.scale)
        if "lpips" in slow.get("diversity", ()):
            require_lpips()
        n_seeds = request.n_seeds or experiment.n_seeds[request.scale]
        chosen = [arm for arm in self.arms if arm.label in (request.only or arm.label)]
        check_distinct(chosen)
        try:
            self.study = Study(
                chosen,
                range(request.first_seed, request.first_seed + n_seeds),
                request.out,
                slow,
                _check_labels,
            )
        except DataError as error:
            raise DataError(f"{error}{_how_to_leave_out(str(error), self.arms)}") from None

    @property
    def folder(self) -> Path:
        """Of the results; another one for other settings than the experiment's own."""
        scale = self.request.scale
        name = self.experiment.name + f"-{scale}" * (scale != "full")
        own = {arm.label: digest(arm.config) for arm in self.experiment.arms(scale)}
        changed = [d for arm in self.arms if (d := digest(arm.config)) != own[arm.label]]
        return self.request.out / "-".join([name, *changed[:1]])

    def run(
        self, execution: Execution | None = None, watch: Watch | None = None
    ) -> tuple[dict[str, Any], Path]:
        """Train, measure and draw; finished runs are not repeated, interrupted ones go on.

        Results are written after every run, figures at the end. They have every finished run of
        the experiment, those of earlier requests with the same settings included.

        Args:
            execution: what trains the runs; None trains one after the other in this process.
            watch: is told of every run's beginning and end.

        Returns:
            the results, as of :func:`summarise`, and their folder.

        Raises:
            Interrupted: if Ctrl-C or SIGTERM ended a training.
            RunError: once the others have ended and all is written, if runs failed.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self.study.run(execution or InTurn(), watch or Watch(), self._write)
        results = self._write(draw=True)
        records = self.study.records.values()
        if errors := [f"{r.job}: {r.error}" for r in records if r.error is not None]:
            raise RunError("; ".join(errors))
        return results, self.folder

    def outcomes(self) -> list[Outcome]:
        """All finished and measured runs of the experiment, by arm and seed."""
        return [outcome for arm in self.arms for outcome in self.study.outcomes(arm)]

    def _write(self, draw: bool = False) -> dict[str, Any]:
        outcomes, n_missing = self.outcomes(), len(self.study.missing)
        results = summarise(self.experiment, self.request, self.arms, outcomes, n_missing)
        if draw and outcomes:
            results["figures"], problems = _draw(self.experiment, outcomes, self.folder)
            results["notes"] += problems
        write_whole(self.folder / "results.json", json.dumps(results, indent=1) + "\n")
        write_whole(self.folder / "table.md", as_page(results))
        return results


def reproduce(
    experiment: Experiment,
    request: Request,
    execution: Execution | None = None,
    watch: Watch | None = None,
) -> tuple[dict[str, Any], Path]:
    """Check an experiment, then run it: arguments and results as of :meth:`Plan.run`."""
    return Plan(experiment, request).run(execution, watch)


def summarise(
    experiment: Experiment,
    request: Request,
    arms: Sequence[Arm],
    outcomes: Sequence[Outcome],
    n_missing: int = 0,
) -> dict[str, Any]:
    """All results as one dictionary for JSON.

    Args:
        experiment: the experiment.
        request: how it was asked for.
        arms: with the settings that they are trained with.
        outcomes: of all finished runs.
        n_missing: runs that were asked for and are not finished yet.

    Returns:
        where the results come from, and ``"arms"`` with the settings of each, ``"runs"`` with
        every finished run and where it was trained, ``"table"`` with each number's ``"values"``
        by seed, ``"mean"``, ``"sd"`` (of a sample; null for a single seed) and ``"published"``.
    """
    trained = {outcome.arm.label for outcome in outcomes}
    runs = [describe(outcome) for outcome in outcomes]
    notes = [*experiment.notes(request.scale), *_warnings(runs)]
    if request.assignments:
        notes.append(f"settings changed: {', '.join(request.assignments)}")
    if n_missing:
        notes.append(f"incomplete: {n_missing} runs are still to come")
    return {
        "experiment": experiment.name,
        "title": experiment.title,
        "source": experiment.source,
        "scale": request.scale,
        "n_missing": n_missing,
        "notes": notes,
        "arms": {arm.label: config_to_dict(arm.config) for arm in arms if arm.label in trained},
        "runs": runs,
        "table": [
            table_line(entry, {o.seed: o.evaluation for o in outcomes if o.arm.label == entry.arm})
            for entry in experiment.entries(arms)
            if entry.arm in trained
        ],
    }


def _warnings(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [
        f"{run['arm']}, seed {run['seed']}: facets ended with fade weights {run['fade']}"
        for run in runs
        if min(run["fade"]) < 1
    ]


def _make_arms(experiment: Experiment, request: Request) -> list[Arm]:
    """All arms, those that are asked for with the settings that were given.

    Finished runs of the others are shown, for which their data are needed.

    Raises:
        ConfigError: if there is no such arm, or a setting does not fit.
    """
    arms = list(experiment.arms(request.scale))
    labels = [arm.label for arm in arms]
    for label in request.only:
        if label not in labels:
            raise unknown(f"model of {experiment.name}", label, labels)
    made = []
    for arm in arms:
        given = request.assignments if arm.label in (request.only or labels) else ()
        try:
            config = override(arm.config, given)
        except ConfigError as error:
            hint = "; choose the models that it fits with --only" if len(arms) > 1 else ""
            raise ConfigError(f"{arm.label}: {error}{hint}") from None
        made.append(replace(arm, config=relocate(config, request.data_dir, request.device)))
    return made


def _check_labels(arm: Arm, dataset: Dataset) -> None:
    if lacking := set(arm.facets) - set(dataset.labels):
        raise ConfigError(
            f"the data have no labels {', '.join(sorted(lacking))}, by which this experiment judges"
        )


def _how_to_leave_out(error: str, arms: Sequence[Arm]) -> str:
    """How to leave out the arm whose data an error, which begins with its label, is about."""
    missing = next(arm.config.data for arm in arms if error.startswith(f"{arm.label}: "))
    others = [arm.label for arm in arms if arm.config.data != missing]
    return f"; without it: --only {','.join(others)}" if others else ""


def _draw(
    experiment: Experiment, outcomes: Sequence[Outcome], folder: Path
) -> tuple[list[str], list[str]]:
    """Names of the figures, and what could not be drawn."""
    names: list[str] = []
    try:
        for name, figure in experiment.draw(experiment, outcomes):
            save_figure(folder / f"{name}.png", figure)
            names.append(f"{name}.png")
    except ValueError as error:
        return names, [f"not all figures could be drawn: {error}"]
    return names, []
