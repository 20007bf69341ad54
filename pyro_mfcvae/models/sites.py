"""What generative stories are told with: the plate over observations, and sites of clusters."""

from __future__ import annotations

import pyro
import torch
from torch import Tensor

from pyro_mfcvae.priors.densities import MixtureDensities


def data_plate(x: Tensor) -> pyro.plate:
    """The plate over the observations of a batch, at dim -1."""
    return pyro.plate("data", len(x), dim=-1)


def cluster_site(j: int, prior: MixtureDensities) -> Tensor:
    """The site c_j ~ p(c), to be enumerated; where there is one cluster only, that, and no site."""
    if prior.n_clusters == 1:
        return torch.zeros((), dtype=torch.long, device=prior.loc.device)
    return pyro.sample(f"c_{j}", prior.cluster(), infer={"enumerate": "parallel"})
