"""Counts and categories
=====================

Likelihoods of counts and of categories, named in settings as the built-in ones are.

::

    x_i ~ Poisson(softplus(h_i))   or   x_i ~ Cat(softmax(h_i)), one-hot in the last dimension

Give both as float32 (uint8 is read as values / 255): ``mfcvae train --data counts.npz --set
model.likelihood=poisson --model examples/count_likelihoods.py:CountMFCVAE``.
"""

import pyro
import pyro.distributions as dist
import torch
from torch import nn

from pyro_mfcvae import MFCVAE, FacetELBO
from pyro_mfcvae.config import Component
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.nets.likelihoods import Likelihood, register_likelihood


@register_likelihood("poisson")
class PoissonLikelihood(Likelihood):
    def forward(self, h, event_dim):
        return dist.Poisson(nn.functional.softplus(h), validate_args=False).to_event(event_dim)

    def check(self, observation):
        if observation.low < 0:
            raise DataError(f"expected counts from 0 on, got {observation.low:g}")


@register_likelihood("categorical")
class CategoricalLikelihood(Likelihood):
    def forward(self, h, event_dim):
        return dist.OneHotCategorical(logits=h, validate_args=False).to_event(event_dim - 1)

    def check(self, observation):
        if observation.low < 0 or observation.high > 1:
            raise DataError(f"expected zeros and ones, got up to {observation.high:g}")


class CountMFCVAE(MFCVAE):
    """MFCVAE as it is, of this file, so that ``--model`` makes the likelihoods known."""


def main(n_steps=200):
    """Counts of two kinds, and which of each row is the highest; returns both curves of losses."""
    torch.manual_seed(0)
    rates = torch.tensor([[8.0, 8, 1, 1, 1], [1, 1, 1, 8, 8]])[torch.randint(2, (300,))]
    counts, losses = torch.poisson(rates), {}
    most = nn.functional.one_hot(counts.argmax(-1), 5).float()
    small = Component(name="shared", options={"widths": [32]})
    for likelihood, x in {"poisson": counts, "categorical": most}.items():
        model = CountMFCVAE((5,), "2:2,1:1", likelihood, small, small)
        svi = pyro.infer.SVI(model.model, model.guide(), pyro.optim.Adam({"lr": 5e-3}), FacetELBO())
        losses[likelihood] = [svi.step(x) / len(x) for _ in range(n_steps)]
    return losses


if __name__ == "__main__":
    print({name: f"{first:.2f} -> {last:.2f}" for name, (first, *_, last) in main().items()})
