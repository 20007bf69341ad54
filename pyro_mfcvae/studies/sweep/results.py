"""What came out of a sweep: every trial, and means over seeds, the best setting first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pyro_mfcvae import figures
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.evaluation.slow import HALVES
from pyro_mfcvae.studies.jobs import Record
from pyro_mfcvae.studies.results import as_cells, describe, table_line
from pyro_mfcvae.studies.sweep.arms import as_text, short_names
from pyro_mfcvae.studies.sweep.spec import Spec, spec_to_dict
from pyro_mfcvae.tables import Table, as_markdown, make_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_NUMBERS = ("values", "mean", "sd")


def summarise(spec: Spec, records: Sequence[Record]) -> dict[str, Any]:
    """All results as one dictionary for JSON.

    Args:
        spec: the sweep.
        records: of all trials.

    Returns:
        ``"spec"``, ``"objective"`` in words, ``"chosen_by_labels"`` with the factor whose labels
        rank the settings, or null, ``"states"`` with the number of trials in each, ``"trials"``
        with the settings, seed, state, error, folder, objective, seconds and measures of each, and
        ``"table"`` with the objective of each setting: its ``"values"`` by seed, ``"mean"``,
        ``"sd"`` (of a sample; null for a single seed), the same of what is ``"reported"`` and the
        number that ``"n_failed"``, the best mean first. The objective is of held-out observations
        for choosing, measures and what is reported are of the others.
    """
    states = [record.state for record in records]
    return {
        "spec": spec_to_dict(spec),
        "objective": str(spec.objective),
        "chosen_by_labels": spec.objective.factor,
        "states": {state: states.count(state) for state in dict.fromkeys(states)},
        "trials": [_trial(spec, record) for record in records],
        "table": _table(spec, records),
    }


def _trial(spec: Spec, record: Record) -> dict[str, Any]:
    trial, outcome = record.job, record.outcome
    about: dict[str, Any] = {
        "name": trial.name,
        "settings": trial.arm.values,
        "seed": trial.seed,
        "state": record.state,
        "error": record.error,
        "folder": f"runs/{trial.name}",
        "objective": None,
        "seconds": None,
        "measures": None,
    }
    if outcome is not None:
        others = Evaluation.from_dict(outcome.evaluation.slow[HALVES]["report"])
        measures = describe(replace(outcome, evaluation=others))
        about |= {
            "objective": spec.objective.entry(trial.arm.label).value(outcome.evaluation),
            "seconds": measures.pop("seconds"),
            "measures": {k: v for k, v in measures.items() if k not in ("arm", "seed", "folder")},
        }
    return about


def _table(spec: Spec, records: Sequence[Record]) -> list[dict[str, Any]]:
    arms: dict[str, list[Record]] = {}
    for record in records:
        arms.setdefault(record.job.arm.label, []).append(record)
    rows = []
    for label, own in arms.items():
        measures = {r.job.seed: r.outcome.evaluation for r in own if r.outcome is not None}
        found = table_line(spec.objective.entry(label), measures)
        reported = table_line(spec.objective.reported_entry(label), measures)
        rows.append(
            {
                "settings": own[0].job.arm.values,
                "percent": found["percent"],
                **{key: found[key] for key in _NUMBERS},
                "reported": {key: reported[key] for key in ("percent", *_NUMBERS)},
                "n_failed": sum(record.state == "failed" for record in own),
            }
        )
    sign = -1 if spec.objective.mode == "max" else 1
    return sorted(rows, key=lambda row: (row["mean"] is None, sign * (row["mean"] or 0)))


def results_table(results: Mapping[str, Any]) -> Table:
    """The objective of every setting, the best one first, and the same of other observations."""
    paths = list(results["table"][0]["settings"])
    factor = results["chosen_by_labels"]
    note = "Reported: the same measure of the held-out observations that choose nothing."
    if factor is not None:
        note = f"Labels of {factor} choose the settings: the result is not unsupervised. {note}"
    return make_table(
        results["objective"],
        [*short_names(paths).values(), "mean (sd)", "each seed", "reported: mean (sd)", "failed"],
        [
            [
                *map(as_text, row["settings"].values()),
                *as_cells(row),
                as_cells(row["reported"])[0],
                str(row["n_failed"] or ""),
            ]
            for row in results["table"]
        ],
        is_text=True,
        note=note,
    )


def notes(results: Mapping[str, Any]) -> list[str]:
    """How far the sweep is, and what went wrong."""
    states = ", ".join(f"{n} {state}" for state, n in results["states"].items())
    errors = [f"{trial['name']}: {trial['error']}" for trial in results["trials"] if trial["error"]]
    return [f"{len(results['trials'])} trials: {states}", *errors]


def as_page(results: Mapping[str, Any]) -> str:
    """The results in Markdown."""
    lines = [
        f"# {results['objective']}",
        "",
        *(f"- {' '.join(note.split())}" for note in notes(results)),
        "",
        as_markdown(results_table(results)),
    ]
    return "\n".join(lines)


def draw(spec: Spec, results: Mapping[str, Any]) -> Figure:
    """All trials: the objective against every setting that is varied.

    Raises:
        ValueError: if no trial is finished.
    """
    finished = [trial for trial in results["trials"] if trial["objective"] is not None]
    return figures.all_trials(
        [trial["settings"] for trial in finished],
        [trial["objective"] for trial in finished],
        [trial["seed"] for trial in finished],
        names=short_names(spec.varied),
        objective=results["objective"],
        percent=spec.objective.row.unit == "share",
        best=results["table"][0]["settings"],
        logarithmic=spec.log_uniform,
        title=notes(results)[0],
        more_is_better=spec.objective.mode == "max",
    )
