"""Five noisy arcs in the plane: a mixture whose clusters are no Gaussians."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch

from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.errors import ConfigError

RADIUS = 2.0  # of the middle of an arc
TURN = 0.8  # radians that an arc winds around the origin for each unit of radius


@register_dataset("arcs")
def arcs(
    n_train: int = 10_000,
    n_test: int = 2_000,
    n_arcs: int = 5,
    noise: Sequence[float] = (0.5, 0.12),
    seed: int = 0,
) -> Dataset:
    r"""Points on arcs that wind around the origin like the blades of a pinwheel.

    .. math::
        u = 2 + \sigma_r \epsilon_1, \quad v = \sigma_t \epsilon_2, \quad
        \theta = 2 \pi a / A + 0.8\, u, \quad
        x = (u \cos\theta - v \sin\theta,\; u \sin\theta + v \cos\theta),

    with the arc a drawn uniformly from A: a Gaussian stretched along the radius, turned by an angle
    that grows with the radius. Each arc is a copy of the first, turned by its share of the circle.

    A set of the kind that GMVAE is shown on (Dilokthanakul et al., "Deep Unsupervised Clustering
    with Gaussian Mixture Variational Autoencoders", 2016, Figure 2), by a formula of our own: the
    paper gives none.

    Args:
        n_train: training points.
        n_test: held-out points.
        n_arcs: A.
        noise: sigma_r and sigma_t, along the radius and across it. With these defaults the points
            lie within about -4 to 4.
        seed: of arcs and noise.

    Returns:
        points, float32 (N, 2), with the label ``arc``.

    Raises:
        ConfigError: if a number is out of range.
    """
    if n_train < 1 or n_test < 1 or n_arcs < 1:
        raise ConfigError(
            "expected at least 1 training point, 1 held-out point and 1 arc, got "
            f"{n_train}, {n_test} and {n_arcs}"
        )
    if len(noise) != 2 or not all(0 <= scale < math.inf for scale in noise):
        raise ConfigError(
            "expected noise as two standard deviations from 0 on, along the radius and across it, "
            f"got {list(noise)}"
        )
    if seed < 0:
        raise ConfigError(f"seed must not be negative, got {seed}")
    generator = np.random.default_rng(seed)
    n = n_train + n_test
    arc = generator.integers(n_arcs, size=n)
    u, v = generator.standard_normal((n, 2)).T * np.array(noise)[:, None]
    u = u + RADIUS
    angle = 2 * np.pi * arc / n_arcs + TURN * u
    x = np.stack(
        [u * np.cos(angle) - v * np.sin(angle), u * np.sin(angle) + v * np.cos(angle)], axis=-1
    )
    rows = torch.arange(n)
    return Dataset(
        "arcs",
        torch.from_numpy(x).float(),
        rows[:n_train],
        rows[n_train:],
        {"arc": torch.from_numpy(arc)},
        {"arc": tuple(map(str, range(n_arcs)))},
    )
