"""Guides that take the clusters from a network q(c | x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyro
import torch
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.guides.base import Guide, Inferred, register_guide
from pyro_mfcvae.inference.enumeration import ANALYTIC
from pyro_mfcvae.priors.clusters import RelaxedCluster

if TYPE_CHECKING:
    from pyro_mfcvae.models.base import FacetModel


class NetworkGuide(Guide):
    """Takes q(c_j | x) from the model's network, and makes that if the model has none yet."""

    def __init__(self, model: FacetModel) -> None:
        super().__init__(model)
        model.need_cluster_network()

    @override
    @classmethod
    def misfit(cls, model: FacetModel) -> str:
        return ""


@register_guide("amortized")
class AmortizedGuide(NetworkGuide):
    """A network q(c_j | x), with the expectation over c_j exact.

    Where q(z | x, c) needs the clusters, encoder and decoder take one pass for each combination
    of them. Source: VLAC, Eq. 9 (whose authors sample instead).
    """

    @override
    @classmethod
    def misfit(cls, model: FacetModel) -> str:
        n, most = model.structure.n_combinations, model.structure.max_combinations
        if n <= most:
            return ""
        return (
            f"encoder and decoder would take {n} passes, one for each combination of clusters, and "
            f"max_combinations is {most}; raise it (--set "
            f"model.options.max_combinations={n}), choose fewer clusters, or guide relaxed"
        )

    @override
    def logits(self, inferred: Inferred) -> Tensor:
        return inferred.logits()


@register_guide("relaxed")
class RelaxedGuide(NetworkGuide):
    """A Gumbel-softmax sample of the network's q(c_j | x), which picks the component's parameters.

    The KL of c_j stays that of the discrete one. No bound on log p(x). Source: VLAC, Section 3;
    Jang et al., "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017.

    Attributes:
        temperature: tau, shape (), saved with the model; training lowers it as the settings say.
    """

    temperature: Tensor

    def __init__(self, model: FacetModel) -> None:
        super().__init__(model)
        self.register_buffer("temperature", torch.ones(()))

    @override
    def cluster(self, j: int, inferred: Inferred) -> Tensor:
        q = RelaxedCluster(self.temperature, logits=inferred.logits(), validate_args=False)
        return pyro.sample(f"c_{j}", q, infer={ANALYTIC: True})
