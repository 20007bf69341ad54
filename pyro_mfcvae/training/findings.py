"""What is found to be wrong with a model, as logs and results hold it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Kind = Literal["dead", "collapsed", "empty", "unsure", "same", "exploding", "not finite"]


@dataclass(frozen=True)
class Finding:
    """Something that is wrong.

    Attributes:
        kind: what.
        facets: which it is about, from 0; empty if the whole model is.
        sentence: what was measured, and what to change.
    """

    kind: Kind
    facets: tuple[int, ...]
    sentence: str
