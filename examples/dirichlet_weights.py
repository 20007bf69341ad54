"""A facet that chooses its number of clusters
===========================================

The prior of a facet's mixture weights is a Dirichlet distribution.

::

    pi ~ Dirichlet(alpha), once for all N observations; then c ~ Cat(pi), and all else as ever

The smaller alpha, the fewer clusters hold rows, however many the facet has.
"""

import numpy as np

from pyro_mfcvae import VaDEClustering


def main(alpha=0.01, max_steps=400):
    """Rows of three kinds; returns how many of ten clusters the weights leave switched on."""
    rng = np.random.default_rng(1)
    rows = rng.normal(0, 2, (3, 5))[rng.integers(3, size=300)] + rng.normal(0, 0.6, (300, 5))
    settings = {"model.facets.0.weight_concentration": alpha}
    fitted = VaDEClustering(  # latents for three kinds, as the other seven clusters need none
        10, latent_dim=2, n_init=1, random_state=0, max_steps=max_steps, settings=settings
    )
    weights = fitted.fit(rows).model_.facets[0].weight_posterior
    return int((weights.concentration - alpha > 1).sum())  # more than one row


if __name__ == "__main__":
    print("clusters in use, by alpha:", {alpha: main(alpha) for alpha in (0.01, 1.0, 100.0)})
