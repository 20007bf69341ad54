"""Candidates x starts: which facets, clusters and latents suit a person's data, without labels."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.evaluation import redundancy
from pyro_mfcvae.evaluation.ranking import Candidate, Ranking, density_of, matched, rank, table_rows
from pyro_mfcvae.evaluation.slow import ROWS
from pyro_mfcvae.figures import save_figure
from pyro_mfcvae.figures.candidates import ranked_candidates
from pyro_mfcvae.files import making, write_whole
from pyro_mfcvae.inference.noise import start_seeds
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.studies.engine import Study, check_distinct
from pyro_mfcvae.studies.jobs import Arm, Datasets, Execution, Outcome, Record, Watch
from pyro_mfcvae.studies.many_runs import AsOne
from pyro_mfcvae.tables import Table, as_markdown, make_table, number


class Selection:
    """Candidates whose settings have been checked; nothing is trained yet.

    Args:
        configs: settings of the candidates by what they are called, all of the same data.
        n_starts: of each candidate.
        out: folder of the results and, in ``runs``, of all starts.
        dataset: the data.

    Raises:
        ConfigError, DataError: if something does not fit.
    """

    def __init__(
        self, configs: Mapping[str, Config], n_starts: int, out: Path, dataset: Dataset
    ) -> None:
        self.out, loaded = out, Datasets()
        for config in configs.values():
            loaded.load(config.data, dataset)
        self.arms = [Arm(label, config) for label, config in configs.items()]
        check_distinct(self.arms)
        self.seeds = start_seeds(self.arms[0].config.seed, n_starts)
        self.study = Study(self.arms, self.seeds, out, {ROWS: True}, datasets=loaded)

    def run(self, execution: Execution | None = None, watch: Watch | None = None) -> Ranking:
        """Train what is missing; interrupted starts go on, failed ones try again.

        Args:
            execution: what trains them; None trains the starts of a candidate as one program.
            watch: is told of every start's beginning and end.

        Raises:
            Interrupted: if Ctrl-C or SIGTERM ended it; everything so far is saved.
            TrainingError: if all starts of all candidates break down.
        """
        self.study.run(execution or AsOne(), watch or Watch(), lambda: None)
        return self.ranking()

    def starts(self, arm: Arm) -> list[Outcome]:
        """Finished starts of a candidate, that with the best held-out ELBO first.

        Raises:
            TrainingError: if there are none, with the reason.
        """
        records = [r for r in self.study.records.values() if r.job.arm is arm]
        found = [r.outcome for r in records if r.outcome is not None]
        if not found:
            raise TrainingError(f"{arm.label}: {records[0].error or 'no start is finished'}")
        return sorted(found, key=lambda outcome: -np.mean(_rows(outcome)["elbo"]))

    def ranking(self) -> Ranking:
        """The candidates in order."""
        return rank([candidate_of(self.starts(arm)) for arm in self.arms])

    def write(self, ranking: Ranking, command: str) -> None:
        """Write ``candidates.csv``, ``candidates.png``, ``selection.json`` and ``selection.md``.

        Args:
            ranking: of the candidates.
            command: that fits the recommended one.
        """
        rows = table_rows(ranking)
        results = {
            "recommendation": ranking.recommendation,
            "command": command,
            "seeds": self.seeds,
            "candidates": rows,
        }
        write_whole(self.out / "selection.json", json.dumps(results, indent=1) + "\n")
        text = io.StringIO()
        writer = csv.DictWriter(text, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_whole(self.out / "candidates.csv", text.getvalue())
        page = [
            ranking.recommendation,
            "",
            f"    {command}",
            "",
            as_markdown(results_table(ranking)),
        ]
        write_whole(self.out / "selection.md", "\n".join(page))
        save_figure(self.out / "candidates.png", ranked_candidates(ranking))


def candidate_of(starts: Sequence[Outcome]) -> Candidate:
    """What the finished starts of a candidate come to, the best start first."""
    best = starts[0].run.config
    clusters = [list(map(np.array, _rows(each)["clusters"])) for each in starts]
    return Candidate(
        n_clusters=tuple(facet.n_clusters for facet in best.model.facets),
        latent_dim=tuple(facet.latent_dim for facet in best.model.facets),
        elbo=np.array(_rows(starts[0])["elbo"]),
        starts=[float(np.mean(_rows(each)["elbo"])) for each in starts],
        stability=matched(clusters[0], clusters[1:]),
        redundancy=np.array([[redundancy(a, b) for b in clusters[0]] for a in clusters[0]]),
        used=tuple(len(np.unique(facet)) for facet in clusters[0]),
        density=density_of(best),
    )


def promote(run: Run, folder: Path) -> Run:
    """Copy a run's settings, checkpoints and log into a folder, which then is the same run."""
    for name in ("columns.json", "environment.json", "metrics.jsonl", "timings.json"):
        if (run.path / name).exists():
            write_whole(folder / name, (run.path / name).read_bytes())
    shutil.rmtree(folder / "checkpoints", ignore_errors=True)
    with making(folder / "checkpoints") as new:
        shutil.copytree(run.checkpoints, new, dirs_exist_ok=True)
    write_whole(folder / "config.json", (run.path / "config.json").read_bytes())
    return Run(folder)


def results_table(ranking: Ranking) -> Table:
    """The candidates, the recommended one first."""
    heads = ("candidate", "held-out ELBO", "behind the best", "clusters in use", "least stable")
    return make_table(
        "candidates, the recommended one first",
        (*heads, "most redundant"),
        [
            (
                row["candidate"],
                number(row["elbo"]),
                f"{row['behind']:.2f} ± {row['standard_error']:.2f}",
                ", ".join(map(str, row["used"])),
                number(row["stable"]),
                number(row["redundant"]),
            )
            for row in table_rows(ranking)
        ],
        note="ELBO in nats a row; behind: with the standard error of the paired differences. "
        "Stable and redundant are NMI. No label is read.",
    )


def mean_elbo(record: Record) -> str:
    """What came out of a start, in words."""
    if record.outcome is None:
        return record.state
    return f"held-out ELBO {np.mean(_rows(record.outcome)['elbo']):.2f}"


def _rows(outcome: Outcome) -> dict[str, Any]:
    return outcome.evaluation.slow[ROWS]
