"""Settings say what they are, for the command line and the documentation alike."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import config_to_dict, identity, override
from pyro_mfcvae.config.described import SETTINGS
from pyro_mfcvae.config.options import leaves
from pyro_mfcvae.presets import get_preset

CONFIG = override(get_preset("shapes").config, ["training.warp={}"])


def test_every_setting_has_a_sentence_of_its_own():
    known = {re.sub(r"\.\d+\.", ".J.", path) for path, _ in leaves(config_to_dict(CONFIG))}
    parts = re.compile(r"(data|likelihood|encoder|decoder|pretraining)(\.name|\.options.*)$")
    assert {parts.sub(r"\1", path) for path in known} <= set(SETTINGS)
    texts = [setting.description for setting in SETTINGS.values()]
    assert all(len(text) > 10 and text.endswith(".") for text in texts)


def test_defaults_and_what_changes_results_are_those_of_the_settings():
    changes = {re.sub(r"\.\d+\.", ".J.", path) for path in identity(CONFIG)}
    for name, setting in SETTINGS.items():
        if setting.default is not None and not setting.values.startswith("settings"):
            path = name.replace(".J.", ".0.")
            if "source" not in path:
                override(CONFIG, [f"{path}={setting.default}"])
        if name in changes:
            assert setting.changes_results, name


@pytest.mark.parametrize(
    ("name", "values", "default"),
    [
        ("seed", "whole number from 0", "0"),
        ("training.learning_rate", "number above 0", None),
        ("guide.temperature", "[number above 0, number above 0]", "[1.0, 0.5]"),
        ("training.warp.rotation", "number from 0 to 180", "0.0"),
        ("training.dtype", '"float32" or "float64"', '"float32"'),
        ("model.facets.J.learn_weights", "true or false or null", "null"),
        ("model.options", "options by name", "{}"),
    ],
)
def test_values_in_words(name, values, default):
    assert (SETTINGS[name].values, SETTINGS[name].default) == (values, default)


def test_the_command_line_lists_them():
    done = CliRunner().invoke(main, ["parts", "setting", "--json"])
    assert done.exit_code == 0
    assert "observations in a batch" in done.output
