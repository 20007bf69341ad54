"""What every guide has, the registry of guides, and those without a network of their own.

These infer the clusters from the latents, or leave them to the model.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import pyro
from pyro.distributions import Independent
from pyro.poutine.runtime import InferDict
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides.described import FacetedModel
from pyro_mfcvae.inference.parameters import announce_parameters
from pyro_mfcvae.inference.sites import CLOSED_FORM
from pyro_mfcvae.priors.densities import ClusterCategorical, Mixture
from pyro_mfcvae.registry import Registry

GUIDES: Registry[type[Guide]] = Registry("guide", "one of your own with --guide FILE.py:Name")

register_guide = GUIDES.register
"""Class decorator: make a guide known by name to models and the command line."""


def temperature_of(guide: nn.Module) -> Tensor | None:
    """The buffer ``temperature`` of a guide, shape (), which training lowers; None without one."""
    return dict(guide.named_buffers(recurse=False)).get("temperature")


@dataclass(frozen=True, eq=False)
class Inferred:
    """What there is to infer the cluster of a facet from.

    Attributes:
        facet: j.
        prior: its mixture, at the values of the latents that it depends on.
        z: sample of its latent, (B, D) or (S, B, D); None where the latent comes after c.
        posterior: q(z | x), of batch shape (B,) or (S, B); None likewise.
        features: of the encoder, (B, F_j), for a network of the guide; None where the model's
            posterior has a network q(c | x) of its own.
        logits: gives log q(c | x) of that one up to a constant, (B, K) or (S, B, K).
    """

    facet: int
    prior: Mixture
    z: Tensor | None
    posterior: Independent | None
    features: Tensor | None
    logits: Callable[[], Tensor] | None = None


class Guide(nn.Module, ABC):
    """What happens at the sites of q(z, c | x); which sites there are, the model says.

    Subclasses define :meth:`logits`, where clusters are to be inferred, and may define
    :meth:`latent`, :meth:`cluster` and :meth:`misfit`. A guide with a network of its own owns its
    parameters. The name ``temperature`` is kept for a buffer of shape (), which training lowers as
    ``guide.temperature`` says; anything else that a guide calls so is refused.

    Attributes:
        infers_apart: whether q(c_j | x) comes from facet j's own mixture, so that it is refused
            where the model ties clusters of several facets to each other.

    Args:
        model: the model whose encoder and facets the guide uses. It is not a submodule of the
            guide: the model owns its guides, not the other way round.
    """

    model: FacetedModel
    infers_apart: ClassVar[bool] = True

    def __init__(self, model: FacetedModel) -> None:
        super().__init__()
        self.__dict__["model"] = model

    def forward(self, x: Tensor, seen: Sequence[Tensor] | None = None) -> None:
        """The Pyro program.

        Args:
            x: observations, shape (B, *event).
            seen: what the encoder of each facet sees in their place, J tensors of the shape of x,
                such as warped pictures; None means x.
        """
        announce_parameters(self.model, "model")
        announce_parameters(self, "guide")
        if seen is None:
            self.model.sample_posterior(x, self)
        else:
            self.model.sample_posterior(x, self, seen)

    @classmethod
    def misfit(cls, model: FacetedModel) -> str:
        """Why the guide does not fit a model; empty if it does."""
        if model.structure.infers_clusters_first:
            return (
                "its q(z | x, c) needs the clusters first, which this guide infers from z; choose "
                "amortized or relaxed, or --set model.options.conditional=false"
            )
        return ""

    def latent(self, j: int, posterior: Independent) -> Tensor:
        """The site z_j; posterior is q(z_j | x), of batch shape (B,) or (S, B)."""
        return pyro.sample(f"z_{j}", posterior)

    def cluster(self, j: int, inferred: Inferred) -> Tensor | None:
        """The site c_j and its value, if the guide has one."""
        logits = self.logits(inferred)
        return None if logits is None else enumerate_cluster(j, logits, apart=self.infers_apart)

    def logits(self, inferred: Inferred) -> Tensor | None:
        """Log q(c | x) up to a constant, (..., B, K); None where the model sums c out."""
        raise ConfigError(
            f"{type(self).__name__} does not enumerate clusters, as it defines no logits; choose "
            "guide vade"
        )


def enumerate_cluster(j: int, logits: Tensor, apart: bool = False) -> Tensor:
    """The site c_j, enumerated.

    Args:
        j: the facet.
        logits: log q(c_j | x) up to a constant, (..., B, K).
        apart: whether they are right only where no other cluster depends on this one.
    """
    return pyro.sample(
        f"c_{j}",
        ClusterCategorical(logits=logits, validate_args=False),
        infer=cast(InferDict, {"enumerate": "parallel", "facet": j, "apart": apart}),
    )


class ClosedFormGuide(Guide):
    """One q(c_j | x) per observation, made of the p(c_j | z_j) of its samples.

    An attribute ``temperature`` must be what :class:`~pyro_mfcvae.guides.Guide` says.
    """

    @override
    def logits(self, inferred: Inferred) -> Tensor:
        assert inferred.z is not None  # misfit refuses models that tell q(z | x, c) clusters
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
    def misfit(cls, model: FacetedModel) -> str:
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
        return pyro.sample(f"z_{j}", posterior, infer=CLOSED_FORM)


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
