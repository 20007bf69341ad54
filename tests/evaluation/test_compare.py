"""Guides under the same noise, against the closed forms and by hand."""

from __future__ import annotations

import io
import statistics

import pytest
import torch
from models import SHAPE, observations, small_model
from rich.console import Console

from pyro_mfcvae import GMVAE, MFCVAE, UGVAE, VLAC, Noise
from pyro_mfcvae.cli.show import show_comparison
from pyro_mfcvae.config import Component
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation import compare_guides
from pyro_mfcvae.evaluation.results import Comparison, GuideResults
from pyro_mfcvae.figures.guides import Guides
from pyro_mfcvae.guides import GUIDES, AmortizedGuide
from pyro_mfcvae.testing.values import weighted, with_guides

DENSE = {
    "encoder": Component(name="ladder", options={"backbone": 8}),
    "decoder": Component(name="ladder", options={"backbone": 8, "rungs": 8}),
}
SHARED = {
    "encoder": Component(name="shared", options={"widths": [8]}),
    "decoder": Component(name="shared", options={"widths": [8]}),
}
FADE = (0.0, 0.4, 1.0)
SAMPLED = ("enumerate", "vade", "expectation", "posterior")
ANALYTIC = ("vade-analytic", "expectation-analytic", "posterior-analytic")
NETWORKS = ("amortized", "amortized-analytic", "relaxed")
N_DRAWS, SEED = 5, 3


@pytest.fixture(scope="module")
def compared():
    torch.manual_seed(0)
    model, x = small_model(3), observations()
    model.fade.copy_(torch.tensor(FADE, dtype=torch.float64))
    results = compare_guides(model, x, n_samples=(1, 4), n_draws=N_DRAWS, seed=SEED)
    rows = {(row.guide, row.n_samples): row for row in results.guides}
    return model, x, rows, results


def test_every_guide_with_every_number_of_samples(compared):
    model, *_, rows, results = compared
    assert set(rows) == {(guide, s) for guide in (*SAMPLED, *ANALYTIC) for s in (1, 4)}
    assert results.fade == pytest.approx(FADE)
    assert results.reference == "enumerate"
    reason = "its network q(c | x) was not trained: train with --guide amortized or --guide relaxed"
    assert results.left_out == dict.fromkeys(NETWORKS, reason)
    assert not model.guides
    assert (results.n_observations, results.n_draws, results.seed) == (6, 5, 3)


def test_gaps_are_what_the_samples_predict(compared):
    *_, rows, _ = compared
    for row in (rows[guide, s] for guide in SAMPLED for s in (1, 4)):
        assert row.gap_mismatch < 1e-9
        assert row.gap == pytest.approx(row.predicted_gap, abs=1e-9)
        if row.n_samples == 1 or row.guide == "posterior":
            assert row.gap == pytest.approx(0, abs=1e-9)
    vade, expectation = rows["vade", 4], rows["expectation", 4]
    assert vade.gap == pytest.approx(vade.least_gap, abs=1e-9)
    assert vade.gap > 0.01
    assert expectation.gap > vade.gap + 0.01  # the KL that the VaDE paper takes for zero


@pytest.mark.parametrize(
    ("guide", "n_samples", "make"),
    [
        ("expectation-analytic", 1, lambda: small_model(1)),
        ("vade-analytic", 3, lambda: small_model(1)),
        ("posterior-analytic", 2, lambda: small_model(1)),
        ("vade-analytic", 2, lambda: small_gmvae()),
    ],
)
def test_gaps_of_closed_forms_are_predicted_on_average(guide, n_samples, make):
    """Over many draws the means of gap and prediction differ by noise alone."""
    model, x, differences = make(), observations(), []
    for seed in range(8):
        compared = compare_guides(model, x, [guide], (n_samples,), n_draws=3, seed=seed)
        row = next(row for row in compared.guides if row.guide == guide)
        differences.append(row.gap - row.predicted_gap)
        assert row.gap_mismatch > 1e-3
        if guide != "posterior-analytic":  # that has a q(c | x, z) for every sample
            assert row.predicted_gap >= row.least_gap - 1e-9
        assert row.predicted_gap > 0.01  # from the samples of q(c | x) it would be 0 at S = 1
    error = statistics.stdev(differences) / len(differences) ** 0.5
    assert abs(statistics.mean(differences)) < 5.4 * error  # Student's t, 7 degrees: p = 0.001


def small_gmvae() -> GMVAE:
    model = GMVAE(SHAPE, "2:3,2:1", **SHARED, mixture_width=8).double()
    with torch.no_grad():
        model.facets[0].output.weight.mul_(4)  # so that w matters, and clusters lie apart
        model.facets[0].output.bias.mul_(4)
    return model


def small_ugvae() -> UGVAE:
    options = {"group_size": 6, "width": 8, "mixture_width": 8}
    model = UGVAE(SHAPE, "2:3,2:1", "gaussian", **SHARED, **options).double()
    with torch.no_grad():
        model.facets[0].output.weight.mul_(4)
        model.facets[0].output.bias.mul_(4)
    return model


def small_autoregressive() -> MFCVAE:
    model = MFCVAE(SHAPE, "2:3,2:1", **DENSE, posterior="autoregressive").double()
    for head in model.heads_given_others[:1]:
        torch.nn.init.normal_(head.output.weight)
    return with_guides(model, "amortized")


@pytest.mark.parametrize("make", [small_gmvae, small_ugvae, small_autoregressive])
def test_gaps_of_other_models_are_what_the_samples_predict(make):
    """Whatever facets depend on, and for facets without clusters: in every single draw."""
    model = make()
    results = compare_guides(model, observations(), n_samples=(1, 3), n_draws=2)
    rows = {(row.guide, row.n_samples): row for row in results.guides}
    networks = ("amortized",) if model.cluster_networks or model.guides else ()
    assert bool(networks) == (make is not small_gmvae)
    for guide in (*SAMPLED, *networks):
        for s in (1, 3):
            assert rows[guide, s].gap_mismatch < 1e-9
    for guide in ("vade", "expectation", *networks):
        assert rows[guide, 3].gap >= rows[guide, 3].least_gap - 1e-9
        assert rows[guide, 3].least_gap > 1e-4
    assert rows["posterior", 3].gap == pytest.approx(0, abs=1e-9)
    assert results.group_size == model.structure.group_size


def test_a_relaxed_cluster_is_no_bound():
    model = small_autoregressive()
    row = compare_guides(model, observations(), ["relaxed"], (2,), n_draws=2).guides[1]
    assert (row.guide, row.is_bound) == ("relaxed", False)
    assert row.predicted_gap is row.least_gap is row.gap_mismatch is None
    assert isinstance(row.gap, float)


def test_without_a_reference_there_are_no_gaps():
    model = VLAC(SHAPE, "2:2,2:3", **DENSE, width=8).double()
    results = compare_guides(model, observations(), n_samples=(1, 2), n_draws=2)
    assert results.reference is None
    assert [row.guide for row in results.guides] == [*NETWORKS] * 2
    for name in (*SAMPLED, *ANALYTIC):
        assert "q(z | x, c) needs the clusters first" in results.left_out[name]
    for row in results.guides:
        assert row.gap is row.predicted_gap is row.least_gap is None
        assert row.gradient_norm > 0
    bounds, *_ = Guides().draw(results).axes
    assert bounds.get_ylabel() == "ELBO ± standard error, nats"
    screen = Console(width=100, file=io.StringIO())
    show_comparison(screen, results)
    text = " ".join(screen.file.getvalue().split())
    assert "No gaps: the reference, enumerate, does not fit this model" in text
    names = ", ".join(sorted({*SAMPLED, *ANALYTIC} - {"enumerate"}))
    assert f"Left out: enumerate, {names}: its q(z | x, c) needs" in text


def test_the_gradient_is_of_all_networks_below_the_latents():
    """VLAC: the ladder that is told the clusters; the networks of q(c | x) are others."""
    model, x = VLAC(SHAPE, "2:1,2:3", **DENSE, width=8).double(), observations()
    row = compare_guides(model, x, ["amortized"], (2,), n_draws=2, seed=SEED).guides[0]
    parameters = [
        p for part in (model.encoder, model.heads, model.ladder) for p in part.parameters()
    ]
    gradients = []
    for draw in range(2):
        with model.evaluating(gradients=True), Noise(SEED, draw):
            loss = model(x, "amortized", 2).loss
        parts = torch.autograd.grad(loss, parameters, allow_unused=True)
        gradients.append(torch.cat([part.flatten() for part in parts if part is not None]))
    gradients = torch.stack(gradients)
    assert row.gradient_norm == pytest.approx(gradients.mean(0).norm().item())
    assert row.gradient_variance == pytest.approx(gradients.var(0).sum().item())


def test_a_network_of_ones_own_that_was_not_trained(monkeypatch):
    class Own(AmortizedGuide):
        def __init__(self, model):
            super().__init__(model)
            self.layer = torch.nn.Linear(1, 1)

    monkeypatch.setitem(GUIDES, "own", Own)
    model, x = small_autoregressive(), observations()
    results = compare_guides(model, x, ["own", "vade"], (1,), n_draws=2)
    assert results.left_out == {"own": "its networks were not trained: train with --guide own"}
    model.guides["own"] = Own(model).double()
    assert not compare_guides(model, x, ["own"], (1,), n_draws=2).left_out


@pytest.mark.parametrize("guide", [*SAMPLED, *ANALYTIC])
@pytest.mark.parametrize("n_samples", [1, 4])
def test_bound_and_gradient_by_hand(compared, guide, n_samples):
    model, x, rows, _ = compared
    parameters = [*model.encoder.parameters(), *model.heads.parameters()]
    elbos, gradients, kls = [], [], []
    for draw in range(N_DRAWS):
        with Noise(SEED, draw):
            terms = weighted(model, x, guide, n_samples, fade=list(FADE))
        parts = torch.autograd.grad(terms.loss, parameters)
        gradients.append(torch.cat([part.flatten() for part in parts]))
        elbos.append(terms.elbo.mean().item())
        kls.append(terms.kl_z[:, 1].mean().item())
    gradients = torch.stack(gradients)
    row = rows[guide, n_samples]
    assert row.elbo == pytest.approx(statistics.mean(elbos))
    assert row.elbo_standard_error == pytest.approx(statistics.stdev(elbos) / N_DRAWS**0.5)
    assert row.terms["kl_z_1"] == pytest.approx(statistics.mean(kls))
    assert row.gradient_variance == pytest.approx(gradients.var(0).sum().item())
    assert row.gradient_norm == pytest.approx(gradients.mean(0).norm().item())
    assert row.seconds > 0


def test_the_terms_make_up_the_bound(compared):
    *_, rows, _ = compared
    for row in rows.values():
        terms = row.terms
        cost = sum(
            weight * (terms[f"kl_z_{j}"] + terms[f"kl_c_{j}"]) for j, weight in enumerate(FADE)
        )
        assert row.elbo == pytest.approx(terms["reconstruction"] - cost)


@pytest.mark.parametrize("outside", [True, False])
def test_measured_in_evaluation_mode_with_or_without_gradients(outside):
    model = small_model().train()
    with torch.set_grad_enabled(outside):
        with model.evaluating():
            assert not model.training
            assert not torch.is_grad_enabled()
        assert model.training
        with model.evaluating(gradients=True):
            assert not model.training
            assert torch.is_grad_enabled()
        assert model.training
        assert torch.is_grad_enabled() == outside
        row = compare_guides(model, observations(), ["vade"], (2,), n_draws=2).guides[0]
        assert row.gradient_norm > 0


def test_the_tables_show_what_was_measured(compared):
    *_, rows, results = compared
    screen = Console(width=100, file=io.StringIO())
    show_comparison(screen, results)
    lines = screen.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 100
    _, terms, _, measures = (line for line in lines if "expectation " in line)
    row = rows["expectation", 4]
    values = {name: f"{value:z.2f}" for name, value in row.terms.items()}
    kls = ["/".join(values[f"{kl}_{j}"] for j in range(3)) for kl in ("kl_z", "kl_c")]
    assert terms.split() == ["expectation", values["reconstruction"], *kls]
    elbo = [f"{row.elbo:.2f}", "±", f"{row.elbo_standard_error:.2f}"]
    assert measures.split()[:5] == ["expectation", *elbo, f"{row.gap:.4f}"]
    assert "0.00/0.40/1.00" in screen.file.getvalue()


def test_terms_of_many_facets_are_whole():
    n, screen = 30, Console(width=100, file=io.StringIO())
    terms = {"reconstruction": 1.0}
    terms |= {f"{kl}_{j}": -1e-9 if j else 10.0 for kl in ("kl_z", "kl_c") for j in range(n)}
    row = GuideResults("enumerate", 1, 1.0, 1.0, 1.0, 1.0, terms, -1e-9, -1e-9, -1e-9)
    show_comparison(screen, Comparison("enumerate", 1, 2, [row], fade=[1.0] * n))
    printed = screen.file.getvalue()
    assert max(map(len, printed.splitlines())) <= 100
    assert sum(c == "/" for c in printed) == 3 * (n - 1)
    assert "-0.00" not in printed


def test_the_model_is_left_as_it_was():
    model, x = small_model().train(), observations()
    before = [p.detach().clone() for p in model.parameters()]
    state = torch.random.get_rng_state()
    calls = []
    compare_guides(model, x, ["vade"], (2,), 2, on_pass=lambda *done: calls.append(done))
    assert calls == [(n, 4) for n in (1, 2, 3, 4)]  # two guides, as the reference is always there
    assert model.training
    assert not model.guides
    assert torch.equal(torch.random.get_rng_state(), state)
    for p, old in zip(model.parameters(), before, strict=True):
        assert torch.equal(p, old)
        assert p.grad is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"guides": ["oracle"]}, "unknown guide 'oracle'; choose one of amortized, amor"),
        ({"guides": ["relaxed"]}, "no guide that was asked for fits this model .relaxed: its netw"),
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
    gaps, variances, times = Guides().draw(results).axes
    lines = {line.get_label(): line for line in gaps.lines}
    assert gaps.get_ylabel() == "ELBO of enumerate - ELBO, nats"
    assert "enumerate (reference)" in lines
    expected = [rows["vade", s].gap for s in (1, 4)]
    assert list(lines["vade"].get_ydata()) == expected
    for axes, key, factor in ((variances, "gradient_variance", 1), (times, "seconds", 1000)):
        for line in axes.lines:
            expected = [factor * getattr(rows[line.get_label(), s], key) for s in (1, 4)]
            assert list(line.get_xdata()) == [1, 4]
            assert list(line.get_ydata()) == pytest.approx(expected)
