"""What one observation looks like, and a data set of them."""

from __future__ import annotations

import functools
import hashlib
import math
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.errors import DataError


@dataclass(frozen=True)
class ObservationSpec:
    """Shape and range of one observation, from which networks and likelihoods are chosen.

    Attributes:
        shape: (channels, height, width) of an image, (features,) of a table's row.
        low: smallest value in the data.
        high: largest value in the data.
    """

    shape: tuple[int, ...]
    low: float = 0.0
    high: float = 1.0

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


@dataclass(frozen=True, eq=False)
class Dataset:
    """Observations, labels to judge by, and a split. Labels are never used in training.

    Attributes:
        name: how to call it.
        x: observations, uint8 (N, *shape), read as values / 255, or float32 (N, *shape).
        labels: {factor: long tensor (N,)}, classes counted from 0; may be empty.
        class_names: {factor: names of its classes}, where known.
        train: indices of the training observations, long (N_train,).
        test: indices of the held-out observations, long (N_test,).
    """

    name: str
    x: Tensor
    train: Tensor
    test: Tensor
    labels: dict[str, Tensor] = field(default_factory=dict)
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_observations = len(self.x)
        if n_observations == 0:
            raise DataError(f"{self.name}: there are no observations")
        if self.x.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"{self.name}: x must be uint8 or float32, got {self.x.dtype}")
        if self.x.is_floating_point() and not bool(self.x.isfinite().all()):
            raise DataError(f"{self.name}: x has values that are infinite or not a number")
        for factor, values in self.labels.items():
            if values.shape != (n_observations,):
                raise DataError(
                    f"{self.name}: labels {factor!r} must have shape ({n_observations},), one for "
                    f"each observation, got {tuple(values.shape)}"
                )
        for part, indices in (("training", self.train), ("held-out", self.test)):
            if len(indices) == 0:
                raise DataError(
                    f"{self.name}: the {part} part is empty; with {n_observations} observations "
                    "choose another test_fraction"
                )

    @property
    def observation(self) -> ObservationSpec:
        """Shape and range of one observation."""
        if self.x.dtype == torch.uint8:
            return ObservationSpec(tuple(self.x.shape[1:]))
        return ObservationSpec(tuple(self.x.shape[1:]), float(self.x.min()), float(self.x.max()))

    @functools.cached_property
    def fingerprint(self) -> str:
        """Digest of the observations and their split; labels have no part in training."""
        digest = hashlib.blake2b(digest_size=16)
        for values in (self.x, self.train, self.test):
            digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.cpu().contiguous().numpy())
        return digest.hexdigest()

    def split(self, part: Literal["train", "test"]) -> tuple[Tensor, dict[str, Tensor]]:
        """Observations and labels of one part of the data."""
        indices = self.train if part == "train" else self.test
        return self.x[indices], {name: values[indices] for name, values in self.labels.items()}


def as_float(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Observations as the model sees them: uint8 becomes values / 255."""
    return x.to(dtype) / 255 if x.dtype == torch.uint8 else x.to(dtype)


def spread_out(x: Tensor, n: int) -> Tensor:
    """At most n of the entries (N, ...), evenly spread: data may be sorted."""
    return x[torch.linspace(0, len(x) - 1, min(n, len(x))).long()]


def random_split(n_observations: int, test_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of a random training and held-out part, a function of the seed.

    Raises:
        DataError: if the fraction is not between 0 and 1.
    """
    if not 0 < test_fraction < 1:
        raise DataError(f"test_fraction must lie between 0 and 1, got {test_fraction}")
    order = torch.from_numpy(np.random.default_rng(seed).permutation(n_observations))
    n_test = round(n_observations * test_fraction)
    return order[n_test:].sort().values, order[:n_test].sort().values
