"""What a run found, in a sentence made of its numbers.

How much a facet tells of a factor is the homogeneity of its clusters, the smaller one of training
and held-out observations: with few observations and many clusters it is high by chance, as the NMI
of two facets is. Accuracy alone would not do: it is high where one class is frequent.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from pyro_mfcvae.figures import find_figure
from pyro_mfcvae.report.cells import percent
from pyro_mfcvae.report.facts import Facts

ACCURACY = "majority_accuracy_training_map"

_PARTS = ("train", "test")
_CLEAR, _SOME = 0.5, 0.25  # share of a factor's entropy that a facet tells
_ACCURATE = 0.75  # below that nothing is separated


@dataclass(frozen=True)
class Finding:
    """What one facet has to do with one factor.

    Attributes:
        facet: j.
        factor: its name.
        told: share of the factor's entropy that the facet's clusters tell, from 0 to 1.
        accuracy: majority accuracy of held-out observations, map learnt on training observations.
        n_classes: of the factor.
        n_clusters: K_j.
    """

    facet: int
    factor: str
    told: float
    accuracy: float
    n_classes: int
    n_clusters: int


def findings(facts: Facts, j: int) -> list[Finding]:
    """What facet j has to do with each factor, the closest first."""
    facet = facts.facets[j]
    found = [
        Finding(
            j,
            factor,
            min(_told(measures[part]) for part in _PARTS),
            measures["test"][ACCURACY],
            measures["n_classes"],
            facet["n_clusters"],
        )
        for factor, measures in facet["factors"].items()
    ]
    return sorted(found, key=lambda finding: -finding.told)


def sentence(facts: Facts, j: int) -> str:
    """What facet j separates."""
    return _sentence(_finding_in_words(facts, j))


def _finding_in_words(facts: Facts, j: int) -> str:
    facet = facts.facets[j]
    found = findings(facts, j)
    if facet["n_clusters"] == 1:
        return f"facet {j} has one cluster only, a plain prior"
    if facet["occupied_clusters"]["test"] == 1:
        return f"facet {j} puts all held-out observations into one cluster"
    if not found:
        return (
            f"facet {j} sorts the held-out observations into {facet['occupied_clusters']['test']} "
            f"of its {facet['n_clusters']} clusters"
        )
    clear = [f for f in found if f.told >= _CLEAR and f.accuracy >= _ACCURATE]
    vague = [f for f in found if f.told >= _SOME and f not in clear]
    said = []
    if clear:
        said.append(f"separates {_joined(map(_judged, clear[:3]))}")
    if vague:
        said.append(f"partly follows {_judged(vague[0])}")
    if said:
        return f"facet {j} {_joined(said)}"
    return f"facet {j} follows none of the labelled factors: at best {_judged(found[0])}"


def summary(facts: Facts) -> str:
    """What the run found, what it could not find, and how far it has come."""
    if facts.evaluation is None:
        return "This run has not been evaluated, so nothing can be said of what it found."
    order = range(len(facts.facets))
    if facts.factors:
        told = [max((f.told for f in findings(facts, j)), default=-1.0) for j in order]
        order = sorted(order, key=lambda j: -told[j])
    sentences = [_sentence("; ".join(_finding_in_words(facts, j) for j in order))]
    if not facts.factors and any(facet["n_clusters"] > 1 for facet in facts.facets):
        sentences.insert(
            0,
            "The data have no labels, so the facets cannot be named here: look at their clusters.",
        )
    collapsed = any(
        facet["occupied_clusters"]["test"] == 1 < facet["n_clusters"] for facet in facts.facets
    )
    redundancy = None if collapsed else facts.evaluation.get("redundancy")
    if said := _redundancy_in_words(redundancy):
        sentences.append(said)
    return " ".join([*_progress(facts.evaluation), *sentences])


def left_out_in_words(facts: Facts, facets: tuple[int, ...]) -> list[str]:
    """Sentences on the figures that are left out, of these facets or, without any, of all."""
    n_facets = len(facts.run.config.model.facets)
    sentences = []
    for name, reason in facts.left_out.items():
        figure, about = find_figure(name, n_facets)
        if about == facets:
            sentences.append(f"There is no figure of the {figure.heading.lower()}: {reason}.")
    return sentences


def status(facts: Facts) -> str:
    """How far the run has come, in a few words."""
    if facts.evaluation is None:
        return "not evaluated"
    step, n_steps = facts.evaluation["step"], facts.evaluation["n_steps"]
    return f"finished: {n_steps} steps" if step >= n_steps else f"step {step} of {n_steps}"


def _progress(evaluation: dict[str, Any]) -> Iterable[str]:
    step, n_steps = evaluation["step"], evaluation["n_steps"]
    if step == 0 < n_steps:
        yield "Not trained yet: all of this is chance."
    elif step < n_steps:
        yield f"Not finished, step {step} of {n_steps}: these are interim results."
    terms = next(iter(evaluation["elbo"].values()))
    for name, weight in terms.items():
        if name.startswith("fade_") and weight < 1:
            yield f"Facet {name.removeprefix('fade_')} has a fade weight of only {weight:.2f}."


def _redundancy_in_words(redundancy: dict[str, list[list[float]]] | None) -> str:
    """How much the two facets say the same that do so most."""
    if not redundancy:
        return ""
    pairs = [
        (min(redundancy[part][i][j] for part in _PARTS), i, j)
        for j in range(len(redundancy["test"]))
        for i in range(j)
        if redundancy["test"][i][j] is not None
    ]
    if not pairs:
        return ""
    nmi, i, j = max(pairs)
    most = "" if len(pairs) == 1 else ", more than those of any other two"
    return (
        f"The clusterings of facets {i} and {j} share an NMI of at least {nmi:.2f}{most}, training "
        f"and held out: {_sameness(nmi)}."
    )


def _told(measures: dict[str, float]) -> float:
    return measures.get("homogeneity", measures.get("nmi", 0.0))


def _judged(finding: Finding) -> str:
    return (
        f"{finding.factor} ({percent(finding.accuracy)} majority accuracy over "
        f"{finding.n_classes} classes, K = {finding.n_clusters})"
    )


def _sameness(nmi: float) -> str:
    if nmi < 0.1:
        return "they partition the data in different ways"
    return "they say much the same" if nmi > 0.5 else "they overlap in part"


def _joined(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
