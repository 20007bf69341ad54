"""A Dirichlet prior over mixture weights: a facet chooses how many of its clusters it uses.

    pi_j ~ Dirichlet(alpha), once for all N observations; then c_j ~ Cat(pi_j), and all else as ever

With q(pi_j) = Dirichlet(gamma_j) the bound has E log pi_j for log pi_j, and costs KL(q || p) / N
more (Bishop, "Pattern Recognition and Machine Learning", 2006, Section 10.2).
"""

import pyro
import torch
from torch.distributions import Dirichlet, kl_divergence

from pyro_mfcvae import MFCVAE, FacetELBO
from pyro_mfcvae.config import Component, FacetConfig
from pyro_mfcvae.priors.mixture import MixturePrior


class DirichletMixture(MixturePrior):
    def gamma(self):  # the best one is alpha and what each cluster holds, N in all
        return self.alpha + self.n_observations * self.logits.softmax(-1)

    log_weights = property(lambda self: self.gamma().digamma().log_softmax(-1))


class DirichletWeights(MFCVAE):
    def __init__(self, *args, n_observations: int, alpha: float = 0.01, **kwargs):
        super().__init__(*args, **kwargs)
        for prior in self.facets:
            prior.alpha, prior.n_observations = alpha, n_observations

    def _priors(self, facets):
        return [DirichletMixture(**vars(f) | {"learn_weights": True}) for f in facets]

    def model(self, x):
        for j, prior in enumerate(self.facets):
            gamma = prior.gamma()
            kl = kl_divergence(Dirichlet(gamma), Dirichlet(torch.full_like(gamma, prior.alpha)))
            rest = gamma.digamma().logsumexp(-1) - gamma.sum().digamma()  # E log pi - log_weights
            with self.facet(j):
                pyro.factor(f"pi_{j}", len(x) * (rest - kl / prior.n_observations))
        super().model(x)


def main(alpha=0.01, n_steps=300):
    """Rows of three kinds; returns how many of ten clusters hold more than one row."""
    torch.manual_seed(1)
    x = 2 * torch.randn(3, 5)[torch.randint(3, (100,))] + 0.6 * torch.randn(100, 5)
    net = Component(name="shared", options={"widths": [32]})
    facet = FacetConfig(n_clusters=10, latent_dim=2, initial_variance=1.0)
    model = DirichletWeights((5,), [facet], "gaussian", net, net, n_observations=100, alpha=alpha)
    svi = pyro.infer.SVI(model.model, model.guide(), pyro.optim.Adam({"lr": 5e-2}), FacetELBO())
    for _ in range(n_steps):
        svi.step(x)
    return int((model.facets[0].gamma() - alpha > 1).sum())


if __name__ == "__main__":
    print("clusters in use, by alpha:", {alpha: main(alpha) for alpha in (0.01, 100.0)})
