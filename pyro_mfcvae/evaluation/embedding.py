"""Points of many dimensions in two, neighbours beside each other."""

from __future__ import annotations

import numpy as np

from pyro_mfcvae.evaluation.predictions import Array


def neighbour_embedding(z: Array, seed: int = 0) -> Array:
    """t-SNE of points (N, D), scikit-learn's as it comes: (N, 2).

    With few points it looks at fewer neighbours than its 30 (a perplexity of a third of them).

    Raises:
        ValueError: if there are fewer than 4 points.
    """
    from sklearn.manifold import TSNE

    if len(z) < 4:
        raise ValueError(f"expected 4 points or more to embed, got {len(z)}")
    perplexity = min(30.0, (len(z) - 1) / 3)
    flat = np.asarray(z, dtype=np.float64)
    return TSNE(perplexity=perplexity, random_state=seed, init="pca").fit_transform(flat)
