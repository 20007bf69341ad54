"""Warps, warm-ups and refitted mixtures, against what they should be at single steps."""

from __future__ import annotations

import math
from contextlib import nullcontext

import numpy as np
import pyro
import pytest
import torch
from distributed_job import StopAt
from models import Replayed, observations, small_model, tiny_config
from scipy import ndimage

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.config import WarpConfig, override
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.noise import Noise, site_noise
from pyro_mfcvae.runs.measure import evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.training.begin import initialise, prepare
from pyro_mfcvae.training.checkpoints import restore
from pyro_mfcvae.training.devices.captured import Captured
from pyro_mfcvae.training.devices.functional import GivenNoise
from pyro_mfcvae.training.devices.together import Together
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.schedules import kl_scale, learning_rate
from pyro_mfcvae.training.start.initialise import fit_mixture
from pyro_mfcvae.training.state import Eager
from pyro_mfcvae.training.warps import Warp

SIZE = 16
WARP = '{"rotation": 20, "shear": 0.2, "scale": 0.1, "shift": 1, "elastic": 0.7}'


def warp(shape=(1, SIZE, SIZE), **config) -> Warp:
    return Warp(WarpConfig(**config), ObservationSpec(shape)).double()


def blob() -> torch.Tensor:
    """A picture without sharp edges, (1, 1, SIZE, SIZE)."""
    picture = np.zeros((SIZE, SIZE))
    picture[5:9, 4:12] = 1.0
    return torch.from_numpy(ndimage.gaussian_filter(picture, 1.2))[None, None]


def noise_for(w: Warp, number: int, uniform: float) -> torch.Tensor:
    """Noise, (1, P), of which one number becomes this value between -1 and 1."""
    eps = torch.zeros(1, w.n_numbers, dtype=torch.float64)
    eps[0, number] = math.sqrt(2) * torch.erfinv(torch.tensor(uniform, dtype=torch.float64))
    return eps


def test_no_noise_and_no_distance_change_nothing():
    w = warp(rotation=30, shear=0.5, scale=0.5, shift=3, elastic=2)
    x = torch.rand(2, 1, SIZE, SIZE, dtype=torch.float64)
    torch.testing.assert_close(w(x, torch.zeros(2, w.n_numbers, dtype=torch.float64)), x)
    still = warp()
    assert still.n_numbers == 6
    eps = torch.randn(2, 6, dtype=torch.float64)
    torch.testing.assert_close(still(x, eps), x)


@pytest.mark.parametrize("uniform", [0.7, -0.4])
def test_a_rotation_is_scipy_s(uniform):
    w, x = warp(rotation=30), blob()
    turned = w(x, noise_for(w, 0, uniform))[0, 0].numpy()
    expected = ndimage.rotate(x[0, 0].numpy(), 30 * uniform, reshape=False, order=1, mode="nearest")
    np.testing.assert_allclose(turned, expected, atol=1e-6)


@pytest.mark.parametrize(("number", "axis"), [(4, 1), (5, 0)])
def test_a_shift_is_in_pixels_along_its_own_axis(number, axis):
    shape = (1, SIZE, 2 * SIZE)
    w = warp(shape, shift=4)
    x = torch.zeros(1, *shape, dtype=torch.float64)
    x[0, 0, 8, 15] = 1.0
    moved = w(x, noise_for(w, number, 0.5))  # looks 2 pixels further on
    torch.testing.assert_close(moved, x.roll(-2, 2 + axis), rtol=0, atol=1e-12)


def test_scales_and_elastic_displacements_have_the_size_that_was_asked_for():
    w = warp(scale=0.3)
    wide = w(blob(), noise_for(w, 2, -1 + 1e-9))[0, 0]  # looks exp(-0.3) as far: wider by exp(0.3)
    before = blob()[0, 0]

    def spread(picture, axis):
        places = torch.arange(SIZE, dtype=torch.float64)
        mass = picture.sum(1 - axis) / picture.sum()
        return ((mass * places**2).sum() - (mass * places).sum() ** 2).sqrt()

    assert spread(wide, 1) / spread(before, 1) == pytest.approx(math.exp(0.3), rel=0.02)
    assert spread(wide, 0) / spread(before, 0) == pytest.approx(1.0, rel=1e-6)

    w = warp(elastic=1.5)
    eps = torch.randn(4000, w.n_numbers, generator=torch.Generator().manual_seed(0)).double()
    pixels = w._elastic(eps) * SIZE / 2
    knots = pixels[:, [2, 2, 13, 13], [2, 13, 2, 13]]  # near the middles of knots
    assert knots.std().item() == pytest.approx(1.5, rel=0.2)
    assert abs(knots.mean().item()) < 5 * 1.5 / math.sqrt(knots.numel() / 4)


def test_tables_are_refused():
    with pytest.raises(ConfigError, match="training.warp is for pictures, got rows of 7 numbers"):
        Warp(WarpConfig(), ObservationSpec((7,)))


def test_only_the_chosen_facets_see_other_observations():
    model, x = small_model(), observations()
    seen = x.flip(-1)
    plain, other = model.encode(x), model.encode(seen)
    mixed = model.encode(x, [x, seen])
    assert torch.equal(mixed[0].mean, plain[0].mean)
    assert torch.equal(mixed[1].mean, other[1].mean)
    with Noise(0):
        terms = model(x, seen=[seen, seen])
    zs = [q.mean + q.stddev * e for q, e in zip(other, _noise(model, x), strict=True)]
    torch.testing.assert_close(terms.reconstruction, model.decode(zs).log_prob(x))


@pytest.mark.parametrize(("facets", "n_runs"), [(range(2), 1), ((1,), 2)])
def test_the_encoder_runs_for_what_a_facet_sees_only(facets, n_runs):
    model, x = small_model(), observations()
    inputs = []
    model.encoder.register_forward_pre_hook(lambda _, arguments: inputs.append(arguments[0]))
    warped = x.flip(-1)
    model.encode(x, [warped if j in facets else x for j in range(2)])
    assert len(inputs) == n_runs
    assert any(given is x for given in inputs) == (len(facets) < 2)


def _noise(model, x):
    with Noise(0) as noise:
        model(x)
    return [site_noise(0, 0, f"z_{j}", noise.shapes[f"z_{j}"], x) for j in range(2)]


RECIPE = {
    "training.max_gradient_norm": "5.0",
    "training.warp": WARP,
    "training.kl_start": "0.1",
    "training.kl_warm_up": "[1,3]",
    "training.refit_mixtures": "[1,3]",
    "training.learning_rate_warm_up": "5",
    "training.learning_rate_schedule": "cosine",
    "training.dtype": "float64",
}


def begun(**replaced):
    config = tiny_config(seed=replaced.pop("seed", "0"))
    state = prepare(override(config, [f"{k}={v}" for k, v in (RECIPE | replaced).items()]))[1]
    initialise(state, lambda _: None)
    state.model.train()
    return state


def test_the_kl_terms_warm_up():
    state = begun()
    seen = []
    while state.step < 16:
        Eager(state).step()
        seen.append(float(state.objective.kl_scale))
    rise = [0.1 + 0.9 * i / 8 for i in range(8)]
    assert seen == pytest.approx([0.1] * 4 + rise + [1.0] * 4)


def test_the_kl_terms_may_jump():
    state = begun(**{"training.kl_warm_up": "[2,2]"})
    scales = [kl_scale(state.config.training, step, 4) for step in range(12)]
    assert scales == [0.1] * 8 + [1.0] * 4


def test_held_out_terms_have_the_weights_of_the_training(tmp_path):
    config = override(tiny_config(), ["training.kl_start=0.1", "training.kl_warm_up=[2,5]"])
    run, _, _ = train(override(config, ["training.evaluate_every=1"]), tmp_path / "run")
    weights = {
        record["epoch"]: record["values"]["kl_weight_1"]
        for record in run.metrics()
        if record["split"] == "test"
    }
    rise = [0.1 + 0.9 * i / 12 for i in (3, 7, 11)]  # of the last of the 4 steps of an epoch
    expected = dict(enumerate([0.1, 0.1, *rise, 1.0], start=1))
    assert weights == pytest.approx(expected)


def test_the_scale_weighs_the_kl_terms_alone():
    state = begun(**{"training.warp": "null"})
    x = state.batches(0)
    state.objective.kl_scale.fill_(0.25)
    loss, values = state.objective(x, Noise(0))
    terms = dict(zip(state.objective.term_names, values.tolist(), strict=True))
    kl = sum(terms[f"{kind}_{j}"] for kind in ("kl_z", "kl_c") for j in range(2))
    assert -loss.item() == pytest.approx(terms["reconstruction"] - 0.25 * kl)
    assert [terms["kl_weight_0"], terms["fade_0"]] == [0.25, 1.0]


def test_the_learning_rate_warms_up():
    training = begun().config.training
    rates = [learning_rate(training, 1.0, step, 100, 10) for step in range(7)]
    cosine = [0.5 * (1 + math.cos(math.pi * step / 100)) for step in range(7)]
    assert rates == pytest.approx([min(1, (i + 1) / 5) * c for i, c in enumerate(cosine)])


def test_gradients_that_are_too_large_are_scaled_down():
    """Adam's first moments are a tenth of the first gradients."""
    states = [begun(**{"training.max_gradient_norm": limit}) for limit in ("null", "0.25")]
    for state in states:
        Eager(state).step()
    as_they_are, limited = (
        torch.cat([10 * moments["exp_avg"].flatten() for moments in state.optimizer.state.values()])
        for state in states
    )
    assert as_they_are.norm() > 1
    torch.testing.assert_close(limited, 0.25 * as_they_are / as_they_are.norm())
    loose = begun(**{"training.max_gradient_norm": "1e9"})
    Eager(loose).step()
    for p, q in zip(loose.model.parameters(), states[0].model.parameters(), strict=True):
        torch.testing.assert_close(p, q)


def test_a_fitted_mixture_has_the_moments_of_its_samples():
    state = begun(**{"model.facets.1.learn_weights": "true"})
    facet, z = state.model.facets[1], state.objective.sampled_latents(state.batches.x, 3)[1]
    fit_mixture(facet, z, seed=3)
    weights = facet.log_weights.exp()
    mean = (weights[:, None] * facet.loc).sum(0)
    torch.testing.assert_close(mean, z.mean(0), rtol=0, atol=1e-6)
    within = (facet.scale_tril @ facet.scale_tril.mT).diagonal(dim1=-2, dim2=-1)
    variance = (weights[:, None] * (within + (facet.loc - mean) ** 2)).sum(0)
    # scikit-learn adds 1e-6 to each variance.
    torch.testing.assert_close(variance, z.var(0, unbiased=False) + 1e-6, rtol=1e-6, atol=0)


def test_sampled_latents_see_the_warps_and_have_the_noise_of_a_seed():
    state = begun(**{"training.warp": WARP[:-1] + ', "facets": [1]}'})
    objective, x = state.objective, state.batches.x
    samples, again, other = (objective.sampled_latents(x, seed) for seed in (3, 3, 4))
    assert all(map(torch.equal, samples, again))
    assert not any(map(torch.equal, samples, other))
    plain = begun(**{"training.warp": "null"})
    unseen = plain.objective.sampled_latents(x, 3)
    assert torch.equal(samples[0], unseen[0])
    assert not torch.equal(samples[1], unseen[1])
    with state.model.evaluating():
        q = state.model.encode(x.double() / 255)[0].base_dist
    eps = (samples[0] - q.loc) / q.scale
    assert abs(eps.mean().item()) < 5 / math.sqrt(eps.numel())
    assert eps.var().item() == pytest.approx(1, abs=5 * math.sqrt(2 / eps.numel()))


def test_latents_are_sampled_under_the_fade_weights_of_the_step():
    state = begun(**{"model.encoder.options.fade": "true", "training.warp": "null"})
    x, samples, means, scales = state.batches.x, [], [], []
    for weight in (1.0, 0.5):
        state.model.fade[0] = weight
        samples.append(state.objective.sampled_latents(x, 3))
        with state.model.evaluating():
            q = state.model.encode(x.double() / 255)[0]
        means.append(q.mean)
        scales.append(q.stddev)
    whole, faded = samples
    assert torch.equal(whole[1], faded[1])
    eps = (whole[0] - means[0]) / scales[0]
    torch.testing.assert_close(faded[0], means[1] + scales[1] * eps)


def test_a_spoilt_run_is_not_refitted():
    state = begun()
    with torch.no_grad():
        state.model.heads[1].weight.fill_(math.nan)
    state.step, before = 4, state.model.facets[1].loc.clone()
    state.begin_step()
    assert torch.equal(state.model.facets[1].loc, before)


def test_mixtures_are_refitted_before_their_epochs_and_only_those_that_train():
    state = begun(**{"training.kl_start": "1", "training.epochs_per_step": "[2,2]"})
    last, jumps = [facet.loc.detach().clone() for facet in state.model.facets], []
    while state.step < state.n_steps:
        state.begin_step()
        now = [facet.loc.detach().clone() for facet in state.model.facets]
        jumps.append([float((a - b).abs().max()) for a, b in zip(now, last, strict=True)])
        Eager(state).step()
        last = [facet.loc.detach().clone() for facet in state.model.facets]
    jumped = [[jump > 1e-9 for jump in row] for row in jumps]
    assert [i for i, row in enumerate(jumped) if row[1]] == [4, 12]
    assert [i for i, row in enumerate(jumped) if row[0]] == [12]


@pytest.mark.parametrize("step", [4, 9, 12])  # before a refit, amid the KL's rise, before another
def test_the_whole_recipe_goes_on_where_it_was_interrupted(step, tmp_path):
    config = override(tiny_config(), [f"{path}={value}" for path, value in RECIPE.items()])
    _, whole, _ = train(config, tmp_path / "whole")
    run, _, _ = train(config, tmp_path / "parts", [StopAt(step)])
    assert run.step() == step
    state, _ = resume(run)
    assert run.metrics() == Run(tmp_path / "whole").metrics()
    for a, b in zip(whole.model.parameters(), state.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_captured_steps_go_on_from_a_checkpoint(tmp_path):
    config = override(tiny_config(), [f"{path}={value}" for path, value in RECIPE.items()])
    _, whole, _ = train(config, tmp_path / "whole")
    run, _, _ = train(config, tmp_path / "parts", [StopAt(9)])
    state = prepare(config)[1]
    on_device(state)
    restore(state, run.checkpoint())
    captured = Captured(GivenNoise(state), Replayed())
    state.model.train()
    while state.step < state.n_steps:
        captured.step()
    assert all(isinstance(group["lr"], torch.Tensor) for group in state.optimizer.param_groups)
    for a, b in zip(whole.model.parameters(), state.model.parameters(), strict=True):
        torch.testing.assert_close(b, a, rtol=1e-9, atol=1e-12)


def on_device(state):
    """Keep learning rates in tensors, as captured steps need them."""
    for group in state.optimizer.param_groups:
        group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)


@pytest.mark.parametrize("facets", ["null", "[1]"])
def test_the_whole_recipe_together_and_captured_equals_it_alone(facets):
    settings = {"training.warp": WARP[:-1] + f', "facets": {facets}}}'}
    alone = [begun(seed=str(seed), **settings) for seed in (0, 1)]
    runs = [begun(seed=str(seed), **settings) for seed in (0, 1)]
    replayed = begun(seed="0", **settings)
    on_device(replayed)
    together, captured = Together(runs), Captured(GivenNoise(replayed), Replayed())
    for _ in range(16):
        together.step()
        captured.step()
        for state in alone:
            Eager(state).step()
    assert replayed.totals.tolist() == pytest.approx(alone[0].totals.tolist(), rel=1e-6)
    for a, b in [*zip(alone, runs, strict=True), (alone[0], replayed)]:
        assert b.totals.tolist() == pytest.approx(a.totals.tolist(), rel=1e-6)
        for p, q in zip(a.model.parameters(), b.model.parameters(), strict=True):
            torch.testing.assert_close(q, p, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("training.kl_start=0.1", "kl_start 0.1 needs kl_warm_up, the epochs between which"),
        ("training.kl_warm_up=[3,1]", "kl_warm_up must be two epochs in order, got 3 and 1"),
        ('training.warp={"facets":[2]}', "warp.facets must be from 0 to 1, got .2."),
        ('training.warp={"rotation":-1}', "training.warp.rotation"),
        ('training.warp={"turn":1}', "turn"),
        ("training.precision=bf16", "precision bf16 is for dtype float32, got float64"),
    ],
)
def test_settings_that_make_no_sense_are_refused(setting, message):
    with pytest.raises(ConfigError, match=message):
        override(tiny_config(**{"training.dtype": "float64"}), [setting])


class ClusteredObservations(MFCVAE):
    """x depends on its cluster without a latent between, so that both are summed out together."""

    def model(self, x):
        (facet,) = self.facets
        with pyro.plate("data", len(x), dim=-1):
            c = pyro.sample("c_0", facet.cluster(), infer={"enumerate": "parallel"})
            z = pyro.sample("z_0", facet.component(c))
            h = self.decode([z]).mean + c[..., None]
            pyro.sample("x", pyro.distributions.Normal(h, 1.0).to_event(1), obs=x)


def test_only_a_scale_of_the_kls_needs_kls_of_the_clusters():
    x = torch.randn(5, 2)
    for setting, is_refused in (("kl_floor=0.3", False), ("kl_weight=2", True)):
        config = override(tiny_config(**{"guide.name": "enumerate"}), [f"training.{setting}"])
        objective = Objective(ClusteredObservations((2,), "1:3", "gaussian"), config)
        refused = pytest.raises(ConfigError, match="c_0, .*kl_weight")
        with refused if is_refused else nullcontext():
            objective.check_weights(x)


def test_what_comes_after_the_end_is_warned_of(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny_config(
        **{
            "training.epochs_per_step": "[1,1]",
            "training.n_fade_in_batches": "1",
            "training.kl_start": "0.1",
            "training.kl_warm_up": "[1,3]",
            "training.refit_mixtures": "[1,2,7]",
        }
    )
    said = []
    train(config, "run", say=said.append)
    warnings = [text for text in said if text.startswith("warning")]
    assert len(warnings) == 2
    assert "refit_mixtures has 2, 7, but this run ends after 2 epochs" in warnings[0]
    assert "kl_warm_up ends at epoch 3, but this run after 2" in warnings[1]


@pytest.mark.parametrize(("stop", "scale"), [(7, 0.1 + 0.9 * 2 / 8), (16, 1.0)])
def test_a_run_is_measured_by_the_objective_of_its_last_step(stop, scale, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, _, dataset = train(
        override(tiny_config(), [f"{k}={v}" for k, v in RECIPE.items()]), "run", [StopAt(stop)]
    )
    terms = evaluate_run(run, dataset).elbo["test"]
    kl = {j: terms[f"kl_z_{j}"] + terms[f"kl_c_{j}"] for j in range(2)}
    weighed = sum(scale * terms[f"fade_{j}"] * kl[j] for j in range(2))
    assert terms["elbo"] == pytest.approx(terms["reconstruction"] - weighed)
