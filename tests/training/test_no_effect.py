"""Settings that a person gave and nothing reads."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from models import tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import override
from pyro_mfcvae.errors import ConfigError, NoEffectWarning
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.train import prepare
from pyro_mfcvae.studies.many_runs import seeds_and_settings
from pyro_mfcvae.training.no_effect import warn_of_no_effect
from pyro_mfcvae.training.preflight import check_trial


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def warned(config) -> list[str]:
    _, state = prepare(config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_no_effect(state, check_trial(state))
    assert all(warning.category is NoEffectWarning for warning in caught)
    return [str(warning.message) for warning in caught]


_OF_MODELS = [
    ("gmvae-shapes", ["model.facets.0.initial_variance=0.7"], "model.facets.0.initial_variance"),
    ("gmvae-shapes", ["model.mixture_initialisation=glorot"], "no facet has components to place"),
    ("vlac-shapes", ["model.options.width=99", "model.options.conditional=false"], "options.width"),
    ("vlae-mnist", ["guide.temperature=[3,1]"], "has no temperature"),
    ("mlvae-mnist", ["model.options.mixture_width=99"], "model.options.mixture_width: without"),
    ("betavae-mnist", ["training.mixture_learning_rate=0.03"], "priors have nothing to learn"),
]


@pytest.mark.parametrize(
    ("assignments", "message"),
    [
        (["guide.temperature=[2,1]"], "guide.temperature: without effect; guide vade has no"),
        (["guide.temperature_epochs=7", "guide.name=amortized"], "guide amortized has no"),
        (["model.initial_spread=0.3"], "model.initialisation=data-dependent"),
        (["training.learning_rate_decay=0.7"], "training.learning_rate_schedule=step"),
        (
            ["training.decay_every=3", "training.learning_rate_floor=1e-5"],
            "training.decay_every, training.learning_rate_floor: without effect",
        ),
        (["training.kl_warm_up=[1,3]"], "set training.kl_start below 1"),
        (["training.precision=tf32"], "tf32 is for CUDA devices"),
        (["training.kl_floor=0.3", "training.epochs_per_step=3"], "an entry for each facet"),
        (["training.fade_in_shape=cosine", "training.n_fade_in_batches=0"], "come in at once"),
    ],
)
def test_settings_without_effect(assignments, message):
    (text,) = warned(override(tiny_config(), assignments))
    assert message in text
    assert text.endswith(", or leave it out")


@pytest.mark.parametrize(
    "assignments",
    [
        [],
        ["guide.temperature=[2,1]", "guide.temperature_epochs=7", "guide.name=relaxed"],
        ["model.initial_spread=0.3", "model.initialisation=data-dependent"],
        ["training.learning_rate_decay=0.7", "training.learning_rate_schedule=step"],
        ["training.kl_warm_up=[1,3]", "training.kl_start=0.1"],
        ["training.kl_floor=0.3", "training.fade_in_shape=cosine"],
        ["training.mixture_learning_rate=0.03", "model.facets.0.initial_variance=0.7"],
        ["model.options.posterior=autoregressive", "model.mixture_initialisation=glorot"],
        ["training.epochs_per_step=3", "training.n_fade_in_batches=0"],
    ],
)
def test_settings_with_an_effect(assignments):
    assert not warned(override(tiny_config(), assignments))


def _on_scenes(name: str, assignments: list[str]):
    """A preset on the scenes of the tests, with dense networks of few units."""
    config, tiny = get_preset(name).config, tiny_config()
    small = replace(config.training, device="cpu", n_threads=1, pretraining=None, batch_size=20)
    if "group_size" in config.model.options:
        config = override(config, ["model.options.group_size=20"])
    few = tuple(replace(f, n_clusters=min(f.n_clusters, 3)) for f in config.model.facets)
    config = replace(
        config, data=tiny.data, training=small, model=replace(config.model, facets=few)
    )
    return override(config, assignments)


@pytest.mark.parametrize(("preset", "assignments", "message"), _OF_MODELS)
def test_settings_that_a_model_does_not_read(preset, assignments, message):
    config = _on_scenes(preset, assignments)
    assert any(message in text for text in warned(config))
    assert not warned(_on_scenes(preset, []))


def test_what_a_preset_has_is_no_mistake_beside_other_parts():
    other = ["model.name=gmvae", "model.facets.1.n_clusters=1", "training.epochs_per_step=3"]
    other += ["training.refit_mixtures=[]", "training.warp=null"]
    other += ["model.encoder=shared", "model.decoder=shared"]
    for preset in ("mnist-fast", None):
        config = replace(_on_scenes("mnist-fast", other), preset=preset)
        assert config.model.facets[0].initial_variance != 0.01
        assert not warned(config)
        config = override(config, ["model.facets.0.initial_variance=0.7"])
        assert [text.partition(":")[0] for text in warned(config)] == [
            "model.facets.0.initial_variance"
        ]


@pytest.mark.parametrize("name", ["gmvae-shapes", "ugvae-shapes"])
@pytest.mark.parametrize(
    "given",
    [
        "model.facets.0.learn_weights=true",
        'model.facets.1={"learn_weights": true, "n_clusters": 1, "latent_dim": 2}',
    ],
)
def test_weights_that_are_not_learnt_are_not_asked_for(name, given, tmp_path):
    words = ("train", name, "--set", given, "--out", "run")
    done = CliRunner().invoke(main, words, prog_name="mfcvae")
    assert done.exit_code == 2
    assert "the weights of mixtures are 1/K in model" in " ".join(done.output.split())
    varied = {"model.facets.0.learn_weights": ["true"]}
    with pytest.raises(ConfigError, match="the weights of mixtures are 1/K"):
        seeds_and_settings(get_preset(name).config, 1, varied)
    assert not list(tmp_path.iterdir())


@pytest.mark.filterwarnings("default::pyro_mfcvae.errors.NoEffectWarning")
def test_the_command_line_shows_settings_without_effect(monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: [])
    np.savez("mine.npz", x=np.random.default_rng(0).random((60, 4), np.float32))
    words = ["train", "--data", "mine.npz", "--facets", "2:3", "--device", "cpu", "--out", "run"]
    for setting in (
        "guide.temperature=[2,1]",
        "training.epochs_per_step=1",
        "training.n_threads=1",
    ):
        words += ["--set", setting]
    done = CliRunner().invoke(main, words, prog_name="mfcvae")
    assert done.exit_code == 0, done.output
    told = [line for line in done.output.splitlines() if line.startswith("warning: ")]
    assert [line.startswith("warning: guide.temperature: without effect") for line in told] == [
        True
    ]
