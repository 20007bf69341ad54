"""What belongs to experiments with VLAC: its presets, single layers, figures of layers, tables."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from models import N_OBSERVATIONS, observations, small_model, tiny_config

from pyro_mfcvae import evaluation
from pyro_mfcvae.config import Component, override
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.figures import Seen
from pyro_mfcvae.figures.layers import draw_components, draw_resampled_facets
from pyro_mfcvae.guides import AmortizedGuide
from pyro_mfcvae.guides.building import build_guide
from pyro_mfcvae.models import GMVAE, VLAC
from pyro_mfcvae.nets.convolutional import ConvLadderDecoder, ConvLadderEncoder
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.studies.papers import Arm, Request, get_experiment, reproduce
from pyro_mfcvae.testing.values import weighted
from pyro_mfcvae.training import state
from pyro_mfcvae.training.checks import check_objective
from pyro_mfcvae.training.start import cluster_network
from pyro_mfcvae.training.start.initialise import fit_mixture, posterior_means

CLUSTERS = {
    "vlac-svhn": (1, 1, 50, 1),
    "vlac-svhn-2": (1, 5, 50, 1),
    "vlae-svhn": (1, 1, 1, 1),
    "gm-dgm-svhn": (50,),
    "vlac-mnist": (1, 1, 20),
    "vlae-mnist": (1, 1, 1),
    "gm-dgm-mnist": (20,),
}
EVENTS = {"svhn": (3, 32, 32), "mnist": (1, 28, 28)}


def _model(name):
    config = get_preset(name).config
    return build_model(config.model, ObservationSpec(EVENTS[config.data.name]), config.guide)


@pytest.mark.parametrize("name", CLUSTERS)
def test_clusters_and_weights_are_the_published_ones(name):
    config = get_preset(name).config
    assert tuple(facet.n_clusters for facet in config.model.facets) == CLUSTERS[name]
    assert not any(facet.learn_weights for facet in config.model.facets)
    check_objective(_model(name), config, n_processes=1)  # it can be trained


@pytest.mark.parametrize(
    "name", ["vlac-svhn-2", "gm-dgm-svhn", "vlac-mnist", "vlae-mnist", "gm-dgm-mnist"]
)
def test_presets_have_an_objective_for_their_data(name):
    config = get_preset(name).config
    x = torch.rand(2, *EVENTS[config.data.name])
    terms = _model(name)(x, config.guide.name)
    assert terms.elbo.shape == (2,)
    for j, facet in enumerate(config.model.facets):
        assert bool((terms.kl_c[:, j] > 0).all()) == (facet.n_clusters > 1)


def _shapes(*modules):
    return [tuple(p.shape) for module in modules for p in module.parameters()]


def test_layers_fade_in_unless_deeper_ones_are_told_their_clusters():
    for facets, conditional, expected in (
        ("2:1,2:3", True, True),
        ("2:3,2:1", True, False),
        ("2:3,2:1", False, True),
    ):
        assert VLAC((1, 4, 4), facets, conditional=conditional).structure.fades_in == expected
    deep = VLAC((1, 4, 4), "2:1,2:3").double()
    guide = build_guide("relaxed", deep).double()
    weighted(deep, observations(), guide, fade=[0.0, 1.0]).loss.backward()
    shallow = [*deep.heads[0].parameters(), *deep.decoder.rungs[0].parameters()]
    assert all(p.grad is None or not p.grad.any() for p in shallow)
    assert deep.heads[1].weight.grad.any()


@pytest.mark.parametrize("data", EVENTS)
def test_the_single_layer_has_the_networks_of_the_third(data):
    ladder, single = _model(f"vlac-{data}"), _model(f"gm-dgm-{data}")
    assert single.facets[0].n_clusters == ladder.facets[2].n_clusters
    for name in ("encoder", "cluster_encoder"):
        whole, alone = getattr(ladder, name), getattr(single, name)
        assert _shapes(*whole.backbone[:3], whole.rungs[2]) == _shapes(alone.backbone, alone.rungs)
    whole, alone = ladder.decoder, single.decoder
    assert _shapes(whole.rungs[2]) == _shapes(alone.rungs)
    # Merging doubles what a stage of the ladder takes; biases have the shape of what it gives.
    given = [shape for shape in _shapes(*reversed(whole.backbone[:3])) if len(shape) == 1]
    assert given == [shape for shape in _shapes(alone.backbone) if len(shape) == 1]


@pytest.mark.parametrize("level", [1, 2])
def test_an_encoder_of_one_layer_is_that_layer_of_a_ladder(level):
    options = {"channels": 3, "batch_norm": False}
    whole = ConvLadderEncoder((2, 12, 16), level + 1, **options).double()
    alone = ConvLadderEncoder((2, 12, 16), 1, first_rung=level, **options).double()
    _take_over([alone.backbone, alone.rungs], [*whole.backbone, whole.rungs[level]])
    x = torch.rand(4, 2, 12, 16).double()
    torch.testing.assert_close(alone(x)[0], whole(x)[level], rtol=0, atol=0)
    assert alone.n_features == whole.n_features[level:]
    assert alone.n_backbone == whole.n_backbone[level:]


def test_a_decoder_of_one_layer_is_a_ladder_without_the_other_rungs():
    options = {"channels": 3, "batch_norm": False, "rung_batch_norm": False}
    whole = ConvLadderDecoder((2, 12, 16), [2, 3, 4], **options).double()
    alone = ConvLadderDecoder((2, 12, 16), [4], first_rung=2, **options).double()
    _take_over([alone.rungs, alone.backbone], [whole.rungs[2], *reversed(whole.backbone)])
    zs = [torch.randn(5, dim).double() for dim in (2, 3, 4)]
    fade = torch.tensor([0.0, 0.0, 1.0]).double()
    torch.testing.assert_close(alone(zs[2:]), whole(zs, fade), rtol=1e-12, atol=1e-12)


def _take_over(parts, modules):
    """Copy weights layer by layer; where rungs were merged, those of the backbone's half."""
    own = [p for part in parts for p in part.parameters()]
    theirs = [p for module in modules for p in module.parameters()]
    with torch.no_grad():
        for mine, given in zip(own, theirs, strict=True):
            mine.copy_(given[-len(mine) :])


@pytest.mark.parametrize("first_rung", [-1, 1.5, True])
def test_a_stage_that_does_not_exist_is_refused(first_rung):
    for kind, sizes in ((ConvLadderEncoder, 1), (ConvLadderDecoder, [2])):
        with pytest.raises(ConfigError, match="whole number from 0, got"):
            kind((1, 8, 8), sizes, first_rung=first_rung)


def _decoded(model, zs):
    with torch.no_grad():
        return model.decode(zs).mean.numpy()


def test_one_facet_is_drawn_and_the_others_stay():
    model, x, shape = small_model(3), observations(), (N_OBSERVATIONS, 4)
    pictures = evaluation.resample_facets(model, x, 4, temperature=0.5, seed=3)
    assert pictures.shape == (3, *shape, 1, 4, 4)
    generator = torch.Generator().manual_seed(3)
    means = [q.mean.detach().unsqueeze(1).expand(*shape, -1) for q in model.encode(x)]
    for j, prior in enumerate(model.facets):
        zs = list(means)
        zs[j] = prior.sample(shape, None, 0.5, generator)
        np.testing.assert_allclose(pictures[j], _decoded(model, zs), rtol=1e-9)


def test_a_facet_that_is_not_faded_in_changes_nothing_when_drawn():
    model, x = small_model(2), observations()
    model.fade[0] = 0.0
    shallow, deep = evaluation.resample_facets(model, x, 3)
    expected = evaluation.reconstruct(model, x)[:, None]
    np.testing.assert_allclose(shallow, expected.repeat(3, 1), rtol=1e-9)
    assert np.abs(deep - expected).max() > 1e-3


def test_a_prior_that_depends_on_another_latent_is_taken_there():
    model = GMVAE((1, 4, 4), "2:3,2:1", encoder="shared", decoder="shared").double()
    x = observations(2)
    pictures = evaluation.resample_facets(model, x, 20, temperature=0)
    with torch.no_grad():
        style = model.encode(x)[1].mean
        centres = model.facets[0]([style]).loc  # (2, 3, 2)
        possible = _decoded(model, [centres, style[:, None].expand(2, 3, 2)])
    nearest = np.abs(pictures[0][:, :, None] - possible[:, None]).max((-3, -2, -1)).min(-1)
    assert nearest.max() < 1e-9


def test_components_share_one_draw_of_the_other_facets():
    model, clusters = small_model(3), [3, 0]
    drawn = evaluation.sample_components(model, 1, clusters, 5, temperature=0.0, seed=7)
    assert drawn.shape == (2, 5, 1, 4, 4)
    generator = torch.Generator().manual_seed(7)
    others = model.sample_prior((), temperature=0.0, generator=generator)
    for row, k in zip(drawn, clusters, strict=True):
        zs = [others[0], model.facets[1].loc[k], others[2]]
        np.testing.assert_allclose(row, np.stack([_decoded(model, zs)] * 5), rtol=1e-9)
    spread = evaluation.sample_components(model, 1, clusters, 5, seed=7)
    assert (spread.std(1) > 0).any()
    other = evaluation.sample_components(model, 1, clusters, 5, temperature=0.0, seed=8)
    assert np.abs(other - drawn).max() > 1e-6


@pytest.mark.parametrize("model", ["mixtures", "dependent"])
def test_components_of_any_model_can_be_drawn(model):
    dependent = GMVAE((1, 4, 4), "2:3,2:1", encoder="shared", decoder="shared")
    model = small_model(2) if model == "mixtures" else dependent
    assert evaluation.sample_components(model, 0, [0, 2, 1], 2).shape == (3, 2, 1, 4, 4)


def test_what_cannot_be_drawn_is_refused():
    model, x = small_model(2), observations(2)
    with pytest.raises(ValueError, match="one observation and one sample of each, got 0 and 3"):
        evaluation.resample_facets(model, x[:0], 3)
    with pytest.raises(ValueError, match="one cluster and one sample of each, got 1 and 0"):
        evaluation.sample_components(model, 0, [1], 0)
    with pytest.raises(ValueError, match="a facet from 0 to 1, got 2"):
        evaluation.sample_components(model, 2, [0], 1)
    with pytest.raises(ValueError, match=r"clusters must lie in 0\.\.4, got 5"):
        evaluation.sample_components(model, 0, [5], 1)
    for temperature in (-1.0, math.inf):
        with pytest.raises(ValueError, match="temperature from 0 on"):
            evaluation.resample_facets(model, x, 1, temperature)


def test_figures_have_every_picture_and_say_what_it_is():
    seen = Seen(small_model(2), 1.0, observations(), {}, {})
    drawn = draw_resampled_facets(seen, 3, 4)
    assert len(drawn.axes[0].images) == 3 + 2 * 3 * 4
    texts = {text.get_text() for text in drawn.texts}
    assert {"facet 0, K = 5", "facet 1, K = 4", "input", "input 0", "input 5"} <= texts
    used = seen.most_used(0)
    columns = draw_components(seen, 0, 2, 3)
    images = columns.axes[0].images
    assert len(images) == 3 * len(used[:2])
    assert {str(k) for k in used[:2]} <= {text.get_text() for text in columns.texts}
    pictures = evaluation.sample_components(seen.model, 0, used[:2], 3)
    np.testing.assert_allclose(images[len(used[:2])].get_array(), pictures[0, 1, 0])


@pytest.mark.parametrize("conditional", [True, False])
def test_the_network_of_clusters_follows_a_mixture_that_was_fitted_anew(conditional, monkeypatch):
    monkeypatch.setattr(cluster_network, "_N_PASSES", 60)
    monkeypatch.setattr(cluster_network, "_LEARNING_RATE", 0.03)
    ladder = Component(name="ladder", options={"backbone": 64})
    model = VLAC((1, 4, 4), "2:3,2:4", encoder=ladder, conditional=conditional).double()
    guide = AmortizedGuide(model).double()
    heads = guide.cluster_networks[0]
    x = observations(500)

    def divergence():
        """Mean KL(p(c | z) || q(c | x)) of facet 1."""
        with torch.no_grad(), model.evaluating():
            logits = guide.cluster_logits(x, posterior_means(model, x))
            log_q = logits[1].log_softmax(-1)
        return (targets * (targets.log() - log_q)).nan_to_num().sum(-1).mean().item()

    fit_mixture(model.facets[1], posterior_means(model, x)[1], seed=0)
    targets = model.facets[1].responsibilities(posterior_means(model, x)[1]).detach()
    own = {id(p) for network in guide.cluster_networks for p in network.parameters()}
    others = [p.clone() for p in model.parameters() if id(p) not in own]
    shallow = [p.clone() for p in heads[0].parameters()]
    heads[1].weight.grad = gradient = torch.ones(4, 64).double()
    before = divergence()
    cluster_network.fit_cluster_network(model, guide, x, [1])
    assert before > 0.5
    assert divergence() < 0.5 * before
    assert heads[1].weight.grad is gradient
    now = [p for p in model.parameters() if id(p) not in own]
    assert all(map(torch.equal, now, others))
    assert all(map(torch.equal, heads[0].parameters(), shallow))


@pytest.mark.parametrize("guide", ["relaxed", "vade"])
def test_training_fits_a_network_after_a_refit_if_the_guide_has_one(guide, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        state, "fit_cluster_network", lambda model, guide, x, facets: seen.append((len(x), facets))
    )
    config = tiny_config(
        **{"guide.name": guide, "training.refit_mixtures": "[1]", "training.epochs_per_step": "2"}
    )
    train(config, tmp_path / "run")
    assert [facets for _, facets in seen] == ([[0, 1]] if guide == "relaxed" else [])


@pytest.mark.parametrize(
    ("label", "row", "published"),
    [
        ("vlac-svhn", "VLAC, facet 2", "63.7 ± 4.2 in its own paper; 37.8 (2.2) in the MFCVAE"),
        ("vlac-svhn-2", "VLAC, facet 2", "64.8 ± 2.7 in its own paper; 37.8 (2.2) in the MFCVAE"),
        ("vlac-svhn-2", "VLAC, facet 1", ""),
        ("gm-dgm-svhn", "GM-DGM, facet 0", "57.0 ± 3.2 in the VLAC paper"),
        ("vlac-mnist", "VLAC, facet 2", ""),
    ],
)
def test_both_sources_stand_beside_the_measured_number(label, row, published):
    experiment = get_experiment("vlac")
    entries = [e for e in experiment.entries(experiment.arms("full")) if e.arm == label]
    (found,) = [e for e in entries if e.row == row and e.path[-1] == "majority_accuracy"]
    assert found.published.startswith(published)
    assert bool(found.published) == bool(published)
    assert all(not e.published for e in entries if e.path[-1] != "majority_accuracy")
    assert all(e.n_clusters > 1 for e in entries)


def _tiny_arms(scale):
    """A ladder and a single layer of a second each."""
    config = tiny_config(
        **{
            "model.name": "vlac",
            "model.facets.0.n_clusters": "1",
            "model.mixture_initialisation": "random",
            "guide.name": "relaxed",
            "training.epochs_per_step": "2",
            "training.n_fade_in_batches": "0",
        }
    )
    one = override(
        config,
        [
            'model.facets=[{"n_clusters": 4, "latent_dim": 2}]',
            "model.encoder.options.backbone=[[16,16]]",
            "model.decoder.options.backbone=[[16,16]]",
        ],
    )
    return [
        Arm("vlac-tiny", config, "scenes", {"floor_hue": 1}),
        Arm("gm-dgm-tiny", one, "scenes", {"floor_hue": 0}),
    ]


def test_the_experiment_runs_and_draws(tmp_path):
    tiny = replace(get_experiment("vlac"), name="tiny-vlac", arms=_tiny_arms)
    request = Request(n_seeds=1, out=tmp_path, device="cpu")
    results, folder = reproduce(tiny, request)
    assert results["figures"] == [
        "vlac-tiny-layers.png",
        "vlac-tiny-clusters-facet-1.png",
        "gm-dgm-tiny-layers.png",
        "gm-dgm-tiny-clusters-facet-0.png",
    ]
    assert all((folder / name).stat().st_size for name in results["figures"])
    rows = {line["row"] for line in results["table"]}
    assert rows == {"VLAC, facet 1", "GM-DGM, facet 0"}
    assert all(0 < line["mean"] <= 1 for line in results["table"] if "majority" in line["metric"])


def test_quick_models_are_a_ladder_and_one_layer():
    two, one = get_experiment("vlac").arms("quick")
    assert [len(arm.config.model.facets) for arm in (two, one)] == [2, 1]
    assert all(arm.config.guide.name == "relaxed" for arm in (two, one))
    spec = ObservationSpec((3, 16, 16))
    assert all(build_model(arm.config.model, spec, arm.config.guide) for arm in (two, one))
    assert isinstance(one.config.model.encoder, Component)
