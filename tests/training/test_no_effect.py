"""Settings that nothing reads, and weights that a model cannot learn."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from models import tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import config_from_dict, config_to_dict, override
from pyro_mfcvae.errors import ConfigError, NoEffectWarning
from pyro_mfcvae.presets import PRESETS, get_preset
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.no_effect import warn_of_no_effect


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def warned(config) -> list[str]:
    """Settings that a warning names."""
    _, state = prepare(config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warn_of_no_effect(state)
    assert all(warning.category is NoEffectWarning for warning in caught)
    return [name for w in caught for name in str(w.message).partition(":")[0].split(", ")]


_WITHOUT = {
    "guide.temperature": ["guide.temperature=[2,1]"],
    "guide.temperature_epochs": ["guide.temperature_epochs=7", "guide.name=amortized"],
    "model.initial_spread": ["model.initial_spread=0.3"],
    "training.learning_rate_decay": ["training.learning_rate_decay=0.7"],
    "training.decay_every": ["training.decay_every=3"],
    "training.kl_warm_up": ["training.kl_warm_up=[1,3]"],
    "training.precision": ["training.precision=tf32"],
    "training.kl_floor": ["training.kl_floor=0.3", "training.epochs_per_step=3"],
    "training.fade_in_shape": ["training.fade_in_shape=cosine", "training.n_fade_in_batches=0"],
}
_WITH = [
    [],
    ["guide.temperature=[2,1]", "guide.temperature_epochs=7", "guide.name=relaxed"],
    ["model.initial_spread=0.3", "model.initialisation=data-dependent"],
    ["training.learning_rate_decay=0.7", "training.learning_rate_schedule=step"],
    ["training.kl_warm_up=[1,3]", "training.kl_start=0.1"],
    ["training.kl_floor=0.3", "training.fade_in_shape=cosine"],
    ["training.mixture_learning_rate=0.03", "model.facets.0.initial_variance=0.7"],
    ["model.options.posterior=autoregressive", "model.mixture_initialisation=glorot"],
    ["training.epochs_per_step=3", "training.n_fade_in_batches=0"],
]


@pytest.mark.parametrize("setting", _WITHOUT)
def test_settings_without_effect(setting):
    assert setting in warned(override(tiny_config(), _WITHOUT[setting]))


@pytest.mark.parametrize("assignments", _WITH)
def test_settings_with_an_effect(assignments):
    assert not warned(override(tiny_config(), assignments))


def _on_scenes(name: str, assignments: list[str]):
    """A preset on the scenes of the tests, with dense networks of few units."""
    config, tiny = get_preset(name).config, tiny_config()
    small = replace(config.training, device="cpu", n_threads=1, pretraining=None, batch_size=20)
    small = replace(small, strata="shared")  # these scenes name none
    if "group_size" in config.model.options:
        config = override(config, ["model.options.group_size=20"])
    few = tuple(replace(f, n_clusters=min(f.n_clusters, 3)) for f in config.model.facets)
    config = replace(
        config, data=tiny.data, training=small, model=replace(config.model, facets=few)
    )
    return override(config, assignments)


@pytest.mark.parametrize(
    ("preset", "assignments", "setting"),
    [
        ("gmvae-shapes", ["model.facets.0.initial_variance=0.7"], "facets.0.initial_variance"),
        ("gmvae-shapes", ["model.mixture_initialisation=glorot"], "mixture_initialisation"),
        (
            "vlac-shapes",
            ["model.options.width=99", "model.options.conditional=false"],
            "options.width",
        ),
        ("vlae-mnist", ["guide.temperature=[3,1]"], "guide.temperature"),
        ("mlvae-mnist", ["model.options.mixture_width=99"], "options.mixture_width"),
        ("mlvae-mnist", ["model.options.width=99"], "options.width"),
        ("betavae-mnist", ["training.mixture_learning_rate=0.03"], "mixture_learning_rate"),
    ],
)
def test_settings_that_a_model_does_not_read(preset, assignments, setting):
    assert any(name.endswith(setting) for name in warned(_on_scenes(preset, assignments)))


@pytest.mark.parametrize("preset", [name for name in PRESETS if "conv" not in name])
def test_every_setting_of_a_preset_has_an_effect(preset):
    config = get_preset(preset).config
    networks = {"ladder", "shared"}
    if {config.model.encoder.name, config.model.decoder.name} <= networks:
        assert not warned(_on_scenes(preset, []))


@pytest.mark.parametrize("name", ["gmvae-shapes", "ugvae-shapes"])
def test_weights_that_are_not_learnt_are_not_asked_for(name):
    for setting, value in (("learn_weights", "true"), ("weight_concentration", "0.1")):
        with pytest.raises(ConfigError, match=setting):
            prepare(_on_scenes(name, [f"model.facets.0.{setting}={value}"]))
    prepare(_on_scenes(name, ["model.facets.0.learn_weights=false"]))


def test_version_1_recorded_that_weights_are_learnt_whether_the_model_can_or_not():
    config = get_preset("gmvae-shapes").config
    old = config_to_dict(config) | {"version": 1}
    for facet in old["model"]["facets"]:
        facet["learn_weights"] = True
    assert config_from_dict(old) == config
    fixed = get_preset("shapes").config
    assert config_from_dict(config_to_dict(fixed) | {"version": 1}) == fixed
    with pytest.raises(ConfigError, match="version"):
        config_from_dict(config_to_dict(config) | {"version": 3})


@pytest.mark.filterwarnings("default::pyro_mfcvae.errors.NoEffectWarning")
def test_the_command_line_shows_settings_without_effect(monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: [])
    np.savez("mine.npz", x=np.random.default_rng(0).random((60, 4), np.float32))
    words = ["train", "--data", "mine.npz", "--facets", "2:3", "--device", "cpu", "--out", "run"]
    for setting in ("guide.temperature=[2,1]", "training.epochs_per_step=1"):
        words += ["--set", setting]
    done = CliRunner().invoke(main, [*words, "--set", "training.n_threads=1"], prog_name="mfcvae")
    assert done.exit_code == 0, done.output
    (told,) = [line for line in done.output.splitlines() if line.startswith("warning: ")]
    assert told.startswith("warning: guide.temperature: without effect")
