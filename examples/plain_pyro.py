"""Plain Pyro
==========

A model and a guide of this library train under Pyro's own SVI.

Run with ``python examples/plain_pyro.py``. It clusters points whose place and whose spread are two
facets, first with the closed-form q(c | x), then with c summed out of the model.
"""

from __future__ import annotations

import torch
from pyro.infer import SVI, TraceEnum_ELBO
from pyro.optim import Adam

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.config import Component


def observations(n: int = 300) -> torch.Tensor:
    """Rows of ten numbers around one of three centres, (n, 10)."""
    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(3, 10, generator=generator)
    which = torch.randint(3, (n,), generator=generator)
    return centres[which] + 0.2 * torch.randn(n, 10, generator=generator)


def main(n_steps: int = 200) -> dict[str, list[float]]:
    """Train under both guides; returns the losses per observation."""
    x, small = observations(), Component(name="shared", options={"widths": [32]})
    losses: dict[str, list[float]] = {}
    for name in ("vade", "enumerate"):
        torch.manual_seed(0)
        gaussian = Component(name="gaussian", options={"scale": 0.5})
        model = MFCVAE(x.shape[1:], "2:4,2:3", gaussian, small, small)
        svi = SVI(model.model, model.guide(name), Adam({"lr": 5e-3}), TraceEnum_ELBO())
        losses[name] = [svi.step(x) / len(x) for _ in range(n_steps)]
        print(f"{name}: {losses[name][0]:.2f} -> {losses[name][-1]:.2f} nats per observation")
    return losses


if __name__ == "__main__":
    main()
