"""Pretraining: what each stage trains and leaves alone, its seed, and what it refuses."""

from __future__ import annotations

import json
import re

import pytest
import torch
from models import small_model, tiny_config
from torch import nn

from pyro_mfcvae.config import Component, override
from pyro_mfcvae.errors import ConfigError, TrainingError
from pyro_mfcvae.models import MFCVAE, VaDE
from pyro_mfcvae.nets.registry import ENCODERS, register_encoder
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.start import pretrain as module
from pyro_mfcvae.training.start.pretrain import PRETRAININGS, pretrain, pretraining_stages

SHAPE = (1, 5, 5)
N = 60
WIDTHS = [12, 9]


def _model(batch_norm=False, likelihood="bernoulli", dtype=torch.float32):
    torch.manual_seed(0)
    options = {"activation": "elu", "batch_norm": batch_norm}
    encoder = Component(name="shared", options={"widths": WIDTHS} | options)
    decoder = Component(name="shared", options={"widths": WIDTHS[::-1]} | options)
    return VaDE(SHAPE, "3:4", likelihood, encoder, decoder).to(dtype)


@pytest.fixture
def x():
    """Pictures of rank 2."""
    generator = torch.Generator().manual_seed(4)
    factors = torch.randn(N, 2, generator=generator) @ torch.randn(2, 25, generator=generator)
    return factors.sigmoid().reshape(N, *SHAPE)


def _stages(model, name="stacked-denoising", **options):
    options = {"batch_size": 20, "epochs": 2} | options
    if name == "stacked-denoising":
        options = {"epochs_per_layer": 2} | options
    return pretraining_stages(model, Component(name=name, options=options), N)


def _error(model, x):
    with model.evaluating():
        means = [q.mean for q in model.encode(x)]
        return (model.decode(means).mean - x).square().mean().item()


def _state(*modules):
    return {
        (i, name): values.clone()
        for i, part in enumerate(modules)
        for name, values in part.state_dict().items()
    }


def _changed(before, *modules):
    after = _state(*modules)
    return {key for key in before if not torch.equal(before[key], after[key])}


# --- what it does ---


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("name", ["stacked-denoising", "autoencoder"])
def test_the_reconstruction_gets_better(x, name, likelihood, batch_norm):
    model = _model(batch_norm, likelihood)
    before = _error(model, x)
    longer = {"epochs_per_layer": 20} if name == "stacked-denoising" else {}
    stages = _stages(model, name, epochs=60, learning_rate=5e-3, **longer)
    pretrain(model, x, stages, seed=0)
    assert _error(model, x) < 0.3 * before
    assert all(p.grad is None for p in model.parameters())


def test_each_stage_of_the_stack_lowers_its_own_error_and_leaves_outer_layers(x):
    model = _model(batch_norm=True)
    stages = _stages(model, epochs_per_layer=25, learning_rate=5e-3)
    *pairs, whole = stages
    assert [stage.name for stage in stages] == [
        "pair 1 of 3",
        "pair 2 of 3",
        "pair 3 of 3",
        "all layers",
    ]
    heads_and_mixtures = _state(model.facets, model.likelihood)
    log_vars = model.heads[0].weight[3:].clone()
    for i, stage in enumerate(pairs):
        assert len(stage.frozen) == 2 * i
        others = [part for other in pairs if other is not stage for part in other.trained]
        before, own = _state(*others), _state(*stage.trained)
        with model.evaluating():
            inputs = stage.before(x)
            first = (stage.reconstruct(inputs) - inputs).square().mean()
        pretrain(model, x, [stage], seed=0)
        with model.evaluating():
            last = (stage.reconstruct(inputs) - inputs).square().mean()
        assert last < 0.8 * first
        assert not _changed(before, *others)  # batch norm's statistics among them
        assert len(_changed(own, *stage.trained)) >= 4
    before = _state(model.encoder, model.heads, model.decoder)
    pretrain(model, x, [whole], seed=0)
    linear = {key for key, values in before.items() if values.dim() == 2}
    assert linear <= _changed(before, model.encoder, model.heads, model.decoder)
    assert not _changed(heads_and_mixtures, model.facets, model.likelihood)
    assert torch.equal(model.heads[0].weight[3:], log_vars)


def test_a_pair_reads_what_the_outer_layers_give(x):
    model = _model()
    stages = _stages(model)
    layers = [part for part in model.encoder.modules() if isinstance(part, nn.Linear)]
    h = nn.functional.elu(layers[0](x.flatten(1)))
    torch.testing.assert_close(stages[1].before(x), h)
    mean = model.encode(x)[0].mean
    inner = nn.functional.elu(model.decoder.trunk[0](mean))
    torch.testing.assert_close(stages[2].reconstruct(stages[2].before(x)), inner)
    image = nn.functional.elu(layers[0](x.flatten(1)))
    image = model.decoder.output(image).sigmoid()
    torch.testing.assert_close(stages[0].reconstruct(x.flatten(1)), image)


def test_corruption_sets_a_share_of_the_inputs_to_zero(x):
    """Least squares against the clean inputs: without corruption the loss is another."""
    ones = torch.ones(400, 50)
    share = module._corrupt(ones, 0.2, 0) == 0
    assert abs(share.float().mean() - 0.2) < 5 * (0.2 * 0.8 / ones.numel()) ** 0.5
    assert torch.equal(module._corrupt(ones, 0.0, 0), ones)
    corruption = [stage.corruption for stage in _stages(_model(), corruption=0.35)]
    assert corruption == [0.35, 0.35, 0.35, 0.0]
    assert _stages(_model(), "autoencoder")[0].corruption == 0.2


@pytest.mark.parametrize("name", ["stacked-denoising", "autoencoder"])
def test_a_function_of_the_seed(x, name):
    results = []
    for seed, torch_seed in ((0, 1), (0, 2), (1, 1)):
        model = _model()
        torch.manual_seed(torch_seed)
        state = torch.random.get_rng_state()
        pretrain(model, x, _stages(model, name), seed)
        assert torch.equal(torch.random.get_rng_state(), state)
        results.append(_state(model))
    for key, values in results[0].items():
        assert torch.equal(values, results[1][key])
    assert any(not torch.equal(values, results[2][key]) for key, values in results[0].items())


def test_another_dtype_and_whole_numbers(x):
    model = _model(dtype=torch.float64).eval()
    before = _error(model, x.double())
    pretrain(model, (255 * x).byte(), _stages(model, learning_rate=5e-3, epochs=20), seed=0)
    assert not model.training
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert _error(model, x.double()) < before


def test_an_autoencoder_of_any_network_and_number_of_facets(x):
    model = small_model(3).float()
    x = x[..., :4, :4]
    before = _error(model, x)
    pretrain(model, x, _stages(model, "autoencoder", epochs=20, learning_rate=5e-3), seed=0)
    assert _error(model, x) < before
    conv = Component(name="conv-shared", options={"channels": [4]})
    model = VaDE((1, 4, 4), "2:3", encoder=conv, decoder=conv)
    before = _error(model, x)
    pretrain(model, x, _stages(model, "autoencoder", epochs=20, learning_rate=5e-3), seed=0)
    assert _error(model, x) < before


def test_progress_is_said(x, monkeypatch):
    said = []
    monkeypatch.setattr(module, "_SECONDS_PER_LINE", 0.0)
    model = _model()
    pretrain(model, x, _stages(model), seed=0, say=said.append)
    ends = [line for line in said if " after " in line]
    assert [re.search(r"pretraining, (.*):", line)[1] for line in ends] == [
        "pair 1 of 3",
        "pair 2 of 3",
        "pair 3 of 3",
        "all layers",
    ]
    steps = [line for line in said if "step" in line]
    assert len(steps) == 4 * 6
    assert re.match(
        r"pretraining, pair 1 of 3: step 1/6  mean squared error \d\.\d+  \d+ s left", steps[0]
    )
    assert steps[-1].endswith("  0 s left")


def test_parameters_that_are_no_numbers_are_an_error(x):
    model = _model(likelihood="gaussian")
    with pytest.raises(TrainingError, match=r"after pretraining; lower training\.pretraining"):
        pretrain(model, x, _stages(model, "autoencoder", learning_rate=1e38), seed=0)


# --- what it refuses ---


class _Skipping(nn.Module):
    """Fully connected, but its layers do not simply follow one another."""

    def __init__(self, shape, n_facets):
        super().__init__()
        self.first, self.second = nn.Linear(25, 12), nn.Linear(12, 9)
        self.n_features = [9] * n_facets

    def forward(self, x, fade=None):
        return [self.second(self.first(x.flatten(1)).sin())]


@pytest.mark.parametrize(
    ("facets", "encoder", "decoder", "message"),
    [
        ("2:3,2:3", "shared", "shared", "there are 2 facets"),
        ("3:4", "conv-shared", "conv-shared", "there is a Conv2d"),
        (
            "3:4",
            Component(name="shared", options={"widths": WIDTHS}),
            "shared",
            r"the encoder's widths are \[25, 12, 9, 3\], the decoder's \[3, 2000, 500, 25\]",
        ),
        ("3:4", Component(name="shared", options={"widths": []}), "shared", "no linear layers"),
        (
            "3:4",
            "skipping",
            Component(name="shared", options={"widths": WIDTHS[::-1]}),
            "do not simply follow one another",
        ),
    ],
)
def test_networks_that_are_no_mirror_images(facets, encoder, decoder, message):
    register_encoder("skipping")(_Skipping)
    try:
        model = MFCVAE(SHAPE, facets, "bernoulli", encoder, decoder)
        with pytest.raises(ConfigError, match=f"{message}; choose pretraining autoencoder"):
            _stages(model)
        assert len(_stages(model, "autoencoder")) == 1
    finally:
        del ENCODERS["skipping"]


def test_a_ladder_of_one_facet_can_be_stacked(x):
    encoder = Component(name="ladder", options={"backbone": [WIDTHS]})
    decoder = Component(name="ladder", options={"rungs": [WIDTHS[1]], "backbone": [WIDTHS[0]]})
    model = VaDE(SHAPE, "3:4", "bernoulli", encoder, decoder)
    assert len(_stages(model)) == 4


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("dreams", {}, "unknown pretraining 'dreams'; choose one of autoencoder, stacked"),
        ("autoencoder", {"rate": 1}, "unknown option rate of pretraining 'autoencoder'; it has"),
        ("autoencoder", {"epochs": "3"}, "option epochs of pretraining"),
        ("autoencoder", {"epochs": 0}, "epochs from 1 on"),
        ("stacked-denoising", {"epochs_per_layer": 0}, "epochs from 1 on"),
        ("stacked-denoising", {"corruption": 1.0}, "corruption from 0 to below 1"),
        ("autoencoder", {"learning_rate": 0.0}, "learning rate above 0"),
        ("autoencoder", {"batch_size": 1}, "batches of 2 or more"),
        ("autoencoder", {"batch_size": 59}, "batch norm"),
    ],
)
def test_settings_that_do_not_fit(name, options, message):
    with pytest.raises(ConfigError, match=message):
        pretraining_stages(_model(batch_norm=True), Component(name=name, options=options), N)


# --- in a run ---


@pytest.fixture(autouse=True)
def _in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _config(**pretraining):
    config = tiny_config(
        **{"training.pretraining": "autoencoder", "model.mixture_initialisation": "gmm-complete"}
    )
    options = {"epochs": 2, "batch_size": 20} | pretraining
    return override(config, [f"training.pretraining.options={json.dumps(options)}"])


class _Stop(Callback):
    def on_step(self, state):
        state.interrupted = state.step == 5


def test_a_run_pretrains_once_and_resumes_to_the_same_end(monkeypatch):
    calls = []
    original = PRETRAININGS["autoencoder"]
    monkeypatch.setattr(
        "pyro_mfcvae.training.begin.pretrain", lambda *args: calls.append(args) or pretrain(*args)
    )
    said = []
    whole, _, _ = train(_config(), "whole", say=said.append)
    assert len(calls) == 1
    assert said.index("pretraining") < said.index("placing the mixtures")
    part, _, _ = train(_config(), "part", [_Stop()])
    assert len(calls) == 2
    assert part.step() == 5
    resume(Run("part"))
    assert len(calls) == 2
    assert PRETRAININGS["autoencoder"] is original
    assert not _changed(_state(Run("part").model()), whole.model())
    without = override(_config(), ["training.pretraining=null"])
    plain, _, _ = train(without, "plain")
    assert len(calls) == 2
    assert _changed(_state(plain.model().encoder), whole.model().encoder)


def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path):
    config = override(_config(), ["training.pretraining=stacked-denoising"])
    with pytest.raises(ConfigError, match="there are 2 facets"):
        train(config, "run")
    with pytest.raises(ConfigError, match="there are 2 facets"):
        prepare(config)
    assert not list(tmp_path.iterdir())


def test_an_interrupted_pretraining_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_corrupt", interrupt)
    before = torch.get_num_threads()
    with pytest.raises(KeyboardInterrupt):
        train(_config(), "run")
    assert torch.get_num_threads() == before
    assert not list(tmp_path.iterdir())
