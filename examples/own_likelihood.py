"""A likelihood of your own
========================

Student's t forgives outlying pixels.

Run with ``python examples/own_likelihood.py``. A registered likelihood can be named in settings
like the built-in ones; here it is used on a few dozen rendered scenes.
"""

from __future__ import annotations

import pyro.distributions as dist
import torch
from torch import Tensor

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.config import Component
from pyro_mfcvae.data import as_float, load_dataset
from pyro_mfcvae.nets.likelihoods import Likelihood, register_likelihood


@register_likelihood("student-t")
class StudentTLikelihood(Likelihood):
    """x_i ~ StudentT(df, loc = h_i, scale)."""

    def __init__(self, df: float = 3.0, scale: float = 0.1) -> None:
        super().__init__()
        self.df, self.scale = df, scale

    def forward(self, h: Tensor, event_dim: int) -> dist.TorchDistribution:
        """Locations (..., *shape) -> p(x | z)."""
        return dist.StudentT(self.df, h, self.scale).to_event(event_dim)


def main(n_steps: int = 100) -> list[float]:
    """Train for some steps; returns the losses."""
    torch.manual_seed(0)
    factors = {"wall_hue": [5], "object_hue": [6], "scale": [3], "orientation": [7]}
    data = load_dataset(Component(name="shapes", options={"size": 16, "factors": factors}))
    x = as_float(data.x)
    model = MFCVAE(data.observation, "4:4,2:10", likelihood="student-t")
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for _ in range(n_steps):
        optimizer.zero_grad()
        loss = model(x, guide="enumerate").loss
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    print(f"{losses[0]:.1f} -> {losses[-1]:.1f} nats per observation")
    return losses


if __name__ == "__main__":
    main()
