r"""Multi-facet clustering variational auto-encoder.

Generative story, for each observation:

1. for each facet j independently, draw a cluster :math:`c_j \sim \mathrm{Cat}(\pi_j)`
2. and a latent :math:`z_j \mid c_j \sim \mathcal N(\mu_{j,c_j}, \Sigma_{j,c_j})`;
3. draw the observation :math:`x \sim p(x \mid \mathrm{decoder}(z_1, \dots, z_J; \alpha))`.

.. math::
    p(x, z, c) = p(x \mid z) \prod_j p(z_j \mid c_j) \, p(c_j), \qquad
    \mathcal L = E_q \log p(x \mid z)
      - \sum_j \alpha_j \big( E_q KL(q(z_j|x) \| p(z_j|c_j)) + KL(q(c_j|x) \| p(c_j)) \big)

Source: Falck et al., "Multi-Facet Clustering Variational Autoencoders", NeurIPS 2021, Eq. 1, 2,
14 and 89.
"""

from __future__ import annotations

import pyro
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.inference.parameters import announce_parameters
from pyro_mfcvae.models.base import FacetModel, data_plate, register_model, sample_facet


@register_model("mfcvae")
class MFCVAE(FacetModel):
    """Multi-facet clustering VAE: independent mixture priors, one decoder.

    Arguments as for :class:`~pyro_mfcvae.models.base.FacetModel`.

    Example:
        >>> import torch
        >>> model = MFCVAE((5,), "2:4,2:3", "gaussian", "shared", "shared")
        >>> terms = model(torch.randn(8, 5), guide="vade", n_samples=2)
        >>> terms.elbo.shape, terms.kl_z.shape  # (B,) and (B, J)
        (torch.Size([8]), torch.Size([8, 2]))
    """

    @override
    def model(self, x: Tensor) -> None:
        announce_parameters(self, "model")
        with data_plate(x):
            zs = []
            for j, facet in enumerate(self.facets):
                with self.facet(j):
                    zs.append(sample_facet(j, facet()))
            pyro.sample("x", self.decode(zs), obs=x)
