"""A guide of your own
===================

Tempered clusters, for deterministic annealing.

::

    q(c | x) = softmax(1 / (S T) sum_s log p(c | z^(s))): vade at T = 1, one-hot for T -> 0

For every T its ELBO is a bound, KL(q_T || q_1) below that of ``vade``. Training lowers T:
``mfcvae train --guide examples/own_guide.py:Tempered --set guide.temperature=[5,1]``.

Source: Ueda and Nakano, "Deterministic annealing EM algorithm", 1998.
"""

import pyro
import torch

from pyro_mfcvae import MFCVAE, FacetELBO, Noise
from pyro_mfcvae.config import Component
from pyro_mfcvae.guides import ClosedFormGuide


class Tempered(ClosedFormGuide):
    def __init__(self, model, temperature=2.0):
        super().__init__(model)
        self.register_buffer("temperature", torch.tensor(temperature))

    def over_samples(self, log_responsibilities):
        return log_responsibilities.mean(0) / self.temperature


def main(n_steps=600, n_samples=8):
    """Train on three overlapping groups while T falls; returns the bounds of several guides."""
    torch.manual_seed(0)
    x = 1.5 * torch.randn(3, 6)[torch.randint(3, (300,))] + torch.randn(300, 6)
    nets = [Component(name="shared", options={"widths": [32]})] * 2
    model = MFCVAE((6,), "2:3", "gaussian", *nets)
    guide = Tempered(model)
    svi = pyro.infer.SVI(model.model, guide, pyro.optim.Adam({"lr": 5e-3}), FacetELBO())
    for step in range(n_steps):
        guide.temperature.fill_(5 ** (1 - step / n_steps))
        svi.step(x)
    guides = {"enumerate": "enumerate", "vade": "vade"}
    guides |= {f"tempered, T = {t}": Tempered(model, t) for t in (5.0, 2.0, 1.0, 0.5, 0.01)}
    bounds = {}
    for name, guide in guides.items():
        with torch.no_grad(), Noise(1):
            bounds[name] = model(x, guide=guide, n_samples=n_samples).elbo.mean().item()
    return bounds


if __name__ == "__main__":
    bounds = main()
    print(f"{'guide':20}{'ELBO':>9}{'below vade':>12}")
    for name, bound in bounds.items():
        print(f"{name:20}{bound:9.4f}{bounds['vade'] - bound:12.4f}")
