"""Every example runs."""

from __future__ import annotations

import importlib.util

import pytest
import torch
from conftest import ROOT
from models import gradients, relative_error

from pyro_mfcvae import Noise

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_examples_are_tested():
    assert EXAMPLES == ["facet_pairs", "own_likelihood", "plain_pyro"]


def test_facet_pairs():
    elbos = _load("facet_pairs").main(120)
    assert elbos["margins"] < elbos["joint"] < elbos["c summed out"]


def _pairs(n_samples: int):
    """Model, guide and noise of the example in float64, with a table that does not factorise."""
    module = _load("facet_pairs")
    torch.manual_seed(1)
    x = module.observations(12).double()
    model = module.build(x).double()
    with torch.no_grad():
        model.pair_logits.copy_(torch.randn(3, 3))
    shape = (n_samples, 12, 2) if n_samples > 1 else (12, 2)
    noise = {f"z_{j}": torch.randn(shape, dtype=torch.float64) for j in range(2)}
    return module, model, x, noise


def test_theorem_3_one_sample():
    """With one sample the joint table gives what summing out gives, in value and gradient."""
    module, model, x, noise = _pairs(1)
    with Noise(noise):
        joint = model(x, guide=module.JointGuide(model)).loss
    with Noise(noise):
        summed = model(x, guide="enumerate").loss
    assert joint.item() == pytest.approx(summed.item(), rel=1e-12)
    assert relative_error(gradients(model, joint), gradients(model, summed)) < 1e-9


def test_theorem_3_several_samples():
    """The gap is -log Z; no other table comes as near, that of the margins least of all."""
    module, model, x, noise = _pairs(5)

    def elbo(guide):
        with torch.no_grad(), Noise(noise):
            return model(x, guide=guide, n_samples=5).elbo

    zs = [
        q.mean + q.base_dist.scale * noise[f"z_{j}"] for j, q in enumerate(model.encode(x))
    ]  # fmt: skip
    posterior = model.log_joint(*zs).flatten(-2).log_softmax(-1)
    log_z = posterior.mean(0).logsumexp(-1)
    best = elbo(module.JointGuide(model))
    torch.testing.assert_close(elbo("enumerate") - best, -log_z.detach(), rtol=1e-9, atol=1e-12)

    class Perturbed(module.JointGuide):
        def log_q(self, z_0, z_1):
            return super().log_q(z_0, z_1) + 0.1 * torch.randn(3, 3, dtype=torch.float64)

    assert all((elbo(Perturbed(model)) < best).all() for _ in range(10))
    assert (elbo(module.MarginsGuide(model)) < best).all()


def test_own_likelihood():
    losses = _load("own_likelihood").main(40)
    assert losses[-1] < 0.7 * losses[0]


def test_plain_pyro():
    losses = _load("plain_pyro").main(60)
    assert set(losses) == {"vade", "enumerate"}
    for curve in losses.values():
        assert curve[-1] < curve[0]
