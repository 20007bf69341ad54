r"""What the terms of the objective are weighed with, and the loss that comes of it.

.. math::
    \mathcal L(x) = E \log p(x \mid z) - \sum_j w_j \big( KL_{z_j} + KL_{c_j} \big)
    - s \sum KL_{other}, \qquad
    w_j = s \, \big(f + (1 - f) \, \alpha_j\big)

The fade-in weights alpha (MFCVAE, Eq. 89) reach the decoder as well; the other two do not. With the
floor f a facet whose turn has not come is pulled towards its prior already (MFCVAE, Appendix D.3,
"pretraining"). The scale s is for a warm-up of the KL terms, and for a beta-VAE.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from operator import add

import torch
from torch import Tensor

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.terms import ElboTerms


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the terms of the objective.

    Attributes:
        fade: alpha, shape (J,).
        floor: f, from 0 to 1.
        scale: s, shape (); None means 1.
        min_information: lambda_j, in nats: what the KL of c_j costs at least, on the mean over the
            batch, shape (J,), 0 for a facet without clusters; None leaves that out.

    Raises:
        ConfigError: if the floor is out of range.
    """

    fade: Tensor
    floor: float = 0.0
    scale: Tensor | None = None
    min_information: Tensor | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"the KL floor must be from 0 to 1, got {self.floor}")

    @property
    def is_fade_alone(self) -> bool:
        """Whether the KL terms of a facet are weighed with alpha_j and nothing else."""
        return self.floor == 0 and self.scale is None

    @property
    def kl(self) -> Tensor:
        """The weights w_j of both KL terms of each facet, shape (J,)."""
        if self.is_fade_alone:
            return self.fade
        raised = self.floor + (1 - self.floor) * self.fade
        return raised if self.scale is None else raised * self.scale


def elbo(terms: ElboTerms, weights: Weights) -> Tensor:
    """The weighted ELBO, shape (B,); no bound on log p(x) while a weight is between 0 and 1."""
    cost = ((terms.kl_z + terms.kl_c) * weights.kl).sum(-1)
    others = [*terms.other.values(), *terms.shared.values()]
    if weights.scale is not None:
        others = [weights.scale * kl for kl in others]
    return terms.reconstruction - reduce(add, others, cost)


def loss(terms: ElboTerms, weights: Weights) -> Tensor:
    r"""Minus the mean of the weighted ELBO, shape (); with a minimum of information what raises it.

    .. math::
        \max\big(\lambda_j, \tfrac1B \sum_i KL_{c_j}(x_i)\big)

    then stands for the KL of c_j, so that below lambda_j it has no gradient. Source:
    Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
    Autoencoders", 2016, Section 3.3, after Kingma et al., "Improving Variational Inference with
    Inverse Autoregressive Flow", 2016.
    """
    cost = -elbo(terms, weights).mean()
    if weights.min_information is None:
        return cost
    missing = (weights.min_information - terms.kl_c.mean(0)).relu()
    return cost + (missing * weights.kl).sum()


@torch.no_grad()
def term_means(terms: ElboTerms, weights: Weights) -> dict[str, Tensor]:
    """What logs and evaluations record of a batch, by name, each of shape ().

    The weighted ELBO, the bare terms averaged over the batch, and the weights: ``fade_J``, and
    where they differ from these ``kl_weight_J`` and ``kl_weight_SITE``.
    """
    columns = {"elbo": elbo(terms, weights), "reconstruction": terms.reconstruction}
    for j in range(len(weights.fade)):
        columns |= {f"kl_z_{j}": terms.kl_z[:, j], f"kl_c_{j}": terms.kl_c[:, j]}
    columns |= terms.other
    values = torch.stack(list(columns.values())).mean(-1).unbind()
    means = dict(zip(columns, values, strict=True))
    by_facet = {"fade": weights.fade}
    if not weights.is_fade_alone:
        by_facet["kl_weight"] = weights.kl
    for name, of_facets in by_facet.items():
        means |= {f"{name}_{j}": value for j, value in enumerate(of_facets.unbind())}
    if weights.scale is not None:
        means |= {f"kl_weight_{name}": weights.scale for name in (*terms.other, *terms.shared)}
    return means | {name: value.detach() for name, value in terms.shared.items()}
