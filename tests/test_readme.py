"""The README's Python runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from models import observations, relative_error, tiny_config
from pyro.infer import TraceEnum_ELBO

from pyro_mfcvae import Noise, presets
from pyro_mfcvae.inference.noise import site_noise

BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


def _block(containing: str) -> str:
    (block,) = (block for block in BLOCKS if containing in block)
    return block


def test_a_model_and_plain_pyro(capsys):
    names = {}
    exec(_block('guide="vade", n_samples=4'), names)
    before = names["model"].facets[0].loc.detach().clone()
    exec(_block("svi.step(x)"), names)
    assert not torch.equal(before, names["model"].facets[0].loc)
    assert "tensor" in capsys.readouterr().out


def test_a_whole_training(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    tiny = presets.Preset(tiny_config(), "", "", "")
    monkeypatch.setattr(presets, "get_preset", lambda name: tiny)
    exec(_block("evaluate_run(run, dataset)"), {})
    assert "majority_accuracy_training_map" in capsys.readouterr().out
    Path("runs/shapes-001").rename("runs/mine-001")
    names = {}
    exec(_block("predict(run.model()"), names)
    assert names["predictions"].clusters[0].shape == (96,)
    Path("runs/mine-001").rename("runs/shapes-001")
    exec(_block("swap_facets(trained"), names)
    event = (3, 8, 8)
    assert names["swapped"].shape == (4, 4, *event)
    assert names["moved"].shape == (4, 7, *event)
    assert names["between"].shape == (4, 6, *event)
    assert names["drawn"].shape == (2, 10, *event)
    assert names["pairs"].shape == (2, 3, *event)


@pytest.mark.parametrize("n_samples", [1, 3])
def test_the_variant_is_what_it_says(n_samples):
    names = {}
    exec(_block("class Hierarchical"), names)
    model = names["Hierarchical"]((1, 4, 4), "3:5,2:4", encoder="shared", decoder="shared").double()
    x = observations()
    with torch.no_grad():
        model.table += torch.randn_like(model.table)
        with Noise(0):
            elbo = model(x, "enumerate", n_samples).elbo
        shape = (n_samples, len(x)) if n_samples > 1 else (len(x),)
        posteriors = model.encode(x)
        zs = [
            q.mean + q.stddev * site_noise(0, 0, f"z_{j}", torch.Size([*shape, *q.event_shape]), x)
            for j, q in enumerate(posteriors)
        ]
        first, second = (f.component_log_prob(z) for f, z in zip(model.facets, zs, strict=True))
        weights = model.facets[0].log_weights.unsqueeze(-1) + model.table.log_softmax(-1)
        log_p_z = (weights + first.unsqueeze(-1) + second.unsqueeze(-2)).logsumexp((-1, -2))
        log_q = sum(q.log_prob(z) for q, z in zip(posteriors, zs, strict=True))
        expected = model.decode(zs).log_prob(x) + log_p_z - log_q
        expected = expected.mean(0) if n_samples > 1 else expected
        faded = torch.tensor([0.3, 1.0]).double()  # reaches the decoder, and no half of a KL
        with Noise(0):
            while_fading = model(x, faded, "enumerate", n_samples).elbo
        bound = model.decode(zs, faded).log_prob(x) + log_p_z - log_q
        bound = bound.mean(0) if n_samples > 1 else bound
    assert relative_error(elbo, expected) <= 1e-9
    assert relative_error(while_fading, bound) <= 1e-9
    stock = TraceEnum_ELBO(
        num_particles=n_samples, vectorize_particles=n_samples > 1, max_plate_nesting=1
    )
    with Noise(0):
        loss = stock.loss(model.model, model.guide("enumerate"), x)
    assert loss == pytest.approx(-elbo.sum().item(), rel=1e-9)


def test_no_placeholder_is_left():
    assert "@@" not in (ROOT / "README.md").read_text()
