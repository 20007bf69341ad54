"""What came out of a study: every seed, means and deviations, beside published numbers."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pyro_mfcvae.studies.jobs import Outcome

_SLOW = ("probe", "diversity", "groups", "domains")
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
        path: where it stands in the measures of a run: keys and indices, the outermost first.
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

    def value(self, measures: Mapping[str, Any]) -> float | None:
        """The number in the measures of a run; None where it was not measured."""
        found: Any = measures
        for key in self.path:
            try:
                found = found[key]
            except (KeyError, IndexError):
                return None
        return float(found)


def described(outcome: Outcome) -> dict[str, Any]:
    """A finished run: its settings' label, its seed, where it was trained, and its measures."""
    run, measures = outcome.run, outcome.measures
    environment = run.environment()
    return {
        "arm": outcome.arm.label,
        "seed": outcome.seed,
        "folder": run.path.name,
        "step": measures["step"],
        "n_epochs": run.config.training.n_epochs,
        "fade": list(outcome.fade),
        "seconds": outcome.seconds,
        **{key: environment.get(key) for key in _ENVIRONMENT},
        "elbo": {part: terms["elbo"] for part, terms in measures["elbo"].items()},
        "occupied_clusters": [f["occupied_clusters"]["test"] for f in measures["facets"]],
        "redundancy": measures["redundancy"]["test"],
        "facets": [
            {factor: values["test"] for factor, values in facet["factors"].items()}
            for facet in measures["facets"]
        ],
        **{key: measures[key] for key in _SLOW if key in measures},
    }


def table_line(entry: Entry, measures: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """One number over seeds.

    Args:
        entry: which number.
        measures: of the finished runs of the entry's arm, by seed.

    Returns:
        what the entry is, and its ``"values"`` by seed, their ``"mean"`` and ``"sd"``.
    """
    found = {seed: entry.value(given) for seed, given in measures.items()}
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


def shown(line: dict[str, Any]) -> tuple[str, str]:
    """Mean (sd) and number of seeds of a line, and its values, as text."""
    values = list(line["values"].values())
    if not values:
        return "not measured", ""
    form = (lambda v: f"{100 * v:.2f}") if line["percent"] else (lambda v: f"{v:.3f}")
    spread = "" if line["sd"] is None else f" ({form(line['sd'])})"
    seeds = "1 seed" if len(values) == 1 else f"{len(values)} seeds"
    return f"{form(line['mean'])}{spread}, {seeds}", ", ".join(map(form, values))


def as_markdown(results: dict[str, Any]) -> str:
    """The results as a page: where they come from, and the table beside the published numbers."""
    lines = [
        f"# {results['experiment']}: {results['title']}",
        "",
        f"Source: {results['source']}. Scale: {results['scale']}.",
        "",
        *(f"- {note}" for note in results["notes"]),
        *([""] if results["notes"] else []),
    ]
    if results["table"]:
        lines += [
            "| | | metric | measured: mean (sd) | each seed | published |",
            "|---|---|---|---|---|---|",
        ]
        for line in results["table"]:
            mean, each = shown(line)
            cells = (line["row"], line["column"], line["metric"], mean, each, line["published"])
            lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
        lines.append("")
    lines += [
        "| run | seed | epochs | seconds | ELBO, training | ELBO, held out | clusters in use |",
        "|---|---|---|---|---|---|---|",
    ]
    for run in results["runs"]:
        seconds = "" if run["seconds"] is None else f"{run['seconds']:.0f}"
        used = ", ".join(map(str, run["occupied_clusters"]))
        lines.append(
            f"| {run['arm']} | {run['seed']} | {run['n_epochs']} | {seconds} | "
            f"{run['elbo']['train']:.2f} | {run['elbo']['test']:.2f} | {used} |"
        )
    places = dict.fromkeys(_place(run) for run in results["runs"])
    return "\n".join([*lines, "", *(f"- {place}" for place in places), ""])


def _place(run: Mapping[str, Any]) -> str:
    """Where and with what a run was trained."""
    packages = ", ".join(f"{name} {number}" for name, number in (run["packages"] or {}).items())
    return (
        f"commit {run['commit'] or 'unknown'}; Python {run['python']}, {packages}; "
        f"{run['cuda_device'] or 'CPU'}, {run['n_cpus']} cores"
    )
