"""What generative stories are told with: the plate over observations, and sites of clusters."""

from __future__ import annotations

import pyro
from torch import Tensor

from pyro_mfcvae.priors.densities import LatentDistribution


def data_plate(x: Tensor) -> pyro.plate:
    """The plate over the observations of a batch, at dim -1."""
    return pyro.plate("data", len(x), dim=-1)


def sample_facet(j: int, p: LatentDistribution) -> Tensor:
    """The sites of a facet: its cluster c_j, to be enumerated, if it has any, and z_j."""
    clusters = p.cluster()
    c = None
    if clusters is not None:
        c = pyro.sample(f"c_{j}", clusters, infer={"enumerate": "parallel"})
    return pyro.sample(f"z_{j}", p.component(c))
