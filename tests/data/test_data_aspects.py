"""Toy data with several aspects."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.errors import ConfigError


def _load(**options):
    return load_dataset(Component(name="aspects", options=options))


def test_groups_lie_on_circles_of_growing_radius():
    data = _load(n_aspects=3, n_values=4, n_observations=4000, ratio=2.0, spread=0.1)
    x = data.x.numpy().astype(np.float64)
    # The rotation keeps lengths: the mean square is that of all circles and their noise together.
    radii = np.array([1.0, 2.0, 4.0])
    expected = (radii**2 * (1 + 2 * 0.1**2)).sum()
    squares = (x**2).sum(1)
    assert abs(squares.mean() - expected) < 5 * squares.std() / np.sqrt(len(squares))
    # Centres of an aspect's groups are as far from their mean as its radius says.
    for i, radius in enumerate(radii):
        values = data.labels[f"aspect_{i}"].numpy()
        centres = np.stack([x[values == a].mean(0) for a in range(4)])
        distances = np.linalg.norm(centres - centres.mean(0), axis=1)
        # Each centre is a mean over about 1,000 draws of the other aspects.
        error = 5 * np.sqrt(expected / 1000)
        assert np.abs(distances - radius).max() < error
        shares = np.bincount(values) / len(values)
        assert np.abs(shares - 0.25).max() < 5 * np.sqrt(0.25 * 0.75 / len(values))


def test_without_noise_there_are_as_many_points_as_combinations():
    data = _load(n_aspects=2, n_values=3, n_observations=500, spread=0.0)
    assert len(np.unique(data.x.numpy().round(4), axis=0)) == 9
    assert data.x.shape == (500, 4)


def test_a_function_of_the_seed():
    first, same, other = (_load(n_observations=50, data_seed=s) for s in (1, 1, 2))
    assert first.fingerprint == same.fingerprint != other.fingerprint


@pytest.mark.parametrize(
    "options",
    [{"n_aspects": 0}, {"n_values": 1}, {"n_observations": 1}, {"spread": -1}, {"ratio": 0}],
)
def test_bad_options(options):
    with pytest.raises(ConfigError, match=f"option {next(iter(options))}"):
        _load(**options)
