"""Mixtures of Student's t: outliers need no clusters of their own, and do not widen those of others.

    z_j | c_j ~ t(df, mu_c, Sigma_c), which is N(mu_c, Sigma_c / u) with u ~ Gamma(df / 2, df / 2)

Source: Peel and McLachlan, "Robust mixture modelling using the t distribution", 2000. Run with
``python examples/student_t_mixture.py``, or train on other data with
``mfcvae train --model examples/student_t_mixture.py:StudentTMixtures``.
"""

from dataclasses import asdict

import torch
from pyro.distributions import MultivariateStudentT
from pyro.infer import SVI
from pyro.optim import Adam

from pyro_mfcvae import MFCVAE, FacetELBO
from pyro_mfcvae.components import as_shares
from pyro_mfcvae.config import Component
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.mixture import MixturePrior

DF = 4


class StudentTMixture(MixturePrior):
    def component_log_prob(self, z):
        return MultivariateStudentT(DF, self.loc, self.scale_tril).log_prob(z.unsqueeze(-2))

    def component_log_prob_at(self, z, c):
        shares = as_shares(c, self.n_clusters, self.loc.dtype)
        factors = torch.einsum("...k,kde->...de", shares, self.scale_tril)
        return MultivariateStudentT(DF, shares @ self.loc, factors).log_prob(z)

    def expected_component_log_prob(self, loc, scale):
        raise ConfigError("E log t(z) has no closed form; choose another guide, such as vade")

    def noise(self, shape, like, generator=None):
        normal = super().noise((*shape[:-1], DF + shape[-1]), like, generator)
        return normal[..., DF:] * normal[..., :DF].square().mean(-1, keepdim=True).rsqrt()


class StudentTMixtures(MFCVAE):
    def _priors(self, facets):
        return [StudentTMixture(**asdict(facet)) for facet in facets]


def main(n_steps=200):
    """Rows around three centres, one in ten far off; returns the last loss of both mixtures."""
    torch.manual_seed(0)
    spread = torch.where(torch.rand(300, 1) < 0.1, 2.0, 0.3)
    x = torch.randn(3, 5)[torch.randint(3, (300,))] + spread * torch.randn(300, 5)
    small = Component(name="shared", options={"widths": [32]})
    losses = {}
    for kind in (MFCVAE, StudentTMixtures):
        model = kind((5,), "2:3", Component(name="gaussian", options={"scale": 0.3}), small, small)
        svi = SVI(model.model, model.guide("vade"), Adam({"lr": 5e-3}), FacetELBO())
        losses[kind.__name__] = [svi.step(x) / len(x) for _ in range(n_steps)][-1]
    print("nats per observation:", losses)
    return losses


if __name__ == "__main__":
    main()
