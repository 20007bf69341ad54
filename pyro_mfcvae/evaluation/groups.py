"""Groups of observations that have something in common, and what each says of a shared latent.

Source: Peis et al., "Unsupervised Learning of Global Factors in Deep Generative Models", 2020,
Section 4.3 and Figure 7; the series of digits are those of its supplement.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from numpy.typing import NDArray

from pyro_mfcvae.config.observation import MISSING
from pyro_mfcvae.data.observations import Dataset, Observations
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.evaluation.predictions import BATCH_SIZE, Array, as_model_input
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.models.ugvae import UGVAE

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class GroupKind:
    """What all observations of a group have in common.

    Attributes:
        name: of the kind.
        factor: that they are chosen by; empty for groups drawn from all observations.
        values: of this factor, that may be in the group.
    """

    name: str
    factor: str = ""
    values: tuple[int, ...] = ()


RANDOM = GroupKind("random")
SERIES = (
    GroupKind("even", "digit", (0, 2, 4, 6, 8)),
    GroupKind("odd", "digit", (1, 3, 5, 7, 9)),
    GroupKind("Fibonacci", "digit", (1, 2, 3, 5, 8)),  # 0, which some count in, is left out
    GroupKind("prime", "digit", (2, 3, 5, 7)),
)
HAIR = (GroupKind("black", "Black_Hair", (1,)), GroupKind("blond", "Blond_Hair", (1,)))
SEX = (GroupKind("male", "Male", (1,)), GroupKind("female", "Male", (0,)))


@dataclass(frozen=True, eq=False)
class Groups:
    """Groups of observations, each of one kind."""

    rows: IntArray  # of the observations, (G, B)
    classes: IntArray  # each group's kind, counted from 0, (G,)
    kinds: tuple[GroupKind, ...]  # R of them


def values_of(dataset: Dataset, factor: str) -> tuple[GroupKind, ...]:
    """Groups in which a factor has one value, one kind for each of them.

    Raises:
        DataError: if the data have no such factor.
    """
    if factor not in dataset.labels:
        raise DataError(
            f"{dataset.name} has no factor {factor!r} to choose groups by; it has "
            f"{', '.join(dataset.labels) or 'none'}"
        )
    values = [v for v in dataset.labels[factor].unique().tolist() if v != MISSING]
    names = dataset.class_names.get(factor) or [str(v) for v in range(max(values) + 1)]
    return tuple(GroupKind(names[v], factor, (v,)) for v in values)


def draw_groups(
    labels: Mapping[str, IntArray],
    kinds: Sequence[GroupKind],
    n_groups: int,
    group_size: int,
    seed: int = 0,
) -> Groups:
    """Random groups of each kind; no observation is twice in one group.

    Args:
        labels: {factor: classes (N,)} of the observations.
        kinds: R of them.
        n_groups: of each kind.
        group_size: B.
        seed: of the draws.

    Raises:
        DataError: if a factor is missing, or a kind has fewer than B observations.
        ValueError: if there are no kinds, or nothing is to be drawn.
    """
    if not kinds or n_groups < 1 or group_size < 1:
        raise ValueError(
            "expected at least one kind, one group of each and one observation in it, got "
            f"{len(kinds)}, {n_groups} and {group_size}"
        )
    rng = np.random.default_rng(seed)
    rows = []
    for kind in kinds:
        members = _members(labels, kind)
        if len(members) < group_size:
            raise DataError(
                f"a group of kind {kind.name!r} takes {group_size} observations, and there are "
                f"{len(members)}; choose smaller groups, or hold more observations out"
            )
        rows += [rng.choice(members, group_size, replace=False) for _ in range(n_groups)]
    classes = np.repeat(np.arange(len(kinds)), n_groups)
    return Groups(np.stack(rows), classes, tuple(kinds))


def group_latents(model: FacetModel, x: Observations, rows: IntArray) -> tuple[Array, Array]:
    """What each group says of the latent that it shares: q(z_1 | X), for any number of groups.

    For a model without one the mean of z_0 over the group stands in, with the distribution that
    it has if every z_0 is drawn from its own q(z_0 | x).

    Args:
        model: the model.
        x: observations (N, *event).
        rows: of the observations in each group, (G, B).

    Returns:
        means and standard deviations, each (G, D).
    """
    used, places = np.unique(rows, return_inverse=True)
    members = torch.from_numpy(places.reshape(rows.shape))
    with model.evaluating():
        batches = (
            as_model_input(model, x[some.to(x.device)])
            for some in torch.from_numpy(used).split(BATCH_SIZE)
        )
        if model.structure.group_size is not None:
            shares = cast(UGVAE, model)
            means, precisions = shares.opinions(batches)
            posterior = shares.grouped(means[members], precisions[members])
            mean, deviation = posterior.mean, posterior.stddev
        else:
            own = [model.encode(batch)[0] for batch in batches]
            mean = torch.cat([q.mean for q in own])[members].mean(1)
            variance = torch.cat([q.variance for q in own])[members].sum(1)
            deviation = variance.sqrt() / rows.shape[1]
    return mean.cpu().numpy(), deviation.cpu().numpy()


def _members(labels: Mapping[str, IntArray], kind: GroupKind) -> IntArray:
    """Rows of the observations that may be in a group of this kind."""
    if not labels:
        raise DataError("groups are chosen by labels, and the data have none")
    if not kind.factor:
        return np.arange(len(next(iter(labels.values()))))
    if kind.factor not in labels:
        raise DataError(
            f"groups of kind {kind.name!r} are chosen by {kind.factor!r}, which the data have no "
            f"labels for; they have {', '.join(labels) or 'none'}"
        )
    return np.flatnonzero(np.isin(labels[kind.factor], kind.values))
