"""Tables of several runs side by side."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from pyro_mfcvae.config import config_to_dict, digest, identity
from pyro_mfcvae.report.cells import Cell, Table, number, percent, table
from pyro_mfcvae.report.facts import Facts
from pyro_mfcvae.report.origin import written
from pyro_mfcvae.report.summary import status
from pyro_mfcvae.report.tables import MEASURES

_SHOWN = ("majority_accuracy_training_map", "homogeneity", "nmi", "hungarian_accuracy", "ari")


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
    def comparable_elbo(self) -> bool:
        """Whether ELBOs are on one scale: the same data under the same likelihood."""
        likelihoods = [facts.run.config.model.likelihood for facts in self.runs]
        return self.same_data and all(each == likelihoods[0] for each in likelihoods)

    def seeds(self) -> list[tuple[int, ...]]:
        """Positions of runs that differ in nothing but their seed, by settings."""
        groups: dict[Any, list[int]] = {}
        for i, facts in enumerate(self.runs):
            groups.setdefault((facts.data, *_essential(facts)), []).append(i)
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
    settings = [_settings(facts) for facts in compared.runs]
    rows = [
        [name, *(own.get(name, "–") for own in settings)]
        for name in dict.fromkeys(name for own in settings for name in own)
        if len({own.get(name) for own in settings}) > 1
    ]
    if not rows:
        return None
    caption = "Settings that differ, by their dotted paths"
    return table(caption, ["setting", *compared.names], rows, is_text=True)


def results_table(compared: Compared) -> Table:
    """ELBO, bound, clusters in use and redundancy of every run."""
    rows: list[list[Cell | str]] = []
    better = max if compared.comparable_elbo else None
    for part, title in (("test", "held out"), ("train", "training")):
        elbos = [_found(facts, "elbo", part, "elbo") for facts in compared.runs]
        rows.append(_row(compared, f"ELBO, {title}, nats", elbos, number, better))
    bounds = [_found(facts, "importance_weighted_bound", "test") for facts in compared.runs]
    if any(bound is not None for bound in bounds):
        n_samples = {_found(f, "importance_weighted_bound", "n_samples") for f in compared.runs}
        same = better if len(n_samples - {None}) == 1 else None
        rows.append(
            _row(compared, "importance-weighted bound, held out, nats", bounds, number, same)
        )
    for j in range(max(len(facts.facets) for facts in compared.runs)):
        used = [_used(facts, j) for facts in compared.runs]
        cells = [
            Cell("–" if n is None else f"{n:.0f} of {facts.facets[j]['n_clusters']}")
            for n, facts in zip(used, compared.runs, strict=True)
        ]
        means = _means(compared, used, lambda value: number(value, 1))
        rows.append([f"clusters in use, facet {j}", *cells, *means])
    redundancies = [_redundancy(facts) for facts in compared.runs]
    if any(value is not None for value in redundancies):
        title = "largest NMI of two facets' clusterings"
        rows.append(_row(compared, title, redundancies, lambda value: number(value, 3)))
    rows.append(["training", *map(status, compared.runs), *("" for _ in compared.seeds())])
    caption = "Objective, use of the clusters, and how far each run has come"
    return table(caption, ["", *_columns(compared)], rows)


def found_table(compared: Compared) -> Table | None:
    """How well each factor was found, by the facet that finds it best."""
    better = max if compared.same_data else None
    rows = []
    for factor in dict.fromkeys(name for facts in compared.runs for name in facts.factors):
        for measure in _SHOWN:
            best = [_best_facet(facts, factor, measure) for facts in compared.runs]
            if all(found is None for found in best):
                continue
            values = [found and found[0] for found in best]
            title, *cells = _row(compared, MEASURES[measure][0], values, percent, better)
            for i, found in enumerate(best):
                if found is not None:
                    k = compared.runs[i].facets[found[1]]["n_clusters"]
                    cells[i] = replace(cells[i], note=f"facet {found[1]}, K = {k}")
            rows.append([factor, title, *cells])
    if not rows:
        return None
    caption = (
        "How well each factor was found on held-out observations, by the facet where the "
        "measure is highest. Majority accuracy grows with K."
    )
    return table(caption, ["factor", "measure", *_columns(compared)], rows, n_headers=2)


def facets_table(compared: Compared) -> Table | None:
    """Majority accuracy of every facet for every factor; nothing is best here."""
    measure = _SHOWN[0]
    rows = []
    for j in range(max(len(facts.facets) for facts in compared.runs)):
        for factor in dict.fromkeys(name for facts in compared.runs for name in facts.factors):
            values = [_measure(facts, j, factor, measure) for facts in compared.runs]
            if any(value is not None for value in values):
                rows.append([f"facet {j}", *_row(compared, factor, values, percent)])
    if not rows:
        return None
    caption = (
        "Majority accuracy, held out, of every facet; the map is learnt on training observations"
    )
    return table(caption, ["facet", "factor", *_columns(compared)], rows, n_headers=2)


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
    shown: Callable[[float], str],
    better: Callable[..., float] | None = None,
) -> list[Any]:
    """A row of numbers, the best of them marked if one is better, and means over seeds."""
    known = [value for value in values if value is not None]
    best = better(known) if better and len(known) > 1 and len(set(known)) > 1 else None
    cells = [
        Cell("–") if value is None else Cell(shown(value), best=value == best) for value in values
    ]
    return [title, *cells, *_means(compared, values, shown)]


def _means(
    compared: Compared, values: Sequence[float | None], shown: Callable[[float], str]
) -> list[str]:
    cells = []
    for group in compared.seeds():
        own = [values[i] for i in group if values[i] is not None]
        if len(own) < 2:
            cells.append("–")
        else:
            cells.append(f"{shown(statistics.mean(own))} ({shown(statistics.stdev(own))})")
    return cells


def _settings(facts: Facts) -> dict[str, str]:
    return written(config_to_dict(facts.run.config))


def _essential(facts: Facts) -> tuple[str, str]:
    """Settings that make a run what it is, but for the seed, and how far it has come."""
    return digest(facts.run.config), status(facts)


def _found(facts: Facts, *path: str) -> Any:
    """A number in the evaluation, or None."""
    found: Any = facts.evaluation
    for key in path:
        if not found or key not in found:
            return None
        found = found[key]
    return found


def _used(facts: Facts, j: int) -> float | None:
    return facts.facets[j]["occupied_clusters"]["test"] if j < len(facts.facets) else None


def _redundancy(facts: Facts) -> float | None:
    nmi = _found(facts, "redundancy", "test")
    if not nmi or len(nmi) < 2:
        return None
    known = [nmi[i][j] for j in range(len(nmi)) for i in range(j) if nmi[i][j] is not None]
    return max(known, default=None)


def _measure(facts: Facts, j: int, factor: str, measure: str) -> float | None:
    if j >= len(facts.facets) or factor not in facts.facets[j]["factors"]:
        return None
    return facts.facets[j]["factors"][factor]["test"].get(measure)


def _best_facet(facts: Facts, factor: str, measure: str) -> tuple[float, int] | None:
    """The highest value of a measure, and the facet that has it."""
    values = [(_measure(facts, j, factor, measure), j) for j in range(len(facts.facets))]
    return max(((v, j) for v, j in values if v is not None), default=None)
