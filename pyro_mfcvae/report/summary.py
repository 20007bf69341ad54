"""What a run found, in a sentence made of its numbers.

How much a facet tells of a factor is the homogeneity of its clusters, the smaller one of training
and held-out observations: with few observations and many clusters it is high by chance, as the NMI
of two facets is. Accuracy alone would not do: it is high where one class is frequent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pyro_mfcvae.evaluation.measures import MAIN_ACCURACY, PARTS
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.figures import find_figure
from pyro_mfcvae.report.facts import Facts, as_sentence
from pyro_mfcvae.tables import percent

_CLEAR, _SOME = 0.5, 0.25  # share of a factor's entropy that a facet tells
_ACCURATE = 0.75  # below that nothing is separated
_SAME = 0.5  # NMI of two facets above which they say much the same


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


def find_factors(evaluation: Evaluation, j: int) -> list[Finding]:
    """What facet j has to do with each factor, the closest first."""
    found = [
        Finding(
            j,
            factor,
            min(_told(measures) for measures in (results.train, results.test)),
            results.test[MAIN_ACCURACY],
            results.n_classes,
            evaluation.facets[j].n_clusters,
        )
        for factor, results in evaluation.facets[j].factors.items()
    ]
    return sorted(found, key=lambda finding: -finding.told)


def describe_facet(facts: Facts, j: int) -> str:
    """What facet j separates, in a sentence."""
    return as_sentence(_finding_in_words(facts.evaluation, j)) if facts.evaluation else ""


def _finding_in_words(evaluation: Evaluation, j: int) -> str:
    facet, found = evaluation.facets[j], find_factors(evaluation, j)
    title = evaluation.facet_title(j)
    if not facet.has_clusters:
        return f"{title} has one cluster only, a plain prior"
    if facet.n_used() == 1:
        return f"{title} puts all held-out observations into one cluster"
    if not found:
        return (
            f"{title} sorts the held-out observations into {facet.n_used()} of its "
            f"{facet.n_clusters} clusters"
        )
    clear = [f for f in found if f.told >= _CLEAR and f.accuracy >= _ACCURATE]
    vague = [f for f in found if f.told >= _SOME and f not in clear]
    said = []
    if clear:
        said.append(f"separates {_join(map(_verdict, clear[:3]))}")
    if vague:
        said.append(f"partly follows {_verdict(vague[0])}")
    if said:
        return f"{title} {_join(said)}"
    return f"{title} follows none of the labelled factors: at best {_verdict(found[0])}"


def summarise(facts: Facts) -> str:
    """What the run found, what it could not find, and how far it has come."""
    found = facts.evaluation
    if found is None:
        return "This run has not been evaluated, so nothing can be said of what it found."
    told = [max((f.told for f in find_factors(found, j)), default=-1.0) for j in _facets(found)]
    order = sorted(_facets(found), key=lambda j: -told[j])
    sentences = [as_sentence("; ".join(_finding_in_words(found, j) for j in order))]
    if max(told) < 0 and any(facet.has_clusters for facet in found.facets):
        sentences.insert(
            0,
            "The data have no labels, so the facets cannot be named here: look at their clusters.",
        )
    if not any(facet.has_clusters and facet.n_used() == 1 for facet in found.facets):
        sentences.append(_redundancy_in_words(found))
    return " ".join(filter(None, [*_progress(found), *sentences]))


def explain_missing(facts: Facts, facets: tuple[int, ...]) -> str:
    """Sentences on the figures that are left out, of these facets or, without any, of all."""
    n_facets = len(facts.run.config.model.facets)
    found = [(*find_figure(name, n_facets), why) for name, why in facts.left_out.items()]
    return " ".join(
        f"There is no figure of the {figure.heading.lower()}: {reason}."
        for figure, about, reason in found
        if about == facets
    )


def status(facts: Facts) -> str:
    """How far the run has come, in a few words."""
    if facts.evaluation is None:
        return "not evaluated"
    step, n_steps = facts.evaluation.step, facts.evaluation.n_steps
    return f"finished: {n_steps} steps" if step >= n_steps else f"step {step} of {n_steps}"


def _facets(evaluation: Evaluation) -> range:
    return range(len(evaluation.facets))


def _progress(evaluation: Evaluation) -> Iterable[str]:
    step, n_steps = evaluation.step, evaluation.n_steps
    if step == 0 < n_steps:
        yield "Not trained yet: all of this is chance."
    elif step < n_steps:
        yield f"Not finished, step {step} of {n_steps}: these are interim results."
    for j, weight in enumerate(evaluation.fade):
        if weight < 1:
            yield as_sentence(f"{evaluation.facet_title(j)} has a fade weight of only {weight:.2f}")


def _redundancy_in_words(evaluation: Evaluation) -> str:
    """How much the two facets say the same that do so most."""
    pairs = []
    for i, j in evaluation.pairs():
        found = [evaluation.value("redundancy", part, i, other_facet=j) for part in PARTS]
        known = [nmi for nmi in found if nmi is not None]
        if len(known) == len(PARTS):
            pairs.append((min(known), i, j))
    if not pairs:
        return ""
    nmi, i, j = max(pairs)
    most = "" if len(pairs) == 1 else ", more than those of any other two"
    bound = f"at least {nmi:.2f}{most}, training and held out"
    if nmi <= _SAME:  # chance raises both, so the lower one is the bound of what they share
        bound = f"at most {nmi:.2f}{most}, the lower one of training and held out"
    first, second = (evaluation.facet_names.get(facet, facet) for facet in (i, j))
    same = _sameness(nmi)
    return f"The clusterings of facets {first} and {second} share an NMI of {bound}: {same}."


def _told(measures: Mapping[str, float]) -> float:
    return measures.get("homogeneity", measures.get("nmi", 0.0))


def _verdict(finding: Finding) -> str:
    return (
        f"{finding.factor} ({percent(finding.accuracy)} majority accuracy over "
        f"{finding.n_classes} classes, K = {finding.n_clusters})"
    )


def _sameness(nmi: float) -> str:
    if nmi < 0.1:
        return "they partition the data in different ways"
    return "they say much the same" if nmi > _SAME else "they overlap in part"


def _join(parts: Iterable[str]) -> str:
    *first, last = parts
    return f"{', '.join(first)} and {last}" if first else last
