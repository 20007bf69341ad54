"""A data set of observations: labels to judge by, and a split."""

from __future__ import annotations

import functools
import hashlib
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import DataError

Observations = Tensor | StreamedObservations

_MOST = 1e18  # of a value: its square must fit into float32
_AT_ONCE = 1000  # observations whose limits are looked for


@dataclass(frozen=True, eq=False)
class Dataset:
    """Observations, labels to judge by, and a split. Labels are never used in training.

    Attributes:
        name: how to call it.
        x: observations, uint8 (N, *shape), read as values / 255, or float32 (N, *shape); in
            memory, or in a file that they are read from as they are needed. NaN tells a value that
            is missing.
        labels: {factor: whole numbers (N,)}, classes counted from 0, or -1 where one is missing;
            may be empty.
        class_names: {factor: names of its classes}, where known.
        train: indices of the training observations, long (N_train,).
        test: indices of the held-out observations, long (N_test,).
        strata: groups of observations that batches are drawn by, as ``training.strata`` says: in
            equal shares, or each batch of one; counted from 0, long (N,); None leaves batches to
            chance. These are no labels, which training never sees: it knows which observations are
            of one stratum. For domain alignment a stratum is a domain (Peis et al., "Unsupervised
            Learning of Global Factors in Deep Generative Models", 2020, Section 4.2).
        feature_names: of the columns (features,); empty where they have none.
        row_names: of the observations (N,), such as an index or file names; empty likewise.
        categories: {name of a column: its categories}, of columns whose values number them from 0.
    """

    name: str
    x: Observations
    train: Tensor
    test: Tensor
    labels: dict[str, Tensor] = field(default_factory=dict)
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    strata: Tensor | None = None
    feature_names: tuple[str, ...] = ()
    row_names: tuple[str, ...] = ()
    categories: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        n_observations = len(self.x)
        if n_observations == 0:
            raise DataError(f"{self.name}: there are no observations")
        if self.x.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"{self.name}: x must be uint8 or float32, got {self.x.dtype}")
        if self.x.is_floating_point():
            self._limits  # noqa: B018  (it checks the values)
        if self.categories:
            self._check_categories()
        for factor, values in self.labels.items():
            if values.is_floating_point() or values.long().min() < -1:
                raise DataError(
                    f"{self.name}: labels {factor!r} must be whole numbers from 0, or -1 for a "
                    f"missing one, got {values.dtype} from {values.min()}"
                )
            if values.shape != (n_observations,):
                raise DataError(
                    f"{self.name}: labels {factor!r} must have shape ({n_observations},), one for "
                    f"each observation, got {tuple(values.shape)}"
                )
        object.__setattr__(self, "labels", {name: v.long() for name, v in self.labels.items()})
        if self.strata is not None and (
            self.strata.shape != (n_observations,) or self.strata.dtype != torch.long
        ):
            raise DataError(
                f"{self.name}: strata must be long of shape ({n_observations},), one for each "
                f"observation, got {self.strata.dtype} {tuple(self.strata.shape)}"
            )
        for part, indices in (("training", self.train), ("held-out", self.test)):
            if len(indices) == 0:
                raise DataError(
                    f"{self.name}: the {part} part is empty; with {n_observations} observations "
                    "choose another test_fraction"
                )

    @property
    def n_categories(self) -> dict[int, int]:
        """{column: number of its categories} of those that have some."""
        places = {name: i for i, name in enumerate(self.feature_names)}
        return {places[name]: len(texts) for name, texts in self.categories.items()}

    def _check_categories(self) -> None:
        """Raise a DataError if a value of a column with categories numbers none of them."""
        if unknown := sorted(self.categories.keys() - set(self.feature_names)):
            raise DataError(f"{self.name}: categories of {unknown[0]!r}, which is no column")
        if not self.x.is_floating_point():
            raise DataError(f"{self.name}: x with categories must be float32, got {self.x.dtype}")
        columns, n = list(self.n_categories), torch.tensor(list(self.n_categories.values()))
        for batch in self.x.split(_AT_ONCE):
            values = batch[:, columns].float()
            is_one = (values >= 0) & (values < n) & (values == values.round())
            if (wrong := ~(is_one | values.isnan())).any():
                row, column = (int(i) for i in wrong.nonzero()[0])
                raise DataError(
                    f"{self.name}: column {self.feature_names[columns[column]]!r} has the value "
                    f"{values[row, column]:g}, which is the number of none of its {n[column]} "
                    "categories"
                )

    @property
    def observation(self) -> ObservationSpec:
        """Shape and range of one observation."""
        if self.x.dtype == torch.uint8:
            return ObservationSpec(tuple(self.x.shape[1:]))
        return ObservationSpec(tuple(self.x.shape[1:]), *self._limits)

    @functools.cached_property
    def _limits(self) -> tuple[float, float, bool]:
        batches = self.x.split(_AT_ONCE)
        return find_limits(batches, self.name, self.feature_names, may_be_missing=True)

    def check_complete(self) -> None:
        """Raise a DataError that says where a value is missing, if one is."""
        if self.observation.missing:
            find_limits(self.x.split(_AT_ONCE), self.name, self.feature_names)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Digest of the observations, their split and their strata; labels do not train.

        Of streamed observations it covers number, shape, type and a sample that is spread over
        all of them, so that it takes no longer where there are more.
        """
        digest = hashlib.blake2b(digest_size=16)
        x = self.x
        if isinstance(x, StreamedObservations):
            digest.update(f"streamed {tuple(x.shape)}".encode())
            x = x.sample()
        strata = () if self.strata is None else (self.strata,)
        for values in (x, self.train, self.test, *strata):
            digest.update(f"{values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.cpu().contiguous().numpy())
        return digest.hexdigest()

    def split(self, part: Literal["train", "test"]) -> tuple[Observations, dict[str, Tensor]]:
        """Observations and labels of one part of the data; streamed ones stay in their file."""
        indices = self.train if part == "train" else self.test
        labels = {name: values[indices] for name, values in self.labels.items()}
        return select(self.x, indices), labels

    @property
    def train_strata(self) -> Tensor | None:
        """Strata of the training observations, long (N_train,)."""
        return None if self.strata is None else self.strata[self.train]


def as_float(x: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """Observations as the model sees them: uint8 becomes values / 255."""
    return x.to(dtype) / 255 if x.dtype == torch.uint8 else x.to(dtype)


def find_limits(
    batches: Iterable[Tensor],
    name: str,
    feature_names: Sequence[str] = (),
    may_be_missing: bool = False,
) -> tuple[float, float, bool]:
    """The smallest and the largest value of observations, and whether one lacks.

    Args:
        batches: real observations (B, *event), or uint8, which stand for 0 to 1.
        name: of the data, for the message.
        feature_names: of the columns, likewise.
        may_be_missing: whether values may be missing, NaN in their place.

    Raises:
        DataError: if a value is infinite, not a number, or so large that its square is infinite; it
            says where, under the names that are given.
    """

    def is_wrong(batch: Tensor) -> Tensor:
        fits = batch.abs() < _MOST
        return ~(fits | batch.isnan()) if may_be_missing else ~fits

    low, high, missing, n_rows, n_wrong, first = math.inf, -math.inf, False, 0, 0, None
    for batch in batches:
        n_rows += len(batch)
        if batch.dtype == torch.uint8:
            low, high = min(low, 0.0), max(high, 1.0)
            continue
        gaps = batch.isnan()
        low = min(low, batch.masked_fill(gaps, math.inf).min().item())
        high = max(high, batch.masked_fill(gaps, -math.inf).max().item())
        missing = missing or bool(gaps.any())
        wrong = is_wrong(batch).flatten(1)
        rows = wrong.any(1)
        n_wrong += int(rows.sum())
        if first is None and n_wrong:
            row = int(rows.long().argmax())
            column = int(wrong[row].long().argmax())
            first = n_rows - len(batch) + row, column, batch[row].flatten()[column].item()
    if first is not None:
        row, column, value = first
        where = f"row {row}, column {column}" if batch.ndim == 2 else f"picture {row}"
        if feature_names:
            where += f" ({feature_names[column]!r})"
        what = f"beyond {_MOST:.0e}, whose squares 32 bits cannot hold"
        if not math.isfinite(value):
            what = "that are infinite or not a number"
        raise DataError(
            f"{name}: {n_wrong} of {n_rows} observations have values of x {what}, first "
            f"{value:g} in {where}; leave these observations out, fill in what is missing (as "
            "scikit-learn's SimpleImputer does), or choose the likelihood columns with its option "
            "missing, which leaves missing cells of a table out"
        )
    if low > high:
        raise DataError(f"{name}: all values of x are missing")
    return low, high, missing


def select(x: Observations, rows: Tensor) -> Observations:
    """Some of the observations (N, *event), in the order of rows (n,): (n, *event).

    Streamed ones stay in their file; ``x[rows]`` reads them.
    """
    return x[rows.to(x.device)] if isinstance(x, Tensor) else x.select(rows)


def spread(x: Observations, n: int) -> Tensor:
    """At most n of the entries (N, ...), evenly spread: data may be sorted."""
    return x[torch.linspace(0, len(x) - 1, min(n, len(x))).long()]


def own_split(counts: Sequence[int], test_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the training and held-out part of a person's own data.

    The counts are those of ``x`` and, where there is one, of ``x_test``, which follow them; without
    it a share is held out, drawn by the seed.

    Raises:
        DataError: if the fraction is needed and not between 0 and 1.
    """
    if len(counts) == 1:
        return random_split(counts[0], test_fraction, seed)
    order = torch.arange(sum(counts))
    return order[: counts[0]], order[counts[0] :]


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
