"""The engine of all studies: settings x seeds, trained or gone on with, measured, one row each.

A run lives in a folder that its settings name, so that it serves every study with these settings:
finished runs are not repeated, interrupted ones go on, and one that fails does not end the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from typing_extensions import override

from pyro_mfcvae.config import Config, digest
from pyro_mfcvae.data import Dataset, in_folder, reads_files
from pyro_mfcvae.errors import ConfigError, DataError, RunError
from pyro_mfcvae.runs.complete import complete, finish, is_finished
from pyro_mfcvae.runs.measure import lacking
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import Parts
from pyro_mfcvae.signals import Interrupted, status_of
from pyro_mfcvae.studies.jobs import Arm, Datasets, Execution, Job, Outcome, Record, Watch
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.devices.launch import resolve_device
from pyro_mfcvae.training.no_effect import warn_of_no_effect
from pyro_mfcvae.training.preflight import check_objective_once
from pyro_mfcvae.training.say import Say, quiet

JUDGED: Parts = ("test", "train")  # clusters, while a run trains


class Study:
    """Arms and seeds whose settings and data have been checked; nothing is trained yet.

    Args:
        arms: the settings.
        seeds: with each of which every arm is trained.
        out: folder with the folder ``runs``.
        slow: what is measured of every run besides its evaluation.
        judge: raises a ConfigError if an arm's data lack what the study judges by.
        datasets: those that are loaded already.

    Raises:
        ConfigError, DataError: if something does not fit or is missing, with the arm's label.
    """

    def __init__(
        self,
        arms: Sequence[Arm],
        seeds: Sequence[int],
        out: Path,
        slow: Mapping[str, Any] | None = None,
        judge: Callable[[Arm, Dataset], None] = lambda arm, dataset: None,
        datasets: Datasets | None = None,
    ) -> None:
        self.out, self.slow, self.datasets = out, slow or {}, datasets or Datasets()
        _check(arms, self.datasets, judge)
        self.jobs = [
            Job(arm, config, run_folder(out, config), self.slow)
            for seed in seeds
            for arm in arms
            for config in [replace(arm.config, seed=seed)]
        ]
        self._outcomes: dict[Path, Outcome] = {}  # finished runs do not change
        self.records = {job.name: self._look(job) for job in self.jobs}

    @property
    def missing(self) -> list[Job]:
        """The jobs that are not finished."""
        return [r.job for r in self.records.values() if r.state != "finished"]

    def run(self, execution: Execution, watch: Watch, write: Callable[[], Any]) -> None:
        """Train and measure what is missing; interrupted runs go on, failed ones try again.

        Args:
            execution: what trains the runs.
            watch: is told of every job's beginning and end.
            write: writes the results, after every job.

        Raises:
            Interrupted: if Ctrl-C or SIGTERM ended it; everything so far is saved.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        write()
        try:
            execution.run(self.missing, _Keeper(self, watch, write), self.datasets)
        except KeyboardInterrupt as error:
            for record in list(self.records.values()):
                if record.state == "running":
                    self.keep(record.job)
            raise Interrupted(status_of(error) - 128) from None
        finally:
            write()

    def keep(self, job: Job, error: str | None = None) -> None:
        """Note how a job ended."""
        record = self._look(job)
        if error is not None:
            record = Record(job, "failed", error=error)
        elif record.state != "finished":
            record = Record(job, "interrupted")
        self.records[job.name] = record

    def outcomes(self, arm: Arm) -> Iterator[Outcome]:
        """All finished and measured runs of an arm in the folder, those of other seeds, too."""
        name = run_folder(self.out, replace(arm.config, seed=0)).name.removesuffix("0")
        ends = [path.name.removeprefix(name) for path in self.out.glob(f"runs/{name}*")]
        for seed in sorted(int(end) for end in ends if end.isdecimal()):
            if outcome := self._outcome(arm, run_folder(self.out, replace(arm.config, seed=seed))):
                yield outcome

    def _look(self, job: Job) -> Record:
        outcome = self._outcome(job.arm, job.folder)
        return Record(job, "waiting" if outcome is None else "finished", outcome)

    def _outcome(self, arm: Arm, folder: Path) -> Outcome | None:
        """The run in a folder if it is finished and measured; others may be at it right now."""
        if folder not in self._outcomes:
            dataset = self.datasets.load(arm.config.data)
            try:
                run = Run(folder)
                found = run.evaluation()
                if (
                    found is None
                    or not is_finished(run, dataset)
                    or lacking(run, dataset, self.slow) is not None
                ):
                    return None
                self._outcomes[folder] = Outcome(arm, run, dataset, found)
            except RunError:
                return None
        return self._outcomes[folder]


class _Keeper(Watch):
    """Keeps a study's records, then passes on what happens."""

    def __init__(self, study: Study, watch: Watch, write: Callable[[], Any]) -> None:
        self.study, self.watch, self.write = study, watch, write

    @override
    def on_begin(self, job: Job) -> None:
        self.study.records[job.name] = Record(job, "running")
        self.watch.on_begin(job)

    @override
    def on_step(self, job: Job, step: int, n_steps: int) -> None:
        self.watch.on_step(job, step, n_steps)

    @override
    def on_end(self, job: Job, error: str | None) -> None:
        self.study.keep(job, error)
        self.write()
        self.watch.on_end(job, error)


def run_folder(out: Path, config: Config) -> Path:
    """Where the run with these settings lives, whatever study asks for it."""
    name = f"{config.model.name}-{config.data.name}-{digest(config)}-seed-{config.seed}"
    return out / "runs" / name


def relocate(config: Config, data_dir: Path | None, device: str | None) -> Config:
    """Settings with the folder of the data's files, where they have any, and the device.

    Args:
        config: the settings.
        data_dir: None leaves the folder as it is.
        device: None leaves the device as it is.

    Raises:
        ConfigError: if the device cannot be used here.
    """
    if device is not None:
        resolve_device(device)
        config = replace(config, training=replace(config.training, device=device))
    if data_dir is not None and reads_files(config.data.name):
        config = replace(config, data=in_folder(config.data, data_dir))
    return config


def check_distinct(arms: Sequence[Arm]) -> None:
    """Raise a ConfigError if two arms have settings of one and the same run."""
    found: dict[Path, str] = {}
    for arm in arms:
        same = found.setdefault(run_folder(Path(), replace(arm.config, seed=0)), arm.label)
        if same != arm.label:
            raise ConfigError(f"{same} and {arm.label} are one model; vary what makes a difference")


@contextmanager
def naming(label: str) -> Iterator[None]:
    """Let errors name the settings that they are about."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(f"{label}: {error}") from None


def train_and_measure(
    job: Job, dataset: Dataset, callbacks: Sequence[Callback] = (), say: Say = quiet
) -> None:
    """Train a job to its end, or go on with it, and measure it, unless that was done.

    Its clusters are judged on the training part, too, each time they are on held-out data.

    Raises:
        Interrupted: if Ctrl-C or SIGTERM ended the training.
        RunError: if another process is at it, or the folder holds a run of other data.
    """
    run = finish(job.config, job.folder, dataset, callbacks, say, JUDGED)
    complete(run, dataset, say, anew=False, draw=False, slow=job.slow)


def _check(arms: Sequence[Arm], datasets: Datasets, judge: Callable[[Arm, Dataset], None]) -> None:
    """Tell before hours of work what does not fit, is missing or has no effect."""
    for arm in arms:
        with naming(arm.label):
            dataset = datasets.load(arm.config.data)
            judge(arm, dataset)
            _, state = prepare(arm.config, dataset)
            check_objective_once(state)
            warn_of_no_effect(state)
