"""Latents and other points in at most two dimensions, to be looked at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Projection:
    """Observations and mixture components of one facet in P = min(D, 2) dimensions.

    Attributes:
        points: latents of the observations, (N, P).
        means: of the components, (K, P).
        covariances: of the components, (K, P, P).
        shares: of the observations' variance along each axis, (P,), where the axes are principal
            components; None where they are the latent dimensions themselves.
    """

    points: Array
    means: Array
    covariances: Array
    shares: Array | None = None


def project(z: Array, means: Array, covariances: Array) -> Projection:
    r"""Latents z (N, D) and components on the first two principal axes of the latents.

    Components have means (K, D) and covariances (K, D, D). With the axes as rows of A (2, D), an
    observation becomes :math:`A (z - \bar z)`, a component
    :math:`\mathcal N(A (\mu_c - \bar z), A \Sigma_c A^\top)`. Up to two dimensions are left as
    they are.

    Raises:
        ValueError: if the shapes do not fit each other, or there are no latents.
    """
    z, means, covariances = (np.asarray(a, dtype=np.float64) for a in (z, means, covariances))
    if z.ndim != 2 or not len(z):
        raise ValueError(f"expected latents (N, D) with N above 0, got shape {z.shape}")
    dim = z.shape[1]
    if means.shape[1:] != (dim,) or covariances.shape != (len(means), dim, dim):
        raise ValueError(
            f"expected means (K, {dim}) and covariances (K, {dim}, {dim}), got shapes "
            f"{means.shape} and {covariances.shape}"
        )
    if dim <= 2:
        return Projection(z, means, covariances)
    axes, shares = _principal_axes(z)
    center = z.mean(0)
    return Projection(
        (z - center) @ axes.T, (means - center) @ axes.T, axes @ covariances @ axes.T, shares
    )


def _principal_axes(z: Array) -> tuple[Array, Array]:
    """Two axes (2, D) and their shares of the variance (2,)."""
    from sklearn.decomposition import PCA

    with np.errstate(invalid="ignore"):  # 0 / 0 where the latents do not vary
        pca = PCA(2, svd_solver="full").fit(z if len(z) > 1 else z.repeat(2, axis=0))
    return pca.components_, np.nan_to_num(pca.explained_variance_ratio_)


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
