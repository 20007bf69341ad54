"""Seeds, and the noise of a part of a batch."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch

from pyro_mfcvae import Noise
from pyro_mfcvae.inference.noise import Rows, SameNoise, derive_seed, start_seeds

N, D, S = 6, 3, 2


def test_a_seed_is_half_a_hash():
    """BLAKE2b of "0/1/z_0", 8 bytes, by Python's hashlib."""
    assert derive_seed(0, 1, "z_0") == 5247841722757116095


def test_seeds_of_starts_fit_into_31_bits_and_do_not_depend_on_their_number():
    seeds = start_seeds(3, 50)
    assert len(set(seeds)) == 50
    assert all(2**20 < seed < 2**31 for seed in seeds)  # fewer than 1 of 1000 is below
    assert start_seeds(3, 4) == seeds[:4]
    assert not {*start_seeds(4, 50)} & {*seeds}


def draws(noise, n, n_samples=1):
    """A latent of each of n observations, one that they share, and numbers of no site."""
    with noise, pyro.plate("samples", n_samples, dim=-2) if n_samples > 1 else torch.no_grad():
        shared = pyro.sample("g", dist.Normal(torch.zeros(D), 1.0).to_event(1))
        with pyro.plate("data", n, dim=-1):
            z = pyro.sample("z", dist.Normal(torch.zeros(n, D), 1.0).to_event(1))
    return z, shared, noise.numbers("w", (n, D), z)


@pytest.mark.parametrize("n_samples", [1, S])
def test_the_noise_of_rows_is_that_part_of_the_batch_s(n_samples):
    z, shared, numbers = draws(Noise(0, 5), N, n_samples)
    part, also_shared, part_of_numbers = draws(Noise(0, 5, Rows(2, N)), 3, n_samples)
    assert z.shape[-2:] == (N, D)
    assert torch.equal(part, z[..., 2:5, :])
    assert torch.equal(also_shared, shared)
    assert torch.equal(part_of_numbers, numbers[2:5])
    assert not torch.equal(draws(Noise(0, 6), N, n_samples)[0], z)


def test_the_same_noise_for_every_observation():
    z, _, _ = draws(SameNoise(0), N, S)
    assert torch.equal(z, z[:, :1].expand(S, N, D))
    assert len(z.unique()) == S * D


def test_a_site_that_is_not_normal_has_a_random_state_of_its_own():
    before = torch.random.get_rng_state()
    values = []
    for seed in (0, 0, 1):
        with Noise(seed):
            values.append(pyro.sample("u", dist.Uniform(torch.zeros(D), 1.0)))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])
    assert torch.equal(torch.random.get_rng_state(), before)
    with pytest.raises(ValueError, match="'u' is Uniform"), Noise({"u": torch.zeros(D)}):
        pyro.sample("u", dist.Uniform(torch.zeros(D), 1.0))
