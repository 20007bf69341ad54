r"""Gaussian mixture variational auto-encoder.

Generative story, for each observation:

1. draw its style :math:`z_1 \sim \mathcal N(0, I)`
2. and a cluster :math:`c_0 \sim \mathrm{Cat}(1/K)`;
3. draw a latent :math:`z_0 \mid c_0, z_1 \sim \mathcal N(\mu_{c_0}(z_1), \sigma_{c_0}(z_1)^2)`,
   with networks for mu and sigma;
4. draw the observation :math:`x \sim p(x \mid \mathrm{decoder}(z_0))`.

.. math::
    \mathcal L = E_q \log p(x \mid z_0)
      - E_q KL(q(z_0 \mid x) \| p(z_0 \mid c_0, z_1)) - KL(q(z_1 \mid x) \| p(z_1))
      - E_q KL(p(c_0 \mid z_0, z_1) \| p(c_0))

with :math:`q(z_0 \mid x) \, q(z_1 \mid x)`. The terms are called reconstruction, conditional prior,
w-prior and z-prior: they are ``kl_z`` of facet 0 and 1 and ``kl_c`` of facet 0.

Source: Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
Autoencoders", 2016, Section 3, where z_0 is x, z_1 is w, c_0 is z and x is y. Guide
``posterior-analytic`` has its objective, setting ``training.min_information`` its constraint.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pyro
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.config import FacetConfig
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.inference.parameters import announce_parameters
from pyro_mfcvae.models.base import FacetModel, data_plate, register_model, sample_facet
from pyro_mfcvae.models.networks import Part
from pyro_mfcvae.models.structure import Structure
from pyro_mfcvae.priors.base import Prior
from pyro_mfcvae.priors.conditional import Variance, conditional_priors


@register_model("gmvae")
class GMVAE(FacetModel):
    """Gaussian mixture VAE: facet 0 clusters, facet 1 is what its components depend on.

    Args:
        observation: what one observation looks like, or just its shape.
        facets: two, the second with one cluster, such as ``"200:10,150:1"``. The components have
            diagonal covariances, the weights are 1/K.
        likelihood: p(x | z_0).
        encoder: with two facets, below q(z_0 | x) and q(z_1 | x).
        decoder: of one latent, below p(x | z_0).
        mixture_width: of the hidden layer below mu and sigma, which all components share.
        mixture_variance: how sigma^2 comes from its network.

    Raises:
        ConfigError: if a part is unknown or does not fit.
        DataError: if the likelihood cannot describe the observations.
    """

    def __init__(
        self,
        observation: ObservationSpec | Sequence[int],
        facets: Sequence[FacetConfig] | str,
        likelihood: Part = "bernoulli",
        encoder: Part = "shared",
        decoder: Part = "shared",
        *,
        mixture_width: int = 500,
        mixture_variance: Variance = "exp",
    ) -> None:
        self._mixture_options: dict[str, Any] = {
            "width": mixture_width,
            "variance": mixture_variance,
        }
        super().__init__(observation, facets, likelihood, encoder, decoder)

    @override
    def _priors(self, facets: Sequence[FacetConfig]) -> list[Prior]:
        return conditional_priors("GMVAE", facets, is_shared=True, **self._mixture_options)

    @override
    def describe(self, priors: Sequence[Prior]) -> Structure:
        structure = super().describe(priors).with_facet(1, is_decoded=False)
        unread = () if structure.clustered else ("mixture_width", "mixture_variance")
        return replace(structure, unread_options=unread)

    @override
    def model(self, x: Tensor) -> None:
        announce_parameters(self, "model")
        with data_plate(x):
            with self.facet(1):
                w = sample_facet(1, self.facets[1]())
            with self.facet(0):
                z = sample_facet(0, self.prior(0, {1: w}))
            pyro.sample("x", self.decode([z, w]), obs=x)
