"""Five noisy arcs in the plane: a mixture whose clusters are no Gaussians."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from pyro_mfcvae.config.parts import Count, Whole
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.registry import register_dataset

Scale = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Pair = Annotated[Sequence[Scale], Field(min_length=2, max_length=2)]

RADIUS = 2.0  # of the middle of an arc
TURN = 0.8  # radians that an arc winds around the origin for each unit of radius


@register_dataset("arcs")
def arcs(
    n_train: Count = 10_000,
    n_test: Count = 2_000,
    n_arcs: Count = 5,
    noise: Pair = (0.5, 0.12),
    seed: Whole = 0,
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
    """
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
