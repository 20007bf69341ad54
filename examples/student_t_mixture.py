"""Clusters with outliers
======================

With mixtures of Student's t, outliers need no clusters of their own.

::

    z_j | c_j ~ t(df, mu_c, Sigma_c), which is N(mu_c, Sigma_c / u) with u ~ Gamma(df / 2, df / 2)

Source: Peel and McLachlan, "Robust mixture modelling using the t distribution", 2000.
"""

import pyro
import torch
from pyro.distributions import MultivariateStudentT

from pyro_mfcvae import MFCVAE, FacetELBO
from pyro_mfcvae.config import Component
from pyro_mfcvae.priors.clusters import as_shares
from pyro_mfcvae.priors.mixture import MixturePrior


class StudentTMixture(MixturePrior):
    df = 4
    is_gaussian = False  # E log t(z) has no closed form: no analytic guide fits

    def component_log_prob(self, z):
        return MultivariateStudentT(self.df, self.loc, self.scale_tril).log_prob(z.unsqueeze(-2))

    def component_log_prob_at(self, z, c):
        shares = as_shares(c, self.n_clusters, self.loc.dtype)
        factors = torch.einsum("...k,kde->...de", shares, self.scale_tril)
        return MultivariateStudentT(self.df, shares @ self.loc, factors).log_prob(z)

    def noise(self, shape, like, generator=None):
        normal = super().noise((*shape[:-1], shape[-1] + self.df), like, generator)
        z, others = normal.split([shape[-1], self.df], -1)
        return z * others.square().mean(-1, keepdim=True).rsqrt()


class StudentTMixtures(MFCVAE):
    def _priors(self, facets):
        return [StudentTMixture(**vars(facet)) for facet in facets]


def main(n_steps=200):
    """Rows of three kinds, one in ten far off; returns the last loss of either mixture."""
    torch.manual_seed(0)
    spread = torch.where(torch.rand(300, 1) < 0.1, 4.0, 0.6)
    x = 2 * torch.randn(3, 5)[torch.randint(3, (300,))] + spread * torch.randn(300, 5)
    small = Component(name="shared", options={"widths": [32]})
    losses = {}
    for kind in (MFCVAE, StudentTMixtures):
        model = kind((5,), "2:3", "gaussian", small, small)
        optimizer = pyro.optim.Adam({"lr": 5e-3})
        svi = pyro.infer.SVI(model.model, model.guide(), optimizer, FacetELBO())
        losses[kind.__name__] = [svi.step(x) / len(x) for _ in range(n_steps)][-1]
    return losses


if __name__ == "__main__":
    print("nats per observation:", main())
