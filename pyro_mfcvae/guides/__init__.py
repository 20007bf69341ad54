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

from pyro_mfcvae.guides.base import (
    GUIDES,
    AnalyticExpectationGuide,
    AnalyticGuide,
    AnalyticPosteriorGuide,
    AnalyticVadeGuide,
    ClosedFormGuide,
    EnumerateGuide,
    ExpectationGuide,
    Guide,
    Inferred,
    PosteriorGuide,
    VadeGuide,
    enumerate_cluster,
    register_guide,
    temperature_of,
)
from pyro_mfcvae.guides.building import build_guide, check_guide
from pyro_mfcvae.guides.from_networks import AmortizedGuide, NetworkGuide, RelaxedGuide

__all__ = [
    "GUIDES",
    "AmortizedGuide",
    "AnalyticExpectationGuide",
    "AnalyticGuide",
    "AnalyticPosteriorGuide",
    "AnalyticVadeGuide",
    "ClosedFormGuide",
    "EnumerateGuide",
    "ExpectationGuide",
    "Guide",
    "Inferred",
    "NetworkGuide",
    "PosteriorGuide",
    "RelaxedGuide",
    "VadeGuide",
    "build_guide",
    "check_guide",
    "enumerate_cluster",
    "register_guide",
    "temperature_of",
]
