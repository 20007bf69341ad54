r"""Facets that depend on each other: one table of prior weights over pairs of clusters.

With p(c_0, c_1) = pi[c_0, c_1] the best q(c_0, c_1 | x) is a table too (MFCVAE, Theorem 3):

    q(c_0, c_1 | x)  proportional to  exp(mean over samples of log p(c_0, c_1 | z_0, z_1))

Run with ``python examples/facet_pairs.py``. Two groups of features have three kinds each, and the
kind of one mostly tells that of the other. The model learns this with the clusters summed out;
then three ways of handling them are compared: the joint table, the product of its margins, and
summing them out.
"""

from __future__ import annotations

from typing import Any

import pyro
import torch
from pyro.distributions import Categorical
from torch import Tensor, nn

from pyro_mfcvae import MFCVAE, Noise
from pyro_mfcvae.config import Component, FacetConfig
from pyro_mfcvae.guides import Guide
from pyro_mfcvae.models.base import data_plate

MARK = {"enumerate": "parallel"}


class FacetPairs(MFCVAE):
    """MFCVAE of two facets with (c_0, c_1) ~ Cat(pi), pi a table K_0 x K_1."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        first, second = self.facets
        self.pair_logits = nn.Parameter(torch.zeros(first.n_clusters, second.n_clusters))

    def model(self, x: Tensor, fade: Tensor | None = None) -> None:
        """c_0 from the table's margin, c_1 from its row."""
        first, second = self.facets
        with data_plate(x):
            c_0 = pyro.sample("c_0", Categorical(logits=self.pair_logits.logsumexp(1)), infer=MARK)
            c_1 = pyro.sample("c_1", Categorical(logits=self.pair_logits[c_0]), infer=MARK)
            z_0 = pyro.sample("z_0", first.component(c_0))
            z_1 = pyro.sample("z_1", second.component(c_1))
            pyro.sample("x", self.decode([z_0, z_1], fade), obs=x)

    def log_joint(self, z_0: Tensor, z_1: Tensor) -> Tensor:
        """Log p(c_0, c_1, z_0, z_1) for every pair, (..., K_0, K_1)."""
        first, second = self.facets
        log_pi = self.pair_logits.flatten().log_softmax(-1).unflatten(0, self.pair_logits.shape)
        return (
            log_pi
            + first.component_log_prob(z_0).unsqueeze(-1)
            + second.component_log_prob(z_1).unsqueeze(-2)
        )


class JointGuide(Guide):
    """The optimal q(c_0, c_1 | x), one table per observation."""

    def forward(self, x: Tensor, fade: Tensor | None = None) -> None:
        """The Pyro program."""
        q_0, q_1 = self.model.encode(x, fade)
        with data_plate(x):
            z_0, z_1 = pyro.sample("z_0", q_0), pyro.sample("z_1", q_1)
            log_q = self.log_q(z_0, z_1)
            c_0 = pyro.sample("c_0", Categorical(logits=log_q.logsumexp(-1)), infer=MARK)
            rows = log_q[torch.arange(len(x)), c_0]
            pyro.sample("c_1", Categorical(logits=rows), infer=MARK)

    def log_q(self, z_0: Tensor, z_1: Tensor) -> Tensor:
        """Log q(c_0, c_1 | x) up to a constant, (B, K_0, K_1)."""
        log_joint = self.model.log_joint(z_0, z_1)
        posterior = log_joint.flatten(-2).log_softmax(-1).unflatten(-1, log_joint.shape[-2:])
        return posterior.reshape(-1, *posterior.shape[-3:]).mean(0)


class MarginsGuide(JointGuide):
    """The product of the table's margins: what a q that factorises over facets makes of it."""

    def log_q(self, z_0: Tensor, z_1: Tensor) -> Tensor:
        """Log q(c_0 | x) + log q(c_1 | x), (B, K_0, K_1)."""
        table = super().log_q(z_0, z_1)
        return table.logsumexp(-1, keepdim=True) + table.logsumexp(-2, keepdim=True)


def observations(n: int = 400) -> Tensor:
    """Rows of eight numbers: two groups of four, whose kinds agree nine times out of ten."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(2, 3, 4, generator=generator)
    first = torch.randint(3, (n,), generator=generator)
    other = torch.randint(3, (n,), generator=generator)
    second = torch.where(torch.rand(n, generator=generator) < 0.85, first, other)
    x = torch.cat([centres[0, first], centres[1, second]], -1)
    return x + 0.7 * torch.randn(n, 8, generator=generator)


def build(x: Tensor) -> FacetPairs:
    """A small model for rows of numbers, with clusters that overlap."""
    facet = FacetConfig(n_clusters=3, latent_dim=2, initial_variance=0.3)
    model = FacetPairs(
        x.shape[1:],
        [facet, facet],
        likelihood=Component(name="gaussian", options={"scale": 0.5}),
        encoder=Component(name="per-facet", options={"widths": 32}),
        decoder=Component(name="shared", options={"widths": [32]}),
    )
    with torch.no_grad():
        for prior in model.facets:
            prior.loc.mul_(0.5)
    return model


def main(n_steps: int = 500) -> dict[str, float]:
    """Train with c summed out; returns the ELBO of every guide under the same noise."""
    torch.manual_seed(0)
    x = observations()
    model = build(x)
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    for _ in range(n_steps):
        optimizer.zero_grad()
        model(x, guide="enumerate", n_samples=4).loss.backward()
        optimizer.step()
    print("p(c_1 | c_0):")
    for row in model.pair_logits.softmax(1).tolist():
        print("   ", "  ".join(f"{weight:.2f}" for weight in row))
    elbos = {}
    guides = {
        "joint": JointGuide(model), "margins": MarginsGuide(model), "c summed out": "enumerate"
    }  # fmt: skip
    for name, guide in guides.items():
        with torch.no_grad(), Noise(0):
            terms = model(x, guide=guide, n_samples=4)
        elbos[name] = terms.elbo.mean().item()
        print(f"{name:>12}: {elbos[name]:.3f} nats per observation")
    return elbos


if __name__ == "__main__":
    main()
