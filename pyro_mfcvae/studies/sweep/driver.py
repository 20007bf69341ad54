"""A sweep: arms out of a spec, trained by the engine of all studies, and put in order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pyro_mfcvae.evaluation.slow import HALVES
from pyro_mfcvae.figures import save_figure
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.studies.engine import Study
from pyro_mfcvae.studies.execution import InTurn
from pyro_mfcvae.studies.jobs import Execution, Watch
from pyro_mfcvae.studies.sweep.arms import make_arms
from pyro_mfcvae.studies.sweep.results import as_page, draw, summarise
from pyro_mfcvae.studies.sweep.spec import Spec


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
        arms = make_arms(spec, data_dir, device, model, guide)
        self.study = Study(
            arms,
            spec.seeds,
            out,
            slow={HALVES: True},
            judge=lambda arm, data: spec.objective.check(arm.config, data),
        )

    def run(self, execution: Execution | None = None, watch: Watch | None = None) -> dict[str, Any]:
        """Train and measure what is missing; interrupted trials go on, failed ones try again.

        ``sweep.json``, ``table.md`` and ``trials.png`` are written after every trial.

        Args:
            execution: what trains the trials; None trains one after the other in this process.
            watch: is told of every trial's beginning and end.

        Returns:
            the results, which ``sweep.json`` holds as well.

        Raises:
            Interrupted: if Ctrl-C or SIGTERM ended it; everything so far is saved.
        """
        self.study.run(execution or InTurn(), watch or Watch(), self.write)
        return self.write()

    def write(self) -> dict[str, Any]:
        """Write what there is so far, and return it."""
        results = summarise(self.spec, list(self.study.records.values()))
        write_whole(self.out / "sweep.json", json.dumps(results, indent=1) + "\n")
        write_whole(self.out / "table.md", as_page(results))
        if any(trial["objective"] is not None for trial in results["trials"]):
            save_figure(self.out / "trials.png", draw(self.spec, results))
        return results
