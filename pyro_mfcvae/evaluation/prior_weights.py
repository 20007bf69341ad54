"""How often the generative story draws each cluster."""

from __future__ import annotations

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from pyro.poutine import Trace

from pyro_mfcvae.evaluation.predictions import Array
from pyro_mfcvae.models.base import FacetModel

_AT_ONCE, _AT_MOST = 250, 5000  # draws


def prior_weights(model: FacetModel, seed: int = 0) -> dict[int, Array]:
    r"""{facet: p(c_j), (K_j,)} as :meth:`FacetModel.model` has them, where it has a site c_j.

    .. math::
        p(c_j) \approx \frac1S \sum_s p(c_j \mid \mathrm{parents}^{(s)})

    Exact where a cluster depends on nothing; otherwise the mean over draws of what it depends on.
    """
    parameter = next(model.parameters())
    device = parameter.device
    devices = [device] if device.type == "cuda" else []
    shape = (_AT_ONCE, *model.observation.shape)
    x = torch.zeros(shape, dtype=parameter.dtype, device=device)
    drawn: dict[int, list[NDArray]] = {}
    with torch.random.fork_rng(devices), model.evaluating():
        torch.manual_seed(seed)
        for _ in range(_AT_MOST // _AT_ONCE):
            trace = pyro.poutine.trace(model.model).get_trace(x)
            for j, facet in enumerate(model.structure.facets):
                if f"c_{j}" in trace:
                    drawn.setdefault(j, []).append(_of_site(trace, j, facet.n_clusters))
            if not any(np.ptp(parts[0], 0).any() for parts in drawn.values()):
                break
    return {j: np.concatenate(parts).mean(0) for j, parts in drawn.items()}


def _of_site(trace: Trace, j: int, n_clusters: int) -> NDArray[np.float64]:
    """p(c_j) for each of the draws, or once for all of them, (S or 1, K)."""
    probs = trace.nodes[f"c_{j}"]["fn"].probs
    return probs.double().reshape(-1, n_clusters).cpu().numpy()
