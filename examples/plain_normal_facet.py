"""A facet without clusters: its prior is N(0, I), for what varies without gaps.

    c_1 ~ Cat(pi), z_1 | c_1 ~ N(mu_c, Sigma_c);   z_0 ~ N(0, I);   x ~ p(x | z_0, z_1)

Run with ``python examples/plain_normal_facet.py``, or train on other data with
``mfcvae train --model examples/plain_normal_facet.py:PlainNormalFacet``.
"""

from dataclasses import replace

import pyro
import torch
from pyro.distributions import Normal
from pyro.infer import SVI
from pyro.optim import Adam

from pyro_mfcvae import MFCVAE, FacetELBO
from pyro_mfcvae.config import Component
from pyro_mfcvae.models.base import cluster_site, data_plate, fading


class PlainNormalFacet(MFCVAE):
    """MFCVAE of two facets, the shallow one plain, however many clusters settings give it."""

    def _priors(self, facets):
        return super()._priors([replace(facets[0], n_clusters=1), *facets[1:]])

    def model(self, x, fade=None):
        plain, clustered = self.facets
        with data_plate(x):
            with fading(1, fade):
                z_1 = pyro.sample("z_1", clustered.component(cluster_site(1, clustered)))
            with fading(0, fade):
                z_0 = pyro.sample("z_0", Normal(plain.loc[0], 1.0).to_event(1))
            pyro.sample("x", self.decode([z_0, z_1], fade), obs=x)


def main(n_steps=300):
    """Three kinds of rows, moved along a line; returns how well z_0 and z_1 tell where."""
    torch.manual_seed(0)
    kind, place = torch.randint(3, (300,)), torch.rand(300, 1)
    x = torch.cat([torch.randn(3, 4)[kind], place * torch.randn(4)], -1)
    x = x + 0.1 * torch.randn(300, 8)
    apart = Component(name="per-facet", options={"widths": 32})
    shared = Component(name="shared", options={"widths": [32]})
    gaussian = Component(name="gaussian", options={"scale": 0.2})
    model = PlainNormalFacet((8,), "1:1,2:3", gaussian, apart, shared)
    svi = SVI(model.model, model.guide("vade"), Adam({"lr": 5e-3}), FacetELBO())
    losses = [svi.step(x) / len(x) for _ in range(n_steps)]
    with torch.no_grad():
        latents = [q.mean for q in model.encode(x)]
    print(losses[0], losses[-1])
    for z in latents:
        for y in (place, torch.nn.functional.one_hot(kind).float()):
            A = torch.cat([z, torch.ones(300,1)], 1)
            res = y - A @ torch.linalg.lstsq(A, y).solution
            print(1 - (res.var(0).sum()/y.var(0).sum()).item())
    return losses


if __name__ == "__main__":
    main()
