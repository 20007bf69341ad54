"""What an intervention on facets results in, and the words of its title."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pyro_mfcvae.evaluation.predictions import Array

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Choice = Sequence[int] | None


@dataclass(frozen=True, eq=False)
class Intervention:
    """What was computed, and how it looks.

    Attributes:
        arrays: by name; pictures are means of p(x | z), in the data's own range.
        figure: of them.
    """

    arrays: dict[str, Array]
    figure: Figure


def part_of(n: int, n_all: int, what: str, best: str) -> str:
    """How many of how many, and which."""
    if n == n_all:
        return f"all {n} {what}" if n > 1 else f"the only one of the {what}"
    return f"the {n} {best} of {n_all} {what}"


def in_words(facets: Sequence[int]) -> str:
    """Facets by their numbers."""
    names = " and ".join(map(str, facets))
    return f"facet{'s' * (len(facets) > 1)} {names}"
