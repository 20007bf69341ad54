r"""Guides q(z, c | x): the swappable half of a model.

All share the continuous part, such as :math:`q(z_j \mid x) = \mathcal N(m_j(x), \mathrm{diag}\,
s_j(x)^2)`, which the model has, and differ in what they do with the clusters:

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
posterior            p(c_j | z_j) of every sample by itself            enumerated in the guide;
                                                                       the bound of enumerate
posterior-analytic   likewise                                          likewise, KL of z_j in
                                                                       closed form
enumerate            none                                              c_j summed out of the model;
                                                                       three-term form at S = 1
amortized            a network                                         enumerated in the guide
relaxed              a Gumbel-softmax sample of the same network       KL of c_j that of the
                                                                       discrete one; no bound
==================== ================================================= ==========================

In closed form are the entropy of q(z_j | x) and E log p(z_j | c_j) over it, instead of both at the
samples: see :class:`AnalyticGuide`.

Source: MFCVAE, Theorem 2 (Eq. 12) and Appendix C; the closed form: Jiang et al., "Variational
Deep Embedding", IJCAI 2017, Eq. 12; posterior-analytic: Dilokthanakul et al., "Deep Unsupervised
Clustering with Gaussian Mixture Variational Autoencoders", 2016, Section 3.2; the network and its
relaxation: VLAC, Section 2 and 3.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyro
import torch
from pyro.distributions import Independent
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.components import ClusterCategorical, RelaxedCluster
from pyro_mfcvae.enumeration import ANALYTIC
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.parameters import announce_parameters

if TYPE_CHECKING:
    from pyro_mfcvae.densities import MixtureDensities
    from pyro_mfcvae.models.base import FacetModel

GUIDES: dict[str, type[Guide]] = {}


def register_guide(name: str) -> Callable[[type[Guide]], type[Guide]]:
    """Class decorator: make a guide known as ``name`` to models and the command line."""

    def register(guide: type[Guide]) -> type[Guide]:
        GUIDES[name] = guide
        return guide

    return register


def build_guide(name: str, model: FacetModel) -> Guide:
    """The guide called ``name`` for a model, if :func:`check_guide` lets it pass."""
    check_guide(name, model)
    return GUIDES[name](model)


def check_guide(name: str, model: FacetModel | None) -> None:
    """Raise a ConfigError if no guide has this name, or it does not fit the model, if given."""
    if name not in GUIDES:
        raise ConfigError(f"unknown guide {name!r}; choose one of {', '.join(sorted(GUIDES))}")
    if model is not None and (misfit := GUIDES[name].misfit(model)):
        raise ConfigError(f"guide {name!r} does not fit this model: {misfit}")


@dataclass(frozen=True, eq=False)
class Inferred:
    """What there is to infer the cluster of a facet from.

    Attributes:
        prior: its mixture, at the values of the latents that it depends on.
        z: sample of its latent, (B, D) or (S, B, D); None where the latent comes after c.
        posterior: q(z | x), of batch shape (B,) or (S, B); None likewise.
        logits: gives log q(c | x) of the network up to a constant, (B, K) or (S, B, K).
    """

    prior: MixtureDensities
    z: Tensor | None
    posterior: Independent | None
    logits: Callable[[], Tensor]


class Guide(nn.Module):
    """What happens at the sites of q(z, c | x); which sites there are, the model says.

    A guide with a network of its own owns its parameters.

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
        self.model.sample_posterior(x, fade, self)

    @classmethod
    def misfit(cls, model: FacetModel) -> str:
        """Why the guide does not fit a model; empty if it does."""
        if model.latents_given_clusters:
            return (
                "its q(z | x, c) needs the clusters first, which this guide infers from z; choose "
                "amortized or relaxed, or model option conditional=false"
            )
        return ""

    def latent(self, j: int, posterior: Independent) -> Tensor:
        """The site z_j; posterior is q(z_j | x), of batch shape (B,) or (S, B)."""
        return pyro.sample(f"z_{j}", posterior)

    def cluster(self, j: int, inferred: Inferred) -> Tensor | None:
        """The site c_j and its value, if the guide has one."""
        logits = self.logits(inferred)
        return None if logits is None else enumerated_cluster(j, logits)

    def logits(self, inferred: Inferred) -> Tensor | None:
        """Log q(c | x) up to a constant, (..., B, K); None where the model sums c out."""
        raise ConfigError(f"{type(self).__name__} does not enumerate clusters; choose guide vade")


def enumerated_cluster(j: int, logits: Tensor) -> Tensor:
    """The site c_j, enumerated; logits are log q(c_j | x) up to a constant, (..., B, K)."""
    return pyro.sample(
        f"c_{j}",
        ClusterCategorical(logits=logits, validate_args=False),
        infer={"enumerate": "parallel", "facet": j},
    )


class ClosedFormGuide(Guide):
    """One q(c_j | x) per observation, made of the p(c_j | z_j) of its samples."""

    @override
    def logits(self, inferred: Inferred) -> Tensor:
        logits = inferred.prior.log_responsibilities(inferred.z)
        return self.over_samples(logits.flatten(0, -3)) if logits.dim() > 2 else logits

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


class AnalyticGuide(Guide):
    """Has log-densities of z_j averaged over q(z_j | x) in closed form, not over its samples.

    Its site z_j is marked for :class:`~pyro_mfcvae.elbo.FacetELBO`, which then takes the
    expectations; samples still go through the decoder. Pyro's own objectives do not know the mark
    and take the densities at the samples: with q(c | x) from q(z | x) itself that is an unbiased
    estimate of the same bound, with q(c | x) from the samples the (other) bound of the guide
    without the mark.
    """

    @override
    def latent(self, j: int, posterior: Independent) -> Tensor:
        return pyro.sample(f"z_{j}", posterior, infer={ANALYTIC: True})


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
    def logits(self, inferred: Inferred) -> Tensor:
        prior, normal = inferred.prior, inferred.posterior.base_dist
        expected = prior.expected_component_log_prob(normal.loc, normal.scale)
        logits = (expected + prior.log_weights).log_softmax(-1)
        # The prior, or q(z | x), may depend on samples of other latents.
        return logits.flatten(0, -3).mean(0) if logits.dim() > 2 else logits


@register_guide("posterior")
class PosteriorGuide(Guide):
    r"""For every sample by itself the model's own :math:`p(c_j \mid z_j)`.

    The ELBO and its gradient are those of ``enumerate``, with the KL of c_j as a term of its own.
    Source: Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
    Autoencoders", 2016, Section 3.2.
    """

    @override
    def logits(self, inferred: Inferred) -> Tensor:
        return inferred.prior.log_responsibilities(inferred.z)


@register_guide("posterior-analytic")
class AnalyticPosteriorGuide(AnalyticGuide, PosteriorGuide):
    r"""The objective of the GMVAE: ``posterior`` with the KL of z_j in closed form.

    .. math::
        \frac1S \sum_s \sum_c p(c \mid z^{(s)}) \, KL(q(z \mid x) \| p(z \mid c))
        + \frac1S \sum_s KL(p(c \mid z^{(s)}) \| p(c))

    Both terms take expectations over z apart from each other, so that the bound lies below that
    of ``vade-analytic``, by the mutual information of c and z under q(z | x) p(c | z) and more.
    Source: as :class:`PosteriorGuide`, "conditional prior" and "z-prior" terms.
    """


@register_guide("enumerate")
class EnumerateGuide(Guide):
    r"""No q(c | x): each c_j is summed out of the model exactly, for each sample.

    The objective becomes :math:`E_{q(z|x)}[\log p(x|z) - \log q(z|x) + \log p(z)]`, the bound
    for the mixture prior itself. Source: MFCVAE, Appendix C.2 and Eq. 35.
    """

    @override
    def logits(self, inferred: Inferred) -> None:
        return None


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
        n = model.n_combinations
        if n <= model.max_combinations:
            return ""
        return (
            f"encoder and decoder would take {n} passes, one for each combination of clusters, and "
            f"max_combinations is {model.max_combinations}; raise it (a model option), choose "
            "fewer clusters, or guide relaxed"
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
