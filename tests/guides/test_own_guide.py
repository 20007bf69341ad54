"""Guides of one's own: any number of samples, and against densities written out."""

from __future__ import annotations

import math

import pytest
import torch
from conftest import ROOT
from models import observations, small_model
from own_files import TINY, mfcvae, nothing_loaded, write_data
from pyro.infer import TraceEnum_ELBO
from variants import load

from pyro_mfcvae import Noise
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES, ClosedFormGuide, Guide
from pyro_mfcvae.inference.noise import site_noise
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.testing.values import gradients, relative_error


@pytest.mark.parametrize("n_samples", [1, 4])
def test_what_a_person_writes_is_called_with_any_number_of_samples(n_samples):
    """The uniform q(c | x) has the gap of E_q [log q(c) - log p(c | z)] to summing c out."""
    shapes = []

    class Uniform(ClosedFormGuide):
        def over_samples(self, log_responsibilities):
            shapes.append(tuple(log_responsibilities.shape))
            return torch.zeros_like(log_responsibilities[0])

    model, x = small_model(), observations()
    with torch.no_grad():
        with Noise(0):
            best = model(x, guide="enumerate", n_samples=n_samples).elbo
        with Noise(0):
            elbo = model(x, guide=Uniform(model), n_samples=n_samples).elbo
        gap = 0.0
        for j, (q, prior) in enumerate(zip(model.encode(x), model.facets, strict=True)):
            eps = site_noise(0, 0, f"z_{j}", _shape(n_samples, q), x)
            z = (q.mean + q.stddev * eps).reshape(n_samples, *q.mean.shape)
            log_r = (prior.component_log_prob(z) + prior.log_weights).log_softmax(-1)
            gap = gap - log_r.mean(-1).mean(0) - math.log(prior.n_clusters)
    assert shapes == [(n_samples, len(x), prior.n_clusters) for prior in model.facets]
    assert (gap > 0.01).all()
    torch.testing.assert_close(best - elbo, gap, rtol=1e-9, atol=1e-9)


def _shape(n_samples, q):
    return torch.Size([*([n_samples] if n_samples > 1 else []), *q.mean.shape])


@pytest.mark.parametrize("guide", ["vade", "expectation"])
def test_one_sample_is_its_own_average(guide):
    """Bit for bit: what there is of one sample goes through unchanged, and so does its gradient."""

    class Shortened(GUIDES[guide]):
        def logits(self, inferred):
            return inferred.prior.log_responsibilities(inferred.z)

    model, x = small_model(), observations()
    found = []
    for each in (model.guide(guide), Shortened(model)):
        with Noise(0):
            loss = model(x, guide=each).loss
        found.append((loss, gradients(model, loss)))
    assert torch.equal(found[0][0], found[1][0])
    assert relative_error(found[0][1], found[1][1]) == 0


def test_a_guide_without_an_average_cannot_be_made():
    class Unsaid(ClosedFormGuide):
        pass

    class Empty(Guide):
        pass

    model, x = small_model(), observations()
    with pytest.raises(TypeError, match="over_samples"):
        Unsaid(model)
    with pytest.raises(ConfigError, match="Empty does not enumerate clusters, as it defines no lo"):
        model(x, guide=Empty(model))


@pytest.mark.parametrize("n_samples", [1, 5])
def test_tempered_clusters_lie_below_the_optimum_by_their_kl(n_samples):
    """ELBO(vade) - ELBO(T) = KL(q_T || q_1), from densities written out; T = 1 is vade itself."""
    module, model, x = load("own_guide"), small_model(), observations()
    with torch.no_grad():
        logits = []
        for j, (q, prior) in enumerate(zip(model.encode(x), model.facets, strict=True)):
            eps = site_noise(0, 0, f"z_{j}", _shape(n_samples, q), x)
            z = (q.mean + q.stddev * eps).reshape(n_samples, *q.mean.shape)
            log_joint = prior.component_log_prob(z) + prior.log_weights
            logits.append(log_joint.log_softmax(-1).mean(0))

        def elbo(guide):
            with Noise(0):
                return model(x, guide=guide, n_samples=n_samples).elbo

        best = elbo("vade")
        torch.testing.assert_close(elbo(module.Tempered(model, 1.0)), best, rtol=1e-12, atol=0)
        for temperature in (5.0, 2.0, 0.5, 0.02):
            kl = 0.0
            for logit in logits:
                log_q, log_best = (logit / temperature).log_softmax(-1), logit.log_softmax(-1)
                kl = kl + (log_q.exp() * (log_q - log_best)).sum(-1)
            guide = module.Tempered(model, temperature).double()
            torch.testing.assert_close(best - elbo(guide), kl, rtol=1e-8, atol=1e-9)
            assert (kl > 0).all()


def test_tempered_clusters_under_pyro_s_own_objective():
    model, x = small_model(), observations()
    guide = load("own_guide").Tempered(model, 3.0).double()
    with Noise(0):
        elbo = model(x, guide=guide).elbo.sum().item()
    with Noise(0):
        stock = TraceEnum_ELBO(max_plate_nesting=1).loss(model.model, guide, x)
    assert -stock == pytest.approx(elbo, rel=1e-9)


def test_own_guide():
    """The example's table: no temperature does better than vade, and that no better than a sum."""
    assert len((ROOT / "examples/own_guide.py").read_text().splitlines()) < 60
    bounds = load("own_guide").main(80, 4)
    vade = bounds.pop("vade")
    assert bounds.pop("enumerate") > vade
    assert bounds.pop("tempered, T = 1.0") == pytest.approx(vade, abs=1e-5)
    assert len(bounds) == 4
    assert max(bounds.values()) < vade - 1e-4


def test_the_example_from_the_command_line(tmp_path, monkeypatch):
    """Training lowers its temperature as the settings say."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: [])
    write_data(tmp_path)
    with nothing_loaded():
        _check_example()


def _check_example():
    given = ["--guide", f"{ROOT}/examples/own_guide.py:Tempered"]
    done = mfcvae("train", *TINY, *given, "--set", "guide.temperature=[5,1]", "--out", "cooled")
    assert done.exit_code == 0, done.output
    cooled = Run("cooled").model().guides["Tempered"].temperature.item()
    n_steps = 3 * 3  # of 48 observations in batches of 20
    assert cooled == pytest.approx(5 ** (1 / n_steps))  # one step before the end
    few = ("--samples", "3", "--n-draws", "2", "--n-observations", "6")
    done = mfcvae("compare", "cooled", "--guides", f"vade,{given[1]}", *few)
    assert done.exit_code == 0, done.output
    elbos = {row.guide: row.elbo for row in Run("cooled").comparison().guides}
    assert elbos.keys() == {"enumerate", "vade", "Tempered"}
    assert elbos["enumerate"] > elbos["vade"] > elbos["Tempered"]
