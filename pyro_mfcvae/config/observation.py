"""What one observation looks like: what networks and likelihoods are chosen from."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from pyro_mfcvae.errors import DataError

MISSING = -1
"""In the place of a class that is not known."""


@dataclass(frozen=True)
class ObservationSpec:
    """Shape and range of one observation, from which networks and likelihoods are chosen.

    Attributes:
        shape: (channels, height, width) of an image, (features,) of a table's row.
        low: smallest value in the data.
        high: largest value in the data.
        missing: whether some values are missing, NaN in their place.
    """

    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0
    missing: bool = False

    def __post_init__(self) -> None:
        if len(self.shape) not in (1, 3) or any(size < 1 for size in self.shape):
            raise DataError(
                "an observation is (channels, height, width) or (features,), each at least 1, "
                f"got {self.shape}"
            )

    @property
    def kind(self) -> Literal["image", "table"]:
        """Whether observations are pictures or rows of numbers."""
        return "image" if len(self.shape) == 3 else "table"

    @property
    def n_values(self) -> int:
        """Numbers in one observation."""
        return math.prod(self.shape)
