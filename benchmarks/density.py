"""The full-covariance density of a facet against torch's own, forward and backward."""

from __future__ import annotations

from typing import Any

import torch
from torch.distributions import MultivariateNormal

from benchmarks.timing import CLOCKS, Clock, Turn, take_turns
from pyro_mfcvae.priors.mixture import MixturePrior

OURS, TORCH = "MixturePrior", "MultivariateNormal"


def bench_density(
    device: torch.device,
    n_rounds: int,
    turn_seconds: float,
    clock: Clock = CLOCKS["wall"],
    n_clusters: int = 200,
    latent_dim: int = 22,
    batch_size: int = 150,
) -> dict[str, Any]:
    """Time log p(z | c) of every pair of a latent and a cluster, with its gradient.

    Both begin at the same parameters and build the Cholesky factors from them. The sizes are those
    of the first facet of the published SVHN settings.

    Args:
        device: to compute on.
        n_rounds: turns of either.
        turn_seconds: how long a turn of torch's is to be.
        clock: seconds.
        n_clusters: K.
        latent_dim: D.
        batch_size: B.

    Returns:
        sizes, the largest relative difference between both densities, and timings.
    """
    prior, z = density_inputs(device, n_clusters, latent_dim, batch_size)
    steps = {name: _with_gradient(prior, z, name) for name in (OURS, TORCH)}
    with torch.no_grad():
        ours, theirs = (log_prob(prior, z, name) for name in (OURS, TORCH))
    timings = take_turns(steps, TORCH, n_rounds, turn_seconds, device, clock)
    return {
        "n_clusters": n_clusters,
        "latent_dim": latent_dim,
        "batch_size": batch_size,
        "deviation": ((ours - theirs).abs() / theirs.abs()).max().item(),
        **timings.record(TORCH),
    }


def density_inputs(
    device: torch.device, n_clusters: int, latent_dim: int, batch_size: int
) -> tuple[MixturePrior, torch.Tensor]:
    """A mixture with correlated components, and latents, (B, D)."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        prior = MixturePrior(n_clusters, latent_dim, "full", initial_variance=0.5)
        with torch.no_grad():
            prior.raw_scale += 0.1 * torch.randn_like(prior.raw_scale)
        z = torch.randn(batch_size, latent_dim)
    return prior.to(device), z.to(device).requires_grad_()


def log_prob(prior: MixturePrior, z: torch.Tensor, name: str) -> torch.Tensor:
    """Log p(z | c) by the library or by torch: (B, D) -> (B, K)."""
    if name == OURS:
        return prior.component_log_prob(z)
    components = MultivariateNormal(prior.loc, scale_tril=prior.scale_tril, validate_args=False)
    return components.log_prob(z.unsqueeze(-2))


def _with_gradient(prior: MixturePrior, z: torch.Tensor, name: str) -> Turn:
    def step() -> None:
        log_prob(prior, z, name).sum().backward()
        prior.loc.grad = prior.raw_scale.grad = z.grad = None

    return step
