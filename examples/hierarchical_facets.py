"""Facets that depend on each other
================================

The cluster of facet 1 is drawn given that of facet 0.

::

    c_0 ~ Cat(pi), c_1 | c_0 ~ Cat(A[c_0]), z_j | c_j ~ N(mu_c, Sigma_c), x ~ p(x | z_0, z_1)

Guide ``vade`` infers the best table q(c_0, c_1 | x) (MFCVAE, Theorem 3); no KL is faded in.
"""

import pyro
import torch

from pyro_mfcvae import MFCVAE, FacetELBO
from pyro_mfcvae.config import Component, FacetConfig
from pyro_mfcvae.guides import enumerate_cluster
from pyro_mfcvae.models.pairs import PairsOfClusters


class HierarchicalFacets(MFCVAE):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.rows = torch.nn.Parameter(torch.zeros([prior.n_clusters for prior in self.facets]))

    def model(self, x):
        with pyro.plate("data", len(x), dim=-1):
            c_0 = enumerate_cluster(0, self.facets[0].log_weights)
            c_1 = enumerate_cluster(1, self.rows[c_0])
            z_0 = pyro.sample("z_0", self.facets[0].component(c_0), infer={"facet": 0})
            z_1 = pyro.sample("z_1", self.facets[1].component(c_1), infer={"facet": 1})
            pyro.sample("x", self.decode([z_0, z_1]), obs=x)

    kl_fade = property(lambda self: torch.ones_like(self.fade))

    def pairs(self):
        table = self.facets[0].log_weights.unsqueeze(-1) + self.rows.log_softmax(-1)
        return PairsOfClusters(*self.facets, table)

    def sample_posterior(self, x, guide):
        self.pairs().infer(self, x, guide)

    def assign(self, x, zs):
        return self.pairs().assigned_to_both(zs)

    def sample_prior(self, shape, clusters=None, temperature=1.0, generator=None):
        return self.pairs().sample_given(shape, clusters or {}, temperature, generator)


def main(n_steps=300):
    """Two groups of features whose kinds mostly agree; returns p(c_1 | c_0) as learnt."""
    torch.manual_seed(0)
    first, centres = torch.randint(3, (400,)), 2 * torch.randn(2, 3, 4)
    second = torch.where(torch.rand(400) < 0.85, first, torch.randint(3, (400,)))
    x = torch.cat([centres[0, first], centres[1, second]], -1) + 0.6 * torch.randn(400, 8)
    nets = [Component(name=of, options={"widths": [32, 32]}) for of in ("per-facet", "shared")]
    facet = FacetConfig(n_clusters=3, latent_dim=2, initial_variance=0.3)
    model = HierarchicalFacets((8,), [facet, facet], "gaussian", *nets)
    svi = pyro.infer.SVI(model.model, model.guide(), pyro.optim.Adam({"lr": 1e-2}), FacetELBO())
    for _ in range(n_steps):
        svi.step(x)
    return model.rows.softmax(-1).detach()


if __name__ == "__main__":
    print("p(c_1 | c_0):", main())
