r"""Guides q(z, c | x): the swappable half of a model.

All share the continuous part :math:`q(z_j \mid x) = \mathcal N(m_j(x), \mathrm{diag}\, s_j(x)^2)`
and differ in what they do with the clusters:

=========== ==================================================== ==========================
name        q(c_j | x)                                           objective
=========== ==================================================== ==========================
vade        softmax of the mean over samples of log p(c_j | z_j) enumerated in the guide;
                                                                 five-term form at S = 1
expectation mean over samples of p(c_j | z_j)                    enumerated in the guide
enumerate   none                                                 c_j summed out of the model;
                                                                 three-term form at S = 1
=========== ==================================================== ==========================

Source: MFCVAE, Theorem 2 (Eq. 12) and Appendix C.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import pyro
from torch import Tensor, nn
from typing_extensions import override

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.fade_in import Fade
from pyro_mfcvae.mixture import ClusterCategorical
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


@register_guide("enumerate")
class EnumerateGuide(Guide):
    r"""No q(c | x): each c_j is summed out of the model exactly, for each sample.

    The objective becomes :math:`E_{q(z|x)}[\log p(x|z) - \log q(z|x) + \log p(z)]`, the bound
    for the mixture prior itself. Source: MFCVAE, Appendix C.2 and Eq. 35.
    """

    @override
    def cluster(self, j: int, z: Tensor) -> None:
        pass
