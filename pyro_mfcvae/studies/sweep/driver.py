"""Running a sweep: check, train what is missing, and write after every trial."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from typing_extensions import override

from pyro_mfcvae.figures import save_figure
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.runs.complete import Interrupted
from pyro_mfcvae.studies.papers.running import Datasets, finished_outcome
from pyro_mfcvae.studies.sweep.engines import InTurn, SweepEngine, Watch
from pyro_mfcvae.studies.sweep.results import Record, as_markdown, draw, summarise
from pyro_mfcvae.studies.sweep.spec import Spec
from pyro_mfcvae.studies.sweep.trials import Trial, all_trials, check


class Sweep:
    """A sweep whose settings and data have been checked; nothing is trained yet.

    Args:
        spec: the sweep.
        out: folder of the results and, in ``runs``, of the trials.
        data_dir: folder of the data's files.
        device: to train on; None leaves the settings as they are.
        model: a model's name, or ``path/to/file.py:Name``; None leaves the settings as they are.
        guide: likewise of a guide, which the sweep may still vary by name.

    Raises:
        ConfigError, DataError: if something does not fit or is missing.
    """

    def __init__(
        self,
        spec: Spec,
        out: Path,
        data_dir: Path | None = None,
        device: str | None = None,
        model: str | None = None,
        guide: str | None = None,
    ) -> None:
        self.spec, self.out = spec, out
        self.trials = all_trials(spec, out, data_dir, device, model, guide)
        self._datasets = Datasets()
        check(self.trials, spec, self._datasets)
        self.records = {trial.name: self._found(trial) for trial in self.trials}

    @property
    def missing(self) -> list[Trial]:
        """The trials that are not finished."""
        return [r.trial for r in self.records.values() if r.state != "finished"]

    def run(self, engine: SweepEngine | None = None, watch: Watch | None = None) -> dict[str, Any]:
        """Train and measure what is missing; interrupted trials go on, failed ones try again.

        ``sweep.json``, ``table.md`` and ``trials.png`` are written after every trial.

        Args:
            engine: what trains the trials; None trains one after the other in this process.
            watch: is told of every trial's beginning and end.

        Returns:
            the results, as of :func:`~pyro_mfcvae.studies.sweep.results.summarise`.

        Raises:
            Interrupted: if Ctrl-C or SIGTERM ended it; everything so far is saved.
        """
        self.out.mkdir(parents=True, exist_ok=True)
        self.write()
        try:
            missing = self.missing
            (engine or InTurn()).run(missing, _Keeper(self, watch or Watch()), self._datasets)
        except KeyboardInterrupt:
            for record in list(self.records.values()):
                if record.state == "running":
                    self._keep(record.trial)
            raise Interrupted from None
        finally:
            results = self.write()
        return results

    def write(self) -> dict[str, Any]:
        """Write what there is so far, and return it."""
        results = summarise(self.spec, list(self.records.values()))
        write_whole(self.out / "sweep.json", json.dumps(results, indent=1) + "\n")
        write_whole(self.out / "table.md", as_markdown(results))
        if any(trial["objective"] is not None for trial in results["trials"]):
            save_figure(self.out / "trials.png", draw(self.spec, results))
        return results

    def begin(self, trial: Trial) -> None:
        """Note that a trial is being trained."""
        self.records[trial.name] = Record(trial, "running")

    def end(self, trial: Trial, error: str | None) -> None:
        """Note how a trial ended, and write."""
        self._keep(trial, error)
        self.write()

    def _keep(self, trial: Trial, error: str | None = None) -> None:
        record = self._found(trial)
        if error is not None:
            record = Record(trial, "failed", error=error)
        elif record.state != "finished":
            record = Record(trial, "interrupted")
        self.records[trial.name] = record

    def _found(self, trial: Trial) -> Record:
        dataset = self._datasets.load(trial.config.data)
        outcome = finished_outcome(trial.arm, trial.folder, dataset)
        return Record(trial, "waiting" if outcome is None else "finished", outcome)


class _Keeper(Watch):
    """Keeps a sweep's records, then passes on what happens."""

    def __init__(self, sweep: Sweep, watch: Watch) -> None:
        self.sweep, self.watch = sweep, watch

    @override
    def on_begin(self, trial: Trial) -> None:
        self.sweep.begin(trial)
        self.watch.on_begin(trial)

    @override
    def on_step(self, trial: Trial, step: int, n_steps: int) -> None:
        self.watch.on_step(trial, step, n_steps)

    @override
    def on_end(self, trial: Trial, error: str | None) -> None:
        self.sweep.end(trial, error)
        self.watch.on_end(trial, error)
