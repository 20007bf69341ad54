"""What a figure's caption adds for the model at hand, so that it is true of that model.

What stands here depends on how latents depend on each other, on what a batch shares, and on whether
observations are pictures or points; a figure carries it in its file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from pyro_mfcvae.drawing.held_out import HeldOut

Facets = tuple[int, ...]


def kind_and_facets(name: str, n_facets: int) -> tuple[str, Facets]:
    """``clusters-facet-1`` -> (``clusters``, (1,)); the whole name where there are no such facets.

    Args:
        name: of a figure.
        n_facets: J.
    """
    match = re.fullmatch(r"(.+)-facets?((?:-\d+)+)", name)
    facets = tuple(int(number) for number in match[2].split("-")[1:]) if match else ()
    if match is None or max(facets) >= n_facets:
        return name, ()
    return match[1], facets


def details(seen: HeldOut, name: str) -> str:
    """Sentences on a figure of a run, by its name; empty where there is nothing to add."""
    kind, facets = kind_and_facets(name, seen.model.n_facets)
    sentences = _DETAILS[kind](seen, facets) if kind in _DETAILS else []
    return " ".join(sentence for sentence in sentences if sentence)


def _clusters(seen: HeldOut, facets: Facets) -> list[str]:
    if seen.in_plane:
        return ["Each cluster has a panel: its members are in colour, the ten surest in black."]
    return ["Each cluster has a row."]


def _samples(seen: HeldOut, facets: Facets) -> list[str]:
    return [f"Each cluster has a {'panel' if seen.in_plane else 'row'}."]


def _swaps(seen: HeldOut, facets: Facets) -> list[str]:
    where = "The inputs stand in the left column, the donors in the top row."
    if seen.in_plane:
        where = "Each donor has a panel, as a star; lines lead from inputs to what becomes of them."
    return [
        where,
        _all_else(seen, facets),
        "The inputs count as one batch, each donor as one of its own." * _has_groups(seen),
    ]


def _traversal(seen: HeldOut, facets: Facets) -> list[str]:
    (facet,) = facets
    where = "Each dimension has a panel; the input is a star." if seen.in_plane else ""
    deviations = "Standard deviations are those where the facet that this one depends on is 0."
    return [
        where,
        _all_else(seen, facets),
        deviations * _is_conditional(seen, facet),
        "The input counts as a batch of its own." * _has_groups(seen),
    ]


def _means(seen: HeldOut, facets: Facets) -> list[str]:
    where = "Components are those where the facet that they depend on is 0."
    if not any(_is_conditional(seen, facet) for facet in facets):
        where = "All else is at the means of the priors." * (seen.model.n_facets > len(facets))
    rows = "Each row's cluster has a panel; the numbers are those of the columns' clusters."
    return [rows * (seen.in_plane and len(facets) > 1), where]


def _latents(seen: HeldOut, facets: Facets) -> list[str]:
    (facet,) = facets
    if facet not in seen.clustered:
        return ["The prior has one component, of which cross and line show mean and spread."]
    where = ", as it is where the facet that it depends on is 0" * _is_conditional(seen, facet)
    return [f"Crosses and lines show mean and spread of each component in use{where}."]


def _interpolation(seen: HeldOut, facets: Facets) -> list[str]:
    return [
        "Each pair has a panel; the inputs are stars." if seen.in_plane else "",
        "Starts count as one batch, ends as another." * _has_groups(seen),
    ]


def _reconstructions(seen: HeldOut, facets: Facets) -> list[str]:
    return [
        "Lines lead from rings, the observations, to dots." if seen.in_plane else "",
        "They count as one batch." * _has_groups(seen),
    ]


def _agreement(seen: HeldOut, facets: Facets) -> list[str]:
    alone = [j for j in range(seen.model.n_facets) if j not in seen.clustered]
    return ["What is measured of clusters is empty for a facet with one only." * bool(alone)]


def _all_else(seen: HeldOut, facets: Sequence[int]) -> str:
    """What happens to what these facets leave, in a sentence."""
    if seen.follows(facets):
        return "All else moves to the mean of each observation's cluster, given this facet."
    return "All else is kept." if seen.model.n_facets > 1 else ""


def _is_conditional(seen: HeldOut, facet: int) -> bool:
    return bool(seen.model.structure.facets[facet].prior_parents)


def _has_groups(seen: HeldOut) -> bool:
    return seen.model.structure.group_size is not None


_DETAILS: dict[str, Callable[[HeldOut, Facets], list[str]]] = {
    "clusters": _clusters,
    "samples": _samples,
    "swaps": _swaps,
    "traversal": _traversal,
    "means": _means,
    "latents": _latents,
    "interpolation": _interpolation,
    "reconstructions": _reconstructions,
    "agreement": _agreement,
}
