r"""Guides q(z, c | x): the swappable half of a model.

All share the continuous part :math:`q(z_j \mid x) = \mathcal N(m_j(x), \mathrm{diag}\, s_j(x)^2)`
and differ in what they do with the clusters:

==================== ================================================= ==========================
name                 q(c_j | x)                                        objective
==================== ================================================= ==========================
vade                 softmax of the mean over samples of               enumerated in the guide;
                     log p(c_j | z_j)                                  five-term form at S = 1
vade-analytic        proportional to pi_c exp(E_q log p(z_j | c_j))    likewise, KL of z_j in
                                                                       closed form
expectation          mean over samples of p(c_j | z_j)                 enumerated in the guide
expectation-analytic likewise                                          likewise, KL of z_j in
                                                                       closed form
enumerate            none                                              c_j summed out of the model;
                                                                       three-term form at S = 1
==================== ================================================= ==========================

In closed form are the entropy of q(z_j | x) and E log p(z_j | c_j) over it, instead of both at the
samples: see :class:`AnalyticGuide`.

Source: MFCVAE, Theorem 2 (Eq. 12) and Appendix C; the closed form: Jiang et al., "Variational
Deep Embedding", IJCAI 2017, Eq. 12.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyro
from pyro.distributions import Independent
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.components import ClusterCategorical
from pyro_mfcvae.enumeration import ANALYTIC
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.fade_in import Fade
from pyro_mfcvae.parameters import announce_parameters

if TYPE_CHECKING:
    from pyro_mfcvae.models.base import FacetModel

GUIDES: dict[str, type[Guide]] = {}


def register_guide(name: str) -> Callable[[type[Guide]], type[Guide]]:
    """Class decorator: make a guide known as ``name`` to models and the command line."""

    def register(guide: type[Guide]) -> type[Guide]:
        GUIDES[name] = guide
        return guide

    return register


def build_guide(name: str, model: FacetModel) -> Guide:
    """The guide called ``name`` for a model.

    Raises:
        ConfigError: if no guide has this name.
    """
    if name not in GUIDES:
        raise ConfigError(f"unknown guide {name!r}; choose one of {', '.join(sorted(GUIDES))}")
    return GUIDES[name](model)


class Guide(nn.Module):
    """q(z | x), and a hook for the clusters. A guide with a network owns its parameters.

    Args:
        model: the model whose encoder and facets the guide uses. It is not a submodule of the
            guide: the model owns its guides, not the other way round.
    """

    model: FacetModel

    def __init__(self, model: FacetModel) -> None:
        super().__init__()
        self.__dict__["model"] = model

    def forward(self, x: Tensor, fade: Tensor | None = None) -> None:
        """The Pyro program.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets, shape (J,); None means ones.
        """
        announce_parameters(self.model, "model")
        announce_parameters(self, "guide")
        posteriors = self.model.encode(x, fade)
        with pyro.plate("data", len(x), dim=-1):
            for j, posterior in enumerate(posteriors):
                with Fade(j, None if fade is None else fade[j]):
                    self.facet(j, posterior)

    def facet(self, j: int, posterior: Independent) -> None:
        """The sites of facet j; posterior is q(z_j | x), of batch shape (B,)."""
        z = pyro.sample(f"z_{j}", posterior)
        self.cluster(j, z)

    def cluster(self, j: int, z: Tensor) -> None:
        """The site c_j, if the guide has one; z has shape (B, D_j) or (S, B, D_j)."""
        raise NotImplementedError


class ClosedFormGuide(Guide):
    """One q(c_j | x) per observation, made of the p(c_j | z_j) of its samples."""

    @override
    def cluster(self, j: int, z: Tensor) -> None:
        logits = self.model.facets[j].log_responsibilities(z)
        if logits.dim() > 2:
            logits = self.over_samples(logits.flatten(0, -3))
        self.sample_cluster(j, logits)

    def sample_cluster(self, j: int, logits: Tensor) -> None:
        """The site c_j, enumerated; logits are log q(c_j | x) up to a constant, (B, K)."""
        pyro.sample(
            f"c_{j}",
            ClusterCategorical(logits=logits, validate_args=False),
            infer={"enumerate": "parallel"},
        )

    def over_samples(self, log_responsibilities: Tensor) -> Tensor:
        """Log p(c | z) of all samples (S, B, K) -> log q(c | x) up to a constant, (B, K)."""
        raise NotImplementedError


@register_guide("vade")
class VadeGuide(ClosedFormGuide):
    r"""The VaDE trick: the q(c | x) that maximises the ELBO, in closed form.

    .. math::
        q(c_j \mid x) \propto \exp\Big(\frac1S \sum_s \log p(c_j \mid z_j^{(s)})\Big)

    Source: MFCVAE, Theorem 2, Eq. 12 with Eq. 59 for S samples.
    """

    @override
    def over_samples(self, log_responsibilities: Tensor) -> Tensor:
        return log_responsibilities.mean(0)


@register_guide("expectation")
class ExpectationGuide(ClosedFormGuide):
    r"""The q(c | x) of the VaDE paper itself, which is the optimum for one sample only.

    .. math::
        q(c_j \mid x) = \frac1S \sum_s p(c_j \mid z_j^{(s)}) \approx E_{q(z|x)}\, p(c_j \mid z_j)

    Its ELBO lies below that of ``enumerate`` by :math:`E_{q(z|x)} KL(q(c|x) \| p(c|z))`, which
    that paper takes for zero. Source: Jiang et al., "Variational Deep Embedding", IJCAI 2017,
    Eq. 16; MFCVAE, Appendix C.
    """

    @override
    def over_samples(self, log_responsibilities: Tensor) -> Tensor:
        return log_responsibilities.logsumexp(0)


class AnalyticGuide(ClosedFormGuide):
    """Has log-densities of z_j averaged over q(z_j | x) in closed form, not over its samples.

    Its site z_j is marked for :class:`~pyro_mfcvae.elbo.FacetELBO`, which then takes the
    expectations; samples still go through the decoder. Pyro's own objectives do not know the mark
    and take the densities at the samples: with q(c | x) from q(z | x) itself that is an unbiased
    estimate of the same bound, with q(c | x) from the samples the (other) bound of the guide
    without the mark.
    """

    @override
    def facet(self, j: int, posterior: Independent) -> None:
        z = pyro.sample(f"z_{j}", posterior, infer={ANALYTIC: True})
        self.cluster(j, z)


@register_guide("expectation-analytic")
class AnalyticExpectationGuide(AnalyticGuide, ExpectationGuide):
    r"""The objective of the VaDE paper and its code: ``expectation`` with KLs in closed form.

    Its ELBO lies below that of ``vade-analytic`` by :math:`KL(q(c|x) \| q^*(c|x))`, with
    :math:`q^*` of that guide, at S = 1 too. Source: Jiang et al., "Variational Deep Embedding",
    IJCAI 2017, Eq. 12 and 16.
    """


@register_guide("vade-analytic")
class AnalyticVadeGuide(AnalyticGuide):
    r"""The q(c | x) that maximises the ELBO for all samples of q(z | x) at once.

    .. math::
        q(c_j \mid x) \propto \pi_{c_j} \exp\big(E_{q(z_j|x)} \log p(z_j \mid c_j)\big)

    The limit of ``vade`` for S to infinity; neither KL depends on a sample. Source: MFCVAE,
    Theorem 2, Eq. 12, with the expectation of VaDE, Eq. 12.
    """

    @override
    def facet(self, j: int, posterior: Independent) -> None:
        pyro.sample(f"z_{j}", posterior, infer={ANALYTIC: True})
        prior, normal = self.model.facets[j], posterior.base_dist
        expected = prior.expected_component_log_prob(normal.loc, normal.scale)
        self.sample_cluster(j, (expected + prior.log_weights).log_softmax(-1))


@register_guide("enumerate")
class EnumerateGuide(Guide):
    r"""No q(c | x): each c_j is summed out of the model exactly, for each sample.

    The objective becomes :math:`E_{q(z|x)}[\log p(x|z) - \log q(z|x) + \log p(z)]`, the bound
    for the mixture prior itself. Source: MFCVAE, Appendix C.2 and Eq. 35.
    """

    @override
    def cluster(self, j: int, z: Tensor) -> None:
        pass
