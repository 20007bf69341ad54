r"""Variational deep embedding.

Generative story, for each observation:

1. draw a cluster :math:`c \sim \mathrm{Cat}(\pi)`
2. and a latent :math:`z \mid c \sim \mathcal N(\mu_c, \Sigma_c)`;
3. draw the observation :math:`x \sim p(x \mid \mathrm{decoder}(z))`.

.. math::
    p(x, z, c) = p(x \mid z) \, p(z \mid c) \, p(c), \qquad
    \mathcal L = E_q \log p(x \mid z)
      - E_{q(c|x)} KL(q(z|x) \| p(z|c)) - KL(q(c|x) \| p(c))

Source: Jiang et al., "Variational Deep Embedding: An Unsupervised and Generative Approach to
Clustering", IJCAI 2017, Eq. 3-6 and 12; as the case J = 1 in MFCVAE, Appendices C and D.5.
"""

from __future__ import annotations

from collections.abc import Sequence

from pyro_mfcvae.config import FacetConfig, parse_facets
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models.base import register_model
from pyro_mfcvae.models.mfcvae import MFCVAE
from pyro_mfcvae.models.networks import Part


@register_model("vade")
class VaDE(MFCVAE):
    """Variational deep embedding: MFCVAE with one facet.

    The story is MFCVAE's for J = 1, told by the same program: sites ``c_0``, ``z_0`` and ``x``.
    Covariances may be full as well; the paper has diagonal ones only. What sets the original
    apart besides is chosen apart from the model: guide ``expectation-analytic`` for its objective,
    ``training.pretraining`` for its auto-encoders, ``model.mixture_initialisation``
    ``"gmm-complete"`` for what follows them; the preset ``vade-mnist`` has all of it.

    Arguments as for :class:`~pyro_mfcvae.models.base.FacetModel`, with networks for one facet.

    Raises:
        ConfigError: if there is not exactly one facet, or as for FacetModel.
    """

    def __init__(
        self,
        observation: ObservationSpec | Sequence[int],
        facets: Sequence[FacetConfig] | str,
        likelihood: Part = "bernoulli",
        encoder: Part = "shared",
        decoder: Part = "shared",
    ) -> None:
        if isinstance(facets, str):
            facets = parse_facets(facets)
        if len(facets) != 1:
            raise ConfigError(
                f"VaDE has one facet, got {len(facets)}; give one, such as --facets 10:10, or "
                "choose model mfcvae (--set model.name=mfcvae)"
            )
        super().__init__(observation, facets, likelihood, encoder, decoder)
