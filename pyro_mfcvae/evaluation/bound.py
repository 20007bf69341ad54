r"""A tighter bound on the evidence, from several samples.

.. math::
    \log p(x) \ge E \log \frac1S \sum_s \frac{p(x, z^{(s)})}{q(z^{(s)} \mid x)}, \qquad
    z^{(s)} \sim q(z \mid x), \quad p(x, z) = \sum_c p(x, z, c)

Source: Burda et al., "Importance Weighted Autoencoders", ICLR 2016, Eq. 8. With S = 1 it is the
ELBO of the guide ``enumerate``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from pyro_mfcvae.evaluation.predictions import as_model_input
from pyro_mfcvae.inference.elbo import FacetELBO
from pyro_mfcvae.inference.noise import Noise, derive_seed
from pyro_mfcvae.models.base import FacetModel

_ROWS = 4000  # decoded at a time


def importance_weighted_bound(
    model: FacetModel, x: Tensor, n_samples: int = 64, seed: int = 0
) -> Tensor:
    """The bound of every observation x (N, *event), in nats: (N,), float64, on the CPU.

    It is on the evidence of the model with its rungs as they are faded, so the KLs are not weighed.

    Raises:
        ValueError: if there are no samples, or the model has no such bound.
    """
    if n_samples < 1:
        raise ValueError(f"expected at least one sample, got {n_samples}")
    if reason := unweighable(model):
        raise ValueError(f"no importance-weighted bound: {reason}; take the ELBO of elbo_means")
    guide = model.guide("enumerate")
    n_observations = max(1, _ROWS // n_samples)
    n_at_once = min(n_samples, _ROWS)
    bounds = []
    with model.evaluating():
        for i, batch in enumerate(x.split(n_observations)):
            batch = as_model_input(model, batch)
            parts = []
            for k, start in enumerate(range(0, n_samples, n_at_once)):
                n = min(n_at_once, n_samples - start)
                with Noise(derive_seed(seed, "bound", k), i):
                    elbo = FacetELBO(n).log_weights(model.model, guide, batch)
                parts.append(elbo.double())
            bounds.append(torch.cat(parts).logsumexp(0).cpu() - math.log(n_samples))
    return torch.cat(bounds)


def unweighable(model: FacetModel) -> str:
    """Why a model has no importance-weighted bound of this kind; empty if it has one."""
    if model.structure.group_size is not None:
        return "it needs observations that are independent, but those of a batch share a latent"
    if model.structure.infers_clusters_first:
        return "it needs the clusters to be summed out given z, but q(z | x, c) is told them"
    return ""
