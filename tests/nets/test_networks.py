"""Shapes for any number of facets and size of picture, fading, and initialisers."""

from __future__ import annotations

import pytest
import torch
from models import tiny_config
from torch import nn

from pyro_mfcvae.config import Component
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.models import MFCVAE
from pyro_mfcvae.nets.initialise import draw_glorot, scale_to_data
from pyro_mfcvae.nets.layers import WeightNormConv2d
from pyro_mfcvae.nets.likelihoods import BernoulliLikelihood, GaussianLikelihood
from pyro_mfcvae.testing.values import weighted
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.state import Eager

B = 3


def _facets(n_facets):
    return ",".join(f"{2 + j}:{3 + j}" for j in range(n_facets))


def _conv(n_facets, shape, **options):
    small = {"channels": 4} | options
    encoder = Component(name="conv-ladder", options=small)
    decoder = Component(name="conv-ladder", options={"channels": 4})
    return MFCVAE(shape, _facets(n_facets), "bernoulli", encoder, decoder)


@pytest.mark.parametrize("n_facets", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 28, 28), (2, 17, 40), (3, 5, 3), (1, 1, 9)])
def test_convolutional_ladders(n_facets, shape):
    _check_shapes(_conv(n_facets, shape), n_facets, shape)


@pytest.mark.parametrize(
    ("n_facets", "shape", "options"),
    [
        (1, (1, 28, 28), {}),
        (3, (3, 32, 32), {}),
        (3, (2, 17, 23), {}),
        (1, (3, 5, 3), {}),
        (3, (2, 17, 23), {"widths": [6], "batch_norm": False}),
    ],
)
def test_shared_convolutions(n_facets, shape, options):
    encoder = Component(name="conv-shared", options={"channels": [4, 5, 6]} | options)
    decoder = Component(name="conv-shared", options={"channels": [6, 5, 4]} | options)
    model = MFCVAE(shape, _facets(n_facets), "bernoulli", encoder, decoder)
    _check_shapes(model, n_facets, shape)
    height, width = (n // 2 // 2 // 2 or 1 for n in shape[1:])
    assert model.decoder.first_shape == (6, height, width)
    flat = 6 * height * width
    assert model.encoder.n_features == [6 if options else flat] * n_facets
    assert type(model.decoder.convolutions[-1]) is nn.ConvTranspose2d
    for module in (model.encoder, model.decoder):
        assert any(type(m) is nn.BatchNorm2d for m in module.modules()) == (not options)


def test_shared_convolutions_mirror_each_other():
    """The decoder's shapes from the latents on are the encoder's backwards."""
    conv, shapes = Component(name="conv-shared"), []
    model = MFCVAE((1, 28, 28), "10:10", "bernoulli", conv, conv)
    for layer in [*model.encoder.convolutions, *model.decoder.convolutions]:
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            layer.register_forward_hook(lambda _, given, out: shapes.append((given[0], out)))
            assert layer.kernel_size == (4, 4)
            assert layer.stride == (2, 2)
    model(torch.rand(2, 1, 28, 28))
    down = [tuple(given.shape[1:]) for given, _ in shapes[:3]] + [tuple(shapes[2][1].shape[1:])]
    up = [tuple(given.shape[1:]) for given, _ in shapes[3:]] + [tuple(shapes[5][1].shape[1:])]
    assert down == [(1, 28, 28), (32, 14, 14), (64, 7, 7), (128, 3, 3)] == up[::-1]


@pytest.mark.parametrize("part", ["encoder", "decoder"])
@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((7,), {}, "need pictures"),
        ((1, 8, 8), {"channels": [0]}, "channels must be positive"),
        ((1, 8, 8), {"widths": [-1]}, "widths must be positive"),
    ],
)
def test_shared_convolutions_that_cannot_be(part, shape, options, message):
    networks = {"encoder": "shared", "decoder": "shared"}
    networks[part] = Component(name="conv-shared", options=options)
    with pytest.raises(ConfigError, match=message):
        MFCVAE(shape, "2:3", "bernoulli", **networks)


@pytest.mark.parametrize("n_facets", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(3, 4, 5), (7,)])
@pytest.mark.parametrize(
    ("encoder", "decoder"),
    [
        (
            Component(name="ladder", options={"backbone": 6}),
            Component(name="ladder", options={"rungs": 6, "backbone": 6}),
        ),
        (
            Component(name="ladder", options={"backbone": 6, "rungs": 5, "batch_norm": True}),
            Component(name="ladder", options={"rungs": 6, "backbone": 6, "merge": "add"}),
        ),
        (
            Component(name="shared", options={"widths": [6, 5]}),
            Component(name="shared", options={"widths": [5, 6], "batch_norm": True}),
        ),
        (
            Component(name="per-facet", options={"widths": 6}),
            Component(name="shared", options={"widths": []}),
        ),
    ],
    ids=["concatenate", "add", "shared", "per-facet"],
)
def test_dense_networks(n_facets, shape, encoder, decoder):
    model = MFCVAE(shape, _facets(n_facets), "bernoulli", encoder, decoder)
    _check_shapes(model, n_facets, shape)


def _check_shapes(model, n_facets, shape):
    x = torch.rand(B, *shape)
    posteriors = model.encode(x)
    assert [q.event_shape[0] for q in posteriors] == [2 + j for j in range(n_facets)]
    assert all(q.batch_shape == (B,) for q in posteriors)
    picture = model.decode([q.mean for q in posteriors])
    assert picture.batch_shape == (B,)
    assert picture.mean.shape == (B, *shape)
    samples = model.decode([q.rsample((4,)) for q in posteriors])
    assert samples.mean.shape == (4, B, *shape)
    terms = weighted(model, x, "enumerate", 2, torch.linspace(0, 1, n_facets))
    terms.loss.backward()
    assert terms.elbo.shape == (B,)


@pytest.mark.parametrize(
    "kind", ["conv", "ladder-concatenate", "ladder-add", "shared", "conv-shared"]
)
def test_a_facet_at_zero_does_not_reach_the_picture(kind):
    shape = (3, 8, 8)
    if kind == "conv":
        model = _conv(2, shape)
    elif kind.endswith("shared"):
        model = MFCVAE(shape, _facets(2), encoder=kind, decoder=kind)
    else:
        decoder = Component(
            name="ladder", options={"rungs": 6, "merge": kind.split("-")[1], "backbone": 6}
        )
        model = MFCVAE(shape, _facets(2), decoder=decoder)
    model.eval()
    z1 = torch.randn(B, 3)
    model.fade[0] = 0.0
    pictures = [model.decode([torch.randn(B, 2), z1]).mean for _ in range(2)]
    torch.testing.assert_close(pictures[0], pictures[1], rtol=0, atol=0)
    model.fade[0] = 1.0
    full = [model.decode([torch.randn(B, 2), z1]).mean for _ in range(2)]
    assert not torch.equal(*full)


def test_layers_for_two_facets_and_32_pixels_are_those_of_the_paper():
    """MFCVAE, Table 5, with its rung widths in the right places."""
    model = MFCVAE((3, 32, 32), "4:6,3:5", "bernoulli", "conv-ladder", "conv-ladder")
    assert model.encoder.n_features == [3136, 1024]
    assert [math_size(shape) for shape in model.decoder.rung_shapes] == [16384, 16384]


def math_size(shape):
    return shape[0] * shape[1] * shape[2]


def test_weight_norm_is_that_of_torch():
    ours = WeightNormConv2d(3, 5, 4, 2, 1).double()
    theirs = torch.nn.Conv2d(3, 5, 4, 2, 1).double()
    theirs.load_state_dict({k: v for k, v in ours.state_dict().items() if k != "magnitude"})
    theirs = torch.nn.utils.parametrizations.weight_norm(theirs)
    x = torch.randn(2, 3, 8, 8).double()
    torch.testing.assert_close(ours(x), theirs(x))
    with torch.no_grad():
        ours.magnitude *= 2
        theirs.parametrizations.weight.original0 *= 2
    torch.testing.assert_close(ours(x), theirs(x))


@pytest.mark.parametrize("kind", ["dense", "conv", "conv without weight norm"])
def test_data_dependent_initialisation(kind):
    shape, x = (3, 16, 16), torch.rand(64, 3, 16, 16)
    if kind == "dense":
        model = MFCVAE(shape, _facets(2))
    else:
        model = _conv(2, shape, weight_norm=kind == "conv")
    model.train()

    def run():
        return model.decode([q.mean for q in model.encode(x)])

    scale_to_data(model, run, spread=0.1)
    statistics = []

    def watch(layer, _inputs, output):
        others = [d for d in range(output.dim()) if d != 1]
        statistics.append((output.mean(others).abs().max(), output.std(others, correction=0)))

    layers = [
        m
        for m in model.modules()
        if isinstance(m, (torch.nn.Linear, torch.nn.Conv2d, torch.nn.ConvTranspose2d))
    ]
    for layer in layers:
        layer.register_forward_hook(watch)
    with torch.no_grad():
        run()
    assert len(statistics) == len(layers)
    for mean, spread in statistics:
        assert mean < 1e-4
        torch.testing.assert_close(spread, torch.full_like(spread, 0.1), rtol=2e-3, atol=0)


@pytest.mark.parametrize("published", [False, True])
@pytest.mark.parametrize("value", [0.0, 0.8])
def test_pictures_without_contrast_leave_initial_weights_as_large_as_they_are(value, published):
    x = torch.full((20, 3, 16, 16), value)
    model = _conv(2, (3, 16, 16)).train()
    scale_to_data(model, lambda: model.decode([q.mean for q in model.encode(x)]), 1.0, published)
    assert model(x).elbo.isfinite().all()
    parameters = [p for p in model.parameters() if p.requires_grad]
    assert all(p.abs().max() < 100 for p in parameters)


def test_data_dependent_initialisation_as_published():
    """Weight-normalised convolutions keep their weights; all else is as it should be."""
    x = torch.rand(64, 3, 16, 16)

    def initialised(published):
        torch.manual_seed(0)
        model = _conv(2, (3, 16, 16)).train()
        before = {name: p.detach().clone() for name, p in model.named_parameters()}
        scale_to_data(
            model, lambda: model.decode([q.mean for q in model.encode(x)]), 0.1, published
        )
        return before, dict(model.named_parameters())

    (_, ours), (before, theirs) = initialised(False), initialised(True)
    normalised = [name for name in ours if name.endswith("magnitude")]
    assert len(normalised) == 6
    for name in ours:
        kept = torch.equal(theirs[name], before[name])
        assert kept == (
            name in normalised
            or (name.removesuffix("weight") + "magnitude" in normalised)
            or name.startswith("facets.")
            or torch.equal(ours[name], before[name])
        ), name
        if name not in normalised:
            torch.testing.assert_close(theirs[name], ours[name])


def test_glorot_initialisation():
    layer = torch.nn.Linear(400, 600)
    draw_glorot(layer)
    expected = (2 / (400 + 600)) ** 0.5
    n = layer.weight.numel()
    assert abs(layer.weight.std().item() - expected) < 5 * expected / (2 * n) ** 0.5
    assert (layer.bias == 0).all()


@pytest.mark.parametrize("how", ["default", "glorot", "data-dependent"])
def test_an_autoregressive_posterior_starts_out_independent(how):
    """What deeper facets add is zero at first, whatever initial weights the settings ask for."""
    settings = {"model.options.posterior": "autoregressive", "model.initialisation": how}
    _, state = prepare(tiny_config(**settings))
    heads, x = state.model.heads_given_others, state.batches(0)
    added = heads[0]([torch.randn(len(x), 2)])
    assert added.shape == (len(x), 6)
    assert not added.any()
    state.model.train()
    state.schedule = lambda step: (1.0, 1.0)
    Eager(state).step()
    assert heads[0]([torch.randn(len(x), 2)]).any()


def test_likelihoods_are_those_of_torch():
    h, x = torch.randn(B, 5).double(), torch.rand(B, 5).double()
    bernoulli = BernoulliLikelihood()(h, 1).log_prob(x)
    p = h.sigmoid()
    torch.testing.assert_close(bernoulli, (x * p.log() + (1 - x) * (1 - p).log()).sum(-1))
    for learn in (False, True):
        gaussian = GaussianLikelihood(0.3, learn, "sigmoid").double()
        expected = torch.distributions.Normal(p, 0.3).log_prob(x).sum(-1)
        tolerance = {"rtol": 1e-6, "atol": 0} if learn else {"rtol": 1e-12, "atol": 0}
        torch.testing.assert_close(gaussian(h, 1).log_prob(x), expected, **tolerance)
        assert len(list(gaussian.parameters())) == learn


def test_what_does_not_fit_is_refused():
    spec = ObservationSpec((3, 4, 4), low=-1.0, high=2.0)
    with pytest.raises(DataError, match=r"needs values in \[0, 1\], got \[-1, 2\]"):
        MFCVAE(spec, "2:3", "bernoulli")
    with pytest.raises(ConfigError, match="choose encoder and decoder"):
        MFCVAE((7,), "2:3", encoder="conv-ladder")
    with pytest.raises(ConfigError, match="one entry per facet"):
        MFCVAE((7,), "2:3", encoder=Component(name="ladder", options={"backbone": [5, 5]}))
    with pytest.raises(ConfigError, match="positive whole numbers"):
        MFCVAE((7,), "2:3", encoder=Component(name="ladder", options={"backbone": 0}))
    for width in (2**20 + 1, 2**63 - 1):
        for name, options in (("ladder", {"backbone": width}), ("shared", {"widths": [5, width]})):
            with pytest.raises(ConfigError, match=f"encoder .*{width}"):
                MFCVAE((7,), "2:3", encoder=Component(name=name, options=options))
    narrow = Component(name="ladder", options={"rungs": [5, 6], "backbone": 7, "merge": "add"})
    with pytest.raises(ConfigError, match="as wide as the backbone"):
        MFCVAE((7,), "2:3,2:3", decoder=narrow)
    with pytest.raises(ConfigError, match="unknown encoder 'tower'; choose one of"):
        MFCVAE((7,), "2:3", encoder="tower")
    with pytest.raises(ConfigError, match="unknown option depth of encoder 'ladder'"):
        MFCVAE((7,), "2:3", encoder=Component(name="ladder", options={"depth": 3}))
    with pytest.raises(ConfigError, match="unknown activation 'swish'"):
        MFCVAE((7,), "2:3", encoder=Component(name="ladder", options={"activation": "swish"}))
    with pytest.raises(ValueError, match=r"shape \(B, 7\), got \(2, 8\)"):
        MFCVAE((7,), "2:3").encode(torch.rand(2, 8))
    with pytest.raises(TypeError, match="floating-point"):
        MFCVAE((7,), "2:3").encode(torch.ones(2, 7, dtype=torch.uint8))
