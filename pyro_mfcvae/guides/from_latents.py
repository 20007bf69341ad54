"""Guides that infer the clusters from the latents, or leave them to the model."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, cast

import pyro
from pyro.distributions import Independent
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.guides.base import Guide, Inferred, register_guide
from pyro_mfcvae.inference.enumeration import ANALYTIC

if TYPE_CHECKING:
    from pyro_mfcvae.models.base import FacetModel


class ClosedFormGuide(Guide):
    """One q(c_j | x) per observation, made of the p(c_j | z_j) of its samples.

    An attribute ``temperature`` must be what :class:`~pyro_mfcvae.guides.Guide` says.
    """

    @override
    def logits(self, inferred: Inferred) -> Tensor:
        assert inferred.z is not None
        logits = inferred.prior.log_responsibilities(inferred.z)
        expected = logits.shape[-2:]
        averaged = self.over_samples(logits.reshape(-1, *expected))
        if not isinstance(averaged, Tensor) or averaged.shape != expected:
            tensor = isinstance(averaged, Tensor)
            came = f"shape {tuple(averaged.shape)}" if tensor else type(averaged).__name__
            raise ValueError(
                f"{type(self).__name__}.over_samples must return log q(c | x), a tensor of shape "
                f"(B, K) = {tuple(expected)}, got {came}; average over the first dimension of what "
                "it is given, and return that"
            )
        return averaged

    @abstractmethod
    def over_samples(self, log_responsibilities: Tensor) -> Tensor:
        """Log p(c | z) of all samples (S, B, K) -> log q(c | x) up to a constant, (B, K).

        Args:
            log_responsibilities: normalised over K; S may be 1.
        """


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

    Its site z_j is marked for :class:`~pyro_mfcvae.inference.elbo.FacetELBO`, which then takes the
    expectations; samples still go through the decoder. Pyro's own objectives do not know the mark
    and take the densities at the samples: with q(c | x) from q(z | x) itself that is an unbiased
    estimate of the same bound, with q(c | x) from the samples the (other) bound of the guide
    without the mark.
    """

    @override
    @classmethod
    def misfit(cls, model: FacetModel) -> str:
        facets = enumerate(model.structure.facets)
        without = [str(j) for j, facet in facets if not facet.is_gaussian]
        if without:
            return (
                f"E log p(z | c) of facet {', '.join(without)} has no closed form; choose a guide "
                "such as vade"
            )
        return super().misfit(model)

    @override
    def latent(self, j: int, posterior: Independent) -> Tensor:
        return pyro.sample(f"z_{j}", posterior, infer=cast(Any, {ANALYTIC: True}))


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
        assert inferred.posterior is not None
        prior, normal = inferred.prior, inferred.posterior.base_dist
        expected = prior.expected_component_log_prob(normal.loc, normal.scale)
        logits = (expected + prior.log_weights).log_softmax(-1)
        # The prior, or q(z | x), may depend on samples of other latents.
        return logits.flatten(0, -3).mean(0) if logits.dim() > 2 else logits


@register_guide("posterior")
class PosteriorGuide(Guide):
    r"""For every sample by itself the model's own p(c_j | z_j).

    The ELBO and its gradient are those of ``enumerate``, with the KL of c_j as a term of its own.
    Source: Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
    Autoencoders", 2016, Section 3.2.
    """

    @override
    def logits(self, inferred: Inferred) -> Tensor:
        assert inferred.z is not None
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
