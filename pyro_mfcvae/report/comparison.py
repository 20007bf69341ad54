"""Tables of several runs side by side."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyro_mfcvae.config import config_to_dict, digest, identity
from pyro_mfcvae.evaluation.measures import MAIN_ACCURACY, MEASURES, PARTS, Level, Measure, Part
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.report.facts import Facts
from pyro_mfcvae.report.origin import settings_as_text
from pyro_mfcvae.report.summary import status
from pyro_mfcvae.tables import Cell, Table, make_table, number


@dataclass(frozen=True, eq=False)
class Compared:
    """Several runs, and what of them may be compared.

    Attributes:
        runs: at least two.
        names: of them, distinct.
        same_data: whether all have the same data.
        certain: whether that is known from the data, not from the settings alone.
    """

    runs: tuple[Facts, ...]
    names: tuple[str, ...]
    same_data: bool
    certain: bool

    @property
    def evaluations(self) -> list[Evaluation]:
        """Of the runs that have one."""
        return [facts.evaluation for facts in self.runs if facts.evaluation]

    @property
    def comparable_elbo(self) -> bool:
        """Whether ELBOs are on one scale: the same data under the same likelihood."""
        likelihoods = [facts.run.config.model.likelihood for facts in self.runs]
        return self.same_data and all(each == likelihoods[0] for each in likelihoods)

    def seeds(self) -> list[tuple[int, ...]]:
        """Positions of runs that differ in nothing but their seed, by settings."""
        groups: dict[Any, list[int]] = {}
        for i, facts in enumerate(self.runs):
            essential = (facts.data, digest(facts.run.config), status(facts))
            groups.setdefault(essential, []).append(i)
        return [
            tuple(group)
            for group in groups.values()
            if len(group) > 1 and len({self.runs[i].run.config.seed for i in group}) == len(group)
        ]


def compare(runs: Sequence[Facts]) -> Compared:
    """What of several runs may be compared."""
    names = [facts.name for facts in runs]
    unique = tuple(
        name if names.count(name) == 1 else str(facts.run.path)
        for name, facts in zip(names, runs, strict=True)
    )
    digests = [facts.data for facts in runs]
    certain = None not in digests
    if certain:
        same = len(set(digests)) == 1
    else:
        settings = [identity(facts.run.config).items() for facts in runs]
        data = [[pair for pair in own if pair[0].startswith("data.")] for own in settings]
        same = all(each == data[0] for each in data)
    return Compared(tuple(runs), unique, same, certain)


def differing_settings(compared: Compared) -> Table | None:
    """Settings that are not the same in all runs."""
    settings = [settings_as_text(config_to_dict(facts.run.config)) for facts in compared.runs]
    rows = [
        [name, *(own.get(name, "–") for own in settings)]
        for name in dict.fromkeys(name for own in settings for name in own)
        if len({own.get(name) for own in settings}) > 1
    ]
    if not rows:
        return None
    caption = "Settings that differ, by their dotted paths"
    return make_table(caption, ["setting", *compared.names], rows, is_text=True)


def results_table(compared: Compared) -> Table:
    """Measures of the whole model, of every facet and of two facets, run by run."""
    rows: list[list[Cell | str]] = []
    for measure in _measures(compared, "run"):
        comparable = compared.same_data
        if measure.unit == "nats":
            comparable = compared.comparable_elbo
        if measure.name == "importance_weighted_bound":
            comparable = comparable and _same_number_of_samples(compared)
        for part, title in PARTS.items():
            values = [_value(facts, measure, part=part) for facts in compared.runs]
            if any(value is not None for value in values):
                unit = {"nats": ", nats", "share": ", percent"}.get(measure.unit, "")
                head = f"{measure.title}, {title}{unit}"
                rows.append(_row(compared, head, values, measure, comparable))
    for measure in _measures(compared, "facet"):
        for j in range(max(len(facts.facets) for facts in compared.runs)):
            values = [_value(facts, measure, j) for facts in compared.runs]
            title, *cells = _row(compared, f"{measure.title}, facet {j}", values, measure, False)
            for i, facts in enumerate(compared.runs):
                if j < len(facts.facets):
                    cells[i] = replace(cells[i], note=f"K = {facts.facets[j].n_clusters}")
            rows.append([title, *cells])
    for measure in _measures(compared, "pair"):
        values = [_largest(facts, measure) for facts in compared.runs]
        if any(value is not None for value in values):
            title = f"largest of two facets, percent: {measure.title}"
            rows.append(_row(compared, title, values, measure, False))
    rows.append(["training", *map(status, compared.runs), *("" for _ in compared.seeds())])
    caption = "Objective, use of the clusters, and how far each run has come"
    return make_table(caption, ["", *_columns(compared)], rows)


def found_table(compared: Compared) -> Table | None:
    """How well each factor was found, by the facet that finds it best."""
    rows = []
    for factor in _factors(compared):
        for measure in _measures(compared, "factor"):
            best = [_best_facet(facts, measure, factor) for facts in compared.runs]
            if all(found is None for found in best):
                continue
            values = [found and found[0] for found in best]
            title, *cells = _row(compared, measure.title, values, measure, compared.same_data)
            for i, found in enumerate(best):
                if found is not None:
                    k = compared.runs[i].facets[found[1]].n_clusters
                    cells[i] = replace(cells[i], note=f"facet {found[1]}, K = {k}")
            rows.append([factor, title, *cells])
    if not rows:
        return None
    caption = (
        "How well each factor was found on held-out observations, in percent, by the facet that "
        "agrees most with it. Majority accuracy grows with K."
    )
    return make_table(caption, ["factor", "measure", *_columns(compared)], rows, n_headers=2)


def facets_table(compared: Compared) -> Table | None:
    """Majority accuracy of every facet for every factor; nothing is best here."""
    measure = MEASURES[MAIN_ACCURACY]
    rows = []
    for j in range(max(len(facts.facets) for facts in compared.runs)):
        for factor in _factors(compared):
            values = [_value(facts, measure, j, factor) for facts in compared.runs]
            if any(value is not None for value in values):
                rows.append([f"facet {j}", *_row(compared, factor, values, measure, False)])
    if not rows:
        return None
    caption = f"{measure.title}, held out, of every facet, in percent"
    return make_table(caption, ["facet", "factor", *_columns(compared)], rows, n_headers=2)


def means_in_words(compared: Compared) -> str:
    """Over which runs means are taken."""
    groups = [", ".join(compared.names[i] for i in group) for group in compared.seeds()]
    if not groups:
        return ""
    listed = "; ".join(
        f"{title.removeprefix('mean (sd) ')}: {group}"
        for title, group in zip(_mean_columns(compared), groups, strict=True)
    )
    return (
        "Means with standard deviations are over runs that differ in nothing but their seed. "
        f"{listed[0].upper()}{listed[1:]}."
    )


def _columns(compared: Compared) -> list[str]:
    return [*compared.names, *_mean_columns(compared)]


def _mean_columns(compared: Compared) -> list[str]:
    groups = compared.seeds()
    letters = [""] if len(groups) == 1 else [f", {chr(ord('A') + i)}" for i in range(len(groups))]
    return [
        f"mean (sd) of {len(group)} seeds{letter}"
        for letter, group in zip(letters, groups, strict=False)
    ]


def _row(
    compared: Compared,
    title: str,
    values: Sequence[float | None],
    measure: Measure,
    comparable: bool,
) -> list[Any]:
    """A row of numbers, the best of them marked if one is better, and means over seeds."""
    known = {value for value in values if value is not None}
    best = None
    if comparable and measure.more_is_better is not None and len(known) > 1:
        best = max(known) if measure.more_is_better else min(known)
    cells = [Cell(measure.text(value), best=best is not None and value == best) for value in values]
    return [title, *cells, *_means(compared, values, measure)]


def _means(compared: Compared, values: Sequence[float | None], measure: Measure) -> list[str]:
    shown = (lambda value: number(value, 1)) if measure.unit == "count" else measure.text
    cells = []
    for group in compared.seeds():
        own = [value for i in group if (value := values[i]) is not None]
        if len(own) < 2:
            cells.append("–")
        else:
            cells.append(f"{shown(statistics.mean(own))} ({shown(statistics.stdev(own))})")
    return cells


def _measures(compared: Compared, level: Level) -> list[Measure]:
    """The brief measures of a level that some run has."""
    found = [row for results in compared.evaluations for row in results.measured(level)]
    return list({row.name: row for row in found if row.is_brief}.values())


def _factors(compared: Compared) -> list[str]:
    return list(dict.fromkeys(f for results in compared.evaluations for f in results.factors))


def _value(
    facts: Facts,
    measure: Measure,
    j: int | None = None,
    factor: str | None = None,
    other: int | None = None,
    part: Part = "test",
) -> float | None:
    if facts.evaluation is None:
        return None
    return facts.evaluation.value(measure.name, part, j, factor, other)


def _same_number_of_samples(compared: Compared) -> bool:
    bounds = [results.importance_weighted_bound for results in compared.evaluations]
    return len({bound.n_samples for bound in bounds if bound}) <= 1


def _largest(facts: Facts, measure: Measure) -> float | None:
    """The largest number of any two facets."""
    pairs = facts.evaluation.pairs() if facts.evaluation else []
    values = [_value(facts, measure, i, other=j) for i, j in pairs]
    return max((value for value in values if value is not None), default=None)


def _best_facet(facts: Facts, measure: Measure, factor: str) -> tuple[float, int] | None:
    """The best value of a measure, and the facet that has it."""
    values = [(_value(facts, measure, j, factor), j) for j in range(len(facts.facets))]
    known = [(value, j) for value, j in values if value is not None]
    if not known:
        return None
    return min(known) if measure.more_is_better is False else max(known)
