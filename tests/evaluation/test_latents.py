"""Latent spaces in two dimensions, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_mfcvae.evaluation import project

RNG = np.random.default_rng(0)
SCALES = np.array([4.0, 2.0, 1.0, 0.5])


def _gaussian(n: int, scales: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Latents (n, D) with exactly these standard deviations along known axes, and a mean."""
    scores = RNG.normal(size=(n, len(scales)))
    scores, _ = np.linalg.qr(scores - scores.mean(0))
    axes, _ = np.linalg.qr(RNG.normal(size=(len(scales), len(scales))))
    mean = RNG.normal(size=len(scales))
    return mean + np.sqrt(n - 1) * scores * scales @ axes.T, axes.T, mean


# Where there are many and their spreads are close, approximate solvers differ.
@pytest.mark.parametrize(("n", "scales"), [(50, SCALES), (510, np.linspace(1.1, 0.9, 60))])
def test_principal_axes_of_a_known_gaussian(n, scales):
    z, axes, mean = _gaussian(n, scales)
    means = RNG.normal(size=(3, len(scales)))
    factors = RNG.normal(size=(3, len(scales), len(scales)))
    covariances = factors @ factors.swapaxes(1, 2)
    projection = project(z, means, covariances)
    np.testing.assert_allclose(projection.shares, scales[:2] ** 2 / (scales**2).sum())
    # An axis may point either way.
    signs = np.sign((projection.points * ((z - mean) @ axes[:2].T)).sum(0))
    chosen = signs[:, None] * axes[:2]
    np.testing.assert_allclose(projection.points, (z - mean) @ chosen.T, atol=1e-12)
    np.testing.assert_allclose(projection.means, (means - mean) @ chosen.T, atol=1e-12)
    for projected, covariance in zip(projection.covariances, covariances, strict=True):
        np.testing.assert_allclose(projected, chosen @ covariance @ chosen.T, atol=1e-12)


@pytest.mark.parametrize("dim", [1, 2])
def test_few_dimensions_stay_as_they_are(dim):
    z, means = RNG.normal(size=(7, dim)), RNG.normal(size=(2, dim))
    covariances = np.stack([np.eye(dim), 3 * np.eye(dim)])
    projection = project(z, means, covariances)
    np.testing.assert_array_equal(projection.points, z)
    np.testing.assert_array_equal(projection.means, means)
    np.testing.assert_array_equal(projection.covariances, covariances)
    assert projection.shares is None


@pytest.mark.parametrize("n", [1, 2, 4])
@pytest.mark.filterwarnings("error")
def test_latents_that_do_not_vary(n):
    projection = project(np.ones((n, 3)), np.zeros((1, 3)), np.eye(3)[None])
    np.testing.assert_allclose(projection.points, np.zeros((n, 2)), atol=1e-12)
    np.testing.assert_allclose(projection.shares, 0)
    # Orthonormal axes leave the unit covariance alone, and a mean no longer than it was.
    np.testing.assert_allclose(projection.covariances[0], np.eye(2), atol=1e-12)
    assert np.linalg.norm(projection.means) <= np.sqrt(3) + 1e-12


@pytest.mark.parametrize(
    ("z", "means", "covariances", "message"),
    [
        ((0, 3), (2, 3), (2, 3, 3), "N above 0"),
        ((4,), (2, 3), (2, 3, 3), r"latents \(N, D\)"),
        ((4, 3), (2, 2), (2, 3, 3), r"means \(K, 3\)"),
        ((4, 3), (2, 3), (2, 3), r"covariances \(K, 3, 3\)"),
        ((4, 3), (2, 3), (1, 3, 3), r"covariances \(K, 3, 3\)"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(z, means, covariances, message):
    with pytest.raises(ValueError, match=message):
        project(np.zeros(z), np.zeros(means), np.zeros(covariances))
