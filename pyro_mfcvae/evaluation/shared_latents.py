"""Pictures along the latent that a batch shares, and along each observation's own.

Source: Peis et al., "Unsupervised Learning of Global Factors in Deep Generative Models", 2020,
Sections 4.1 and 4.2, Figures 3 to 6, where the shared latent z_1 is beta and z_0 is z.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.data.observations import Observations, spread
from pyro_mfcvae.evaluation.groups import IntArray
from pyro_mfcvae.evaluation.predictions import Array, as_model_input, decode_means
from pyro_mfcvae.models.base import FacetModel

SHARED_REACH = 1.0  # beta goes from -1 to 1 in every dimension at once
OWN_REACH = 3.0  # z from mu - 3 to mu + 3 of a cluster, likewise
OWN_REACH_WITHOUT_CLUSTERS = 1.0


def shared_and_own(
    model: FacetModel, cluster: int = 0, n_rows: int = 7, n_columns: int = 7
) -> tuple[Array, Array, Array]:
    """Pictures of one cluster of facet 0 along the diagonals of the shared and of the own latent.

    Rows have values of z_1 from -1 to 1 in every dimension, columns values of z_0 from 3 below to 3
    above the cluster's mean at this z_1; from -1 to 1 where there are no clusters. Source: Figures
    3 and 4.

    Returns:
        pictures (n_rows, n_columns, *event), and the offsets of rows and columns.

    Raises:
        ValueError: if batches share no latent in this model, or the cluster does not exist.
    """
    check_shared(model)
    own, shared = model.structure.facets
    if not 0 <= cluster < own.n_clusters:
        raise ValueError(f"expected a cluster from 0 to {own.n_clusters - 1}, got {cluster}")
    reach = OWN_REACH if own.has_clusters else OWN_REACH_WITHOUT_CLUSTERS
    rows = torch.linspace(-SHARED_REACH, SHARED_REACH, n_rows)
    columns = torch.linspace(-reach, reach, n_columns)
    parameter = next(model.parameters())
    with torch.no_grad():
        z_1 = rows.to(parameter).unsqueeze(-1).expand(n_rows, shared.latent_dim)
        means = model.prior(0, {1: z_1}).loc[..., cluster, :]
        z_0 = means.expand(n_rows, own.latent_dim).unsqueeze(1) + columns.to(parameter)[:, None]
        zs = [z_0, z_1.unsqueeze(1).expand(n_rows, n_columns, -1)]
    return decode_means(model, zs), rows.numpy(), columns.numpy()


def between_groups(
    model: FacetModel, groups: Sequence[Tensor], ends: Sequence[Tensor], n_steps: int = 7
) -> tuple[Array, Array]:
    """Pictures between the shared latents of two groups, and between two observations' own.

    The observations (B, *event) of the groups have q(z_1 | X) with means b_0 and b_1, the two ends
    (*event) have q(z_0 | x) with means a_0 and a_1. Source: Figures 5 and 6.

    Returns:
        pictures (n_steps, n_steps, *event), rows from b_0 to b_1, columns from a_0 to a_1, and the
        shared latents (n_steps, D_1); for a model without groups pictures (1, n_steps, *event) and
        none.
    """
    share = torch.linspace(0, 1, n_steps).to(next(model.parameters())).unsqueeze(-1)
    with model.evaluating():
        own = model.encode(as_model_input(model, torch.stack(list(ends))))[0].mean
        z_0 = own[0] + share * (own[1] - own[0])
        if model.structure.group_size is None:
            return decode_means(model, [z_0.unsqueeze(0)]), np.empty((0, 0))
        b_0, b_1 = (_shared_mean(model, as_model_input(model, x)) for x in groups)
        z_1 = b_0 + share * (b_1 - b_0)
        zs = [z_0.expand(n_steps, -1, -1), z_1.unsqueeze(1).expand(-1, n_steps, -1)]
    return decode_means(model, zs), z_1.cpu().numpy()


def _shared_mean(model: FacetModel, x: Tensor) -> Tensor:
    """Mean (D_1,) of what a group of observations (B, *event) says of its shared latent."""
    group = model.summarise_group([x])
    assert group is not None
    return group.mean


def domain_follows(
    model: FacetModel, x: Observations, domains: IntArray, n_observations: int = 500
) -> dict[str, float]:
    """Which latent a picture's domain comes with, as a judge of domains says.

    Observations x (N, *event) of one domain (0 or 1 of each, (N,)) are redrawn, each at the mean of
    its q(z_0 | x), with the mean of q(z_1 | X) over the other domain in place of that over its own.
    Where batches share no latent, what stands in for it is the mean of z_0 over a domain: z_0 then
    moves by the difference of the two. A linear classifier of pixels, trained on every other
    reconstruction, says which domain the redrawn pictures are of. Of each domain at most
    n_observations are taken, evenly spread. The model is in evaluation mode, batch norm included.

    Returns:
        ``{"shared": share of redrawn pictures in the domain of the shared latent, the mean over
        both domains, "own": in that of the observation, "judge": accuracy on the reconstructions
        that the classifier was not trained on}``.
    """
    from sklearn.linear_model import LogisticRegression

    rows = [torch.from_numpy(np.flatnonzero(domains == d)).to(x.device) for d in (0, 1)]
    with model.evaluating():
        parts = [as_model_input(model, spread(x[some], n_observations)) for some in rows]
        own = [model.encode(part)[0].mean for part in parts]
        if model.structure.group_size is None:
            way = own[1].mean(0) - own[0].mean(0)
            latents = [[[own[0]], [own[1]]], [[own[0] + way], [own[1] - way]]]
        else:
            shared = [_shared_mean(model, part) for part in parts]
            latents = [
                [[z, z_1.expand(len(z), -1)] for z, z_1 in zip(own, given, strict=True)]
                for given in (shared, shared[::-1])
            ]
    kept, moved = (
        [decode_means(model, zs).reshape(len(zs[0]), -1) for zs in each] for each in latents
    )
    judge = LogisticRegression(max_iter=1000)
    seen = [a[::2] for a in kept]
    judge.fit(np.concatenate(seen), np.repeat((0, 1), list(map(len, seen))))
    right = [(judge.predict(a[1::2]) == d).mean() for d, a in enumerate(kept)]
    followed = float(np.mean([(judge.predict(a) == 1 - d).mean() for d, a in enumerate(moved)]))
    return {"shared": followed, "own": 1 - followed, "judge": float(np.mean(right))}


def check_shared(model: FacetModel) -> None:
    """Raise a ValueError if batches share no latent in this model."""
    if model.structure.group_size is None:
        raise ValueError(
            "expected a model in which the observations of a batch share a latent, such as ugvae; "
            f"got {type(model).__name__}"
        )
