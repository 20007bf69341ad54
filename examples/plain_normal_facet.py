"""A facet without clusters
========================

The prior of a facet without clusters is N(0, I). It is for what varies without gaps.

::

    c_1 ~ Cat(pi), z_1 | c_1 ~ N(mu_c, Sigma_c);   z_0 ~ N(0, I);   x ~ p(x | z_0, z_1)

On other data: ``mfcvae train --model examples/plain_normal_facet.py:PlainNormalFacet``.
"""

import pyro
import torch

from pyro_mfcvae import MFCVAE, FacetELBO
from pyro_mfcvae.config import Component
from pyro_mfcvae.priors.standard_normal import StandardNormal


class PlainNormalFacet(MFCVAE):
    """MFCVAE of two facets, the shallow one plain, however many clusters settings give it."""

    def _priors(self, facets):
        return [StandardNormal(facets[0].latent_dim), *super()._priors(facets[1:])]


def main(n_steps=400):
    """Three kinds of rows along a line; returns how far z_0 tells the place."""
    torch.manual_seed(0)
    kind, place = torch.randint(3, (300,)), torch.rand(300, 1)
    x = torch.cat([2 * torch.randn(3, 4)[kind], place * torch.randn(4)], -1)
    apart = Component(name="per-facet", options={"widths": 32})
    small = Component(name="shared", options={"widths": [32]})
    gaussian = Component(name="gaussian", options={"scale": 0.1})
    model = PlainNormalFacet((8,), "1:1,2:3", gaussian, apart, small)
    svi = pyro.infer.SVI(model.model, model.guide(), pyro.optim.Adam({"lr": 5e-3}), FacetELBO())
    for i in range(n_steps):  # the deep facet alone, then both
        model.fade[0] = float(2 * i >= n_steps)
        svi.step(x + 0.1 * torch.randn(300, 8))
    z_0 = model.encode(x)[0].mean.detach()
    return torch.corrcoef(torch.cat([z_0, place], -1).T)[0, 1].abs().item()


if __name__ == "__main__":
    print(f"correlation of z_0 and place: {main():.2f}")
