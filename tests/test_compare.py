"""Guides under the same noise, against the closed forms and by hand."""

from __future__ import annotations

import statistics

import pytest
import torch
from models import observations, small_model

from pyro_mfcvae import Noise
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation import compare_guides
from pyro_mfcvae.figures import guide_comparison

FADE = (0.0, 0.4, 1.0)
N_DRAWS, SEED = 5, 3


@pytest.fixture(scope="module")
def compared():
    torch.manual_seed(0)
    model, x = small_model(3), observations()
    results = compare_guides(model, x, n_samples=(1, 4), n_draws=N_DRAWS, fade=FADE, seed=SEED)
    rows = {(row["guide"], row["n_samples"]): row for row in results["guides"]}
    return model, x, rows, results


def test_every_guide_with_every_number_of_samples(compared):
    *_, rows, results = compared
    assert set(rows) == {
        (guide, s) for guide in ("enumerate", "vade", "expectation") for s in (1, 4)
    }
    assert results["fade"] == list(FADE)
    assert (results["n_observations"], results["n_draws"], results["seed"]) == (6, 5, 3)


def test_gaps_are_what_the_samples_predict(compared):
    *_, rows, _ = compared
    for row in rows.values():
        assert row["gap_mismatch"] < 1e-9
        assert row["gap"] == pytest.approx(row["predicted_gap"], abs=1e-9)
        if row["n_samples"] == 1:
            assert row["gap"] == pytest.approx(0, abs=1e-9)
    vade, expectation = rows["vade", 4], rows["expectation", 4]
    assert vade["gap"] == pytest.approx(vade["least_gap"], abs=1e-9)
    assert vade["gap"] > 0.01
    assert expectation["gap"] > vade["gap"] + 0.01  # the KL that the VaDE paper takes for zero


@pytest.mark.parametrize("guide", ["enumerate", "vade", "expectation"])
@pytest.mark.parametrize("n_samples", [1, 4])
def test_bound_and_gradient_by_hand(compared, guide, n_samples):
    model, x, rows, _ = compared
    parameters = [*model.encoder.parameters(), *model.heads.parameters()]
    elbos, gradients, kls = [], [], []
    for draw in range(N_DRAWS):
        with Noise(SEED, draw):
            terms = model.elbo(x, guide, n_samples, fade=list(FADE))
        parts = torch.autograd.grad(terms.loss, parameters)
        gradients.append(torch.cat([part.flatten() for part in parts]))
        elbos.append(terms.elbo.mean().item())
        kls.append(terms.kl_z[:, 1].mean().item())
    gradients = torch.stack(gradients)
    row = rows[guide, n_samples]
    assert row["elbo"] == pytest.approx(statistics.mean(elbos))
    assert row["elbo_standard_error"] == pytest.approx(statistics.stdev(elbos) / N_DRAWS**0.5)
    assert row["terms"]["kl_z_1"] == pytest.approx(statistics.mean(kls))
    assert row["gradient_variance"] == pytest.approx(gradients.var(0).sum().item())
    assert row["gradient_norm"] == pytest.approx(gradients.mean(0).norm().item())
    assert row["seconds"] > 0


def test_the_model_is_left_as_it_was():
    model, x = small_model().train(), observations()
    before = [p.detach().clone() for p in model.parameters()]
    state = torch.random.get_rng_state()
    calls = []
    compare_guides(model, x, ["vade"], (2,), n_draws=2, on_draw=lambda: calls.append(1))
    assert len(calls) == 4  # two guides, as the reference is always there
    assert model.training
    assert torch.equal(torch.random.get_rng_state(), state)
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, old)
        assert p.grad is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"guides": ["oracle"]}, "unknown guide 'oracle'; choose from enumerate, expectation"),
        ({"n_draws": 1}, "at least 2 draws"),
        ({"n_samples": (0,)}, "numbers of samples from 1 on"),
        ({"n_samples": ()}, "numbers of samples from 1 on"),
    ],
)
def test_what_cannot_be_compared(arguments, message):
    with pytest.raises(ConfigError, match=message):
        compare_guides(small_model(), observations(), **arguments)


def test_the_figure_shows_what_was_measured(compared):
    *_, rows, results = compared
    gaps, variances, times = guide_comparison(results, "title").axes
    lines = {line.get_label(): line for line in gaps.lines}
    expected = [rows["vade", s]["gap"] for s in (1, 4)]
    assert list(lines["vade"].get_ydata()) == expected
    for axes, key, factor in ((variances, "gradient_variance", 1), (times, "seconds", 1000)):
        for line in axes.lines:
            expected = [factor * rows[line.get_label(), s][key] for s in (1, 4)]
            assert list(line.get_xdata()) == [1, 4]
            assert list(line.get_ydata()) == pytest.approx(expected)
