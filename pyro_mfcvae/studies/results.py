"""What came out of a study: every seed, means and deviations, beside published numbers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.studies.jobs import Outcome
from pyro_mfcvae.tables import Table, as_markdown, make_table, number

_ENVIRONMENT = ("commit", "python", "packages", "cuda_device", "n_cpus")


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One number of a table: where it is measured, and what was published.

    Attributes:
        arm: label of its arm.
        row: of the table, such as the model.
        column: of the table, such as the data and the factor.
        metric: its full name.
        n_clusters: K, where the metric depends on it.
        path: where it stands in ``evaluation.json``, as of
            :func:`~pyro_mfcvae.evaluation.results.path_of`.
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

    def value(self, evaluation: Evaluation) -> float | None:
        """The number in an evaluation; None where it was not measured."""
        return evaluation.at(*self.path)


def describe(outcome: Outcome) -> dict[str, Any]:
    """A finished run: its settings' label, its seed, where it was trained, and its measures."""
    run, found = outcome.run, outcome.evaluation
    environment, stored = run.environment(), found.to_dict()
    return {
        "arm": outcome.arm.label,
        "seed": outcome.seed,
        "folder": run.path.name,
        "step": found.step,
        "n_epochs": run.config.training.n_epochs,
        "fade": list(outcome.fade),
        "seconds": outcome.seconds,
        **{key: environment.get(key) for key in _ENVIRONMENT},
        "elbo": {part: terms["elbo"] for part, terms in found.elbo.items()},
        "occupied_clusters": [facet.n_used() for facet in found.facets],
        **{row.name: stored[row.name]["test"] for row in found.measured("pair")},
        "facets": [
            {factor: values.test for factor, values in facet.factors.items()}
            for facet in found.facets
        ],
        **{name: stored[name] for name in found.slow},
    }


def table_line(entry: Entry, evaluations: Mapping[int, Evaluation]) -> dict[str, Any]:
    """One number over seeds.

    Args:
        entry: which number.
        evaluations: of the finished runs of the entry's arm, by seed.

    Returns:
        what the entry is, and its ``"values"`` by seed, their ``"mean"`` and ``"sd"``.
    """
    found = {seed: entry.value(given) for seed, given in evaluations.items()}
    values = {seed: value for seed, value in found.items() if value is not None}
    k = "" if entry.n_clusters is None else f", K = {entry.n_clusters}"
    return {
        "arm": entry.arm,
        "row": entry.row,
        "column": entry.column,
        "metric": entry.metric + k,
        "percent": entry.percent,
        "values": values,
        "mean": statistics.mean(values.values()) if values else None,
        "sd": statistics.stdev(values.values()) if len(values) > 1 else None,
        "published": entry.published,
    }


def as_cells(line: dict[str, Any]) -> tuple[str, str]:
    """Mean (sd) and number of seeds of a line, and its values, as text."""
    values = list(line["values"].values())
    if not values:
        return "not measured", ""
    form = (lambda v: f"{100 * v:.2f}") if line["percent"] else (lambda v: f"{v:.3f}")
    spread = "" if line["sd"] is None else f" ({form(line['sd'])})"
    seeds = "1 seed" if len(values) == 1 else f"{len(values)} seeds"
    return f"{form(line['mean'])}{spread}, {seeds}", ", ".join(map(form, values))


def results_table(results: dict[str, Any], brief: bool = False) -> Table:
    """Every number beside the published one.

    Args:
        results: of :func:`summarise`.
        brief: leave out the value of each seed.
    """
    columns = ["", "", "metric", "measured: mean (sd)", "each seed", "published"]
    rows = [
        [line["row"], line["column"], line["metric"], *as_cells(line), line["published"]]
        for line in results["table"]
    ]
    if brief:
        for cells in (columns, *rows):
            del cells[4]
    return make_table("", columns, rows, is_text=True)


def _runs_table(results: dict[str, Any]) -> Table:
    names = ["run", "seed", "epochs", "seconds", "ELBO, training", "ELBO, held out"]
    rows = [
        [
            run["arm"],
            str(run["seed"]),
            str(run["n_epochs"]),
            "" if run["seconds"] is None else f"{run['seconds']:.0f}",
            *(number(run["elbo"][part]) for part in ("train", "test")),
            ", ".join(map(str, run["occupied_clusters"])),
        ]
        for run in results["runs"]
    ]
    return make_table("", [*names, "clusters in use"], rows)


def as_page(results: dict[str, Any]) -> str:
    """The results in Markdown: where they come from, and the table beside the published numbers."""
    lines = [
        f"# {results['experiment']}: {results['title']}",
        "",
        f"Source: {results['source']}. Scale: {results['scale']}.",
        "",
        *(f"- {note}" for note in results["notes"]),
        *([""] if results["notes"] else []),
        *([as_markdown(results_table(results))] if results["table"] else []),
        as_markdown(_runs_table(results)),
        *(f"- {place}" for place in dict.fromkeys(map(_place, results["runs"]))),
    ]
    return "\n".join([*lines, ""])


def _place(run: Mapping[str, Any]) -> str:
    """Where and with what a run was trained."""
    packages = ", ".join(f"{name} {number}" for name, number in (run["packages"] or {}).items())
    return (
        f"commit {run['commit'] or 'unknown'}; Python {run['python']}, {packages}; "
        f"{run['cuda_device'] or 'CPU'}, {run['n_cpus']} cores"
    )
