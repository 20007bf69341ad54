"""Settings: JSON and back, overrides, and what is refused."""

from __future__ import annotations

import json

import pytest

from pyro_mfcvae.config import (
    Component,
    config_from_dict,
    config_from_json,
    config_to_dict,
    config_to_json,
    override,
    parse_facets,
    with_facets,
)
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.presets import get_preset

CONFIG = get_preset("shapes").config


def test_overrides():
    changed = override(
        CONFIG,
        [
            "training.learning_rate=1e-3",
            "model.facets.1.n_clusters=7",
            "model.likelihood.options.scale=0.3",
            "training.device=cpu",
            "seed=4",
            "data.options.factors.shape=[0,1]",
            "model.encoder=shared",
        ],
    )
    assert changed.training.learning_rate == 1e-3
    assert [f.n_clusters for f in changed.model.facets] == [80, 7]
    assert changed.model.likelihood.options == {"scale": 0.3}
    assert changed.training.device == "cpu"
    assert changed.seed == 4
    assert changed.data.options == {"size": 16, "factors": {"shape": [0, 1]}}
    assert changed.model.encoder == Component(name="shared")
    assert override(CONFIG, ["training.epochs_per_step=7"]).training.epochs_per_step == (7,)
    assert CONFIG.seed == 0


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.learning_rate", "expected dotted.path=value"),
        ("training.rate=1", "unknown setting 'training.rate'; choose one of batch_size"),
        ("trainig.batch_size=1", "unknown setting 'trainig'; .* did you mean 'training'"),
        ("model.facets.2.n_clusters=1", "a number from 0 to 1"),
        ("seed.x=1", "has no parts"),
        ("training.batch_size=0", "training.batch_size: .*greater than or equal to 1, got 0"),
        (f"model.facets.0.latent_dim={2**62}", f"latent_dim: .*, got {2**62}"),
        (f"model.facets.0.n_clusters={2**20 + 1}", "n_clusters: .*, got 1048577"),
        (f"guide.n_samples={2**62}", "n_samples: "),
        ("training.batch_size=1.5", "valid integer, got 1.5"),
        ("training.learning_rate=-1", "greater than 0, got -1"),
        ("training.learning_rate=fast", "valid number.*'fast'"),
        ("training.learning_rate=Infinity", "finite"),
        ("model.facets.0.covariance=round", "'diagonal' or 'full'"),
        ("training.epochs_per_step=[1,2,3]", "one entry per facet"),
        ("model.facets=[]", "model.facets"),
        ("version=3", "version"),
    ],
)
def test_bad_overrides_are_refused(assignment, message):
    with pytest.raises(ConfigError, match=message):
        override(CONFIG, [assignment])


def test_unknown_and_missing_keys_are_refused():
    values = config_to_dict(CONFIG)
    values["training"]["speed"] = 3
    with pytest.raises(ConfigError, match="unknown setting 'training.speed'"):
        config_from_dict(values)
    values = config_to_dict(CONFIG)
    del values["model"]["likelihood"]
    with pytest.raises(ConfigError, match="'model.likelihood' is missing"):
        config_from_dict(values)
    for text, message in (("{", "not JSON"), ("[]", "JSON object")):
        with pytest.raises(ConfigError, match=message):
            config_from_json(text)


def test_facets_from_text():
    facets = parse_facets("10:80, 2:40")
    assert [(f.latent_dim, f.n_clusters) for f in facets] == [(10, 80), (2, 40)]
    for text in (
        "",
        "10",
        "10:",
        "a:b",
        "0:5",
        "5:0",
        "5:-1",
        "3:4,,2:2",
        "9999999:2",
        "2:9999999",
    ):
        with pytest.raises(ConfigError, match="D:K,D:K"):
            parse_facets(text)


@pytest.mark.parametrize(
    ("text", "steps"), [("3:4", (232,)), ("3:4,2:2", (24, 208)), ("3:4,2:2,5:5", (24, 24, 208))]
)
def test_other_facets_bring_a_schedule_that_fits(text, steps):
    config = override(CONFIG, ["training.epochs_per_step=[24,208]"])
    changed = with_facets(config, text)
    assert changed.training.epochs_per_step == steps
    assert all(f.covariance == "full" and not f.learn_weights for f in changed.model.facets)
    assert config_from_dict(json.loads(config_to_json(changed))) == changed


def test_facets_that_other_settings_do_not_fit_are_refused():
    warped = override(get_preset("shapes").config, ['training.warp={"facets": [1]}'])
    with pytest.raises(ConfigError, match="training.warp.facets must be from 0 to 0"):
        with_facets(warped, "5:20")
