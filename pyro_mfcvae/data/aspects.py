"""Toy data with several aspects that each fall into groups, for counting clusters."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import torch
from pydantic import Field

from pyro_mfcvae.config.parts import Count, Positive, Whole
from pyro_mfcvae.data.arcs import Scale
from pyro_mfcvae.data.observations import Dataset, random_split
from pyro_mfcvae.data.registry import register_dataset

Several = Annotated[int, Field(ge=2, strict=True)]


@register_dataset("aspects")
def aspects(
    n_aspects: Count = 3,
    n_values: Several = 4,
    n_observations: Several = 4000,
    spread: Scale = 0.12,
    ratio: Positive = 2.0,
    test_fraction: float = 0.2,
    data_seed: Whole = 0,
) -> Dataset:
    r"""Independent aspects, each with groups on a circle of its own, seen from an odd angle.

    .. math::
        u_i = r_i \big(\cos(2 \pi a_i / m), \sin(2 \pi a_i / m)\big) + \sigma r_i \epsilon_i,
        \qquad x = R \, (u_0, \dots, u_{n-1}),

    with values a_i drawn uniformly from the m of aspect i, radii that grow with i by the ratio,
    and a random rotation R. There are m^n combinations of values.

    Args:
        n_aspects: n.
        n_values: m, of each aspect.
        n_observations: how many.
        spread: sigma, in radii.
        ratio: of each radius to the one before; the first is 1.
        test_fraction: share of the observations that is held out.
        data_seed: of values, noise, rotation and split.

    Returns:
        rows, float32 (N, 2n), with the labels ``aspect_0`` (the smallest) and so on.
    """
    generator = np.random.default_rng(data_seed)
    values = generator.integers(n_values, size=(n_observations, n_aspects))
    angles = 2 * np.pi * values / n_values
    radii = ratio ** np.arange(n_aspects)
    points = np.stack([np.cos(angles), np.sin(angles)], -1)
    points = radii[:, None] * (points + spread * generator.standard_normal(points.shape))
    rotation, _ = np.linalg.qr(generator.standard_normal((2 * n_aspects,) * 2))
    x = torch.from_numpy(points.reshape(n_observations, -1) @ rotation.T).float()
    train, test = random_split(n_observations, test_fraction, data_seed)
    labels = {f"aspect_{i}": torch.from_numpy(column) for i, column in enumerate(values.T)}
    names = {name: tuple(map(str, range(n_values))) for name in labels}
    return Dataset("aspects", x, train, test, labels, names)
