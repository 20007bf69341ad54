"""Settings as text: what JSON and YAML may say, and what they may not."""

from __future__ import annotations

import pytest

from pyro_mfcvae.config import config_from_dict, config_from_json, config_to_dict, override
from pyro_mfcvae.config.text import parse_json, parse_yaml
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.official.settings import read_yaml
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.studies.sweep import read_spec
from pyro_mfcvae.studies.sweep.arms import make_arms

CONFIG = get_preset("shapes").config
DIGITS = "9" * 5000
DEEP = "[" * 21 + "]" * 21


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("7", 7),
        ("-7", -7),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("2.", 2.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("", None),
        ("'7'", "7"),
        ("0100", "0100"),
        ("0x10", "0x10"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-13-45", "2024-13-45"),
        ("yes", "yes"),
        (str(9 * 10**18), 9 * 10**18),
        (str(2**63), 2.0**63),
        (DIGITS, DIGITS),
        ("1e999", "1e999"),
    ],
)
def test_words_of_yaml(word, value):
    (found,) = parse_yaml(f"- {word}")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize("text", [DIGITS, "1e999", "Infinity", "NaN"])
def test_numbers_of_json_that_64_bits_cannot_hold_stay_text(text):
    assert parse_json(f"[{text}]") == [text]
    assert parse_json(f"[{2**63}, {9 * 10**18}]") == [2.0**63, 9 * 10**18]


BOMB = "\n".join(
    ["a0: &a0 [[x], [x], [x], [x], [x], [x], [x], [x], [x]]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("a: !!int abc", "line 1.*tag"),
        ("a: 1\nb: !!python/name:os.system x", "line 2.*tag"),
        ("a: 1\na: 2", "line 2: a is given twice"),
        ("[a]: 1", "line 1"),
        (f"a: {DEEP}", r"a\.0\.0.*20 levels"),
        ("[" * 50_000 + "]" * 50_000, "20 levels"),
        ("a: &x [*x]", "recursive"),
        (BOMB, "100,000"),
        ("a: [1", "line 1"),
    ],
)
def test_yaml_that_is_refused(text, named, tmp_path):
    with pytest.raises(ConfigError, match=f"(?s){named}"):
        parse_yaml(text)
    path = tmp_path / "settings.yaml"
    path.write_text(text)
    for read in (read_spec, read_yaml):
        with pytest.raises(ConfigError, match="settings.yaml"):
            read(path)


@pytest.mark.parametrize("value", [DIGITS, "1e30", "2024-01-01", "0100", "1:30", DEEP])
def test_values_that_are_no_count_name_their_setting(value, tmp_path):
    with pytest.raises(ConfigError, match=r"training\.batch_size") as raised:
        override(CONFIG, [f"training.batch_size={value}"])
    assert len(str(raised.value)) < 500
    path = tmp_path / "sweep.yaml"
    path.write_text(f"set:\n  training.batch_size: {value}")
    with pytest.raises(ConfigError, match=r"training\.batch_size"):
        make_arms(read_spec(path))


def test_settings_that_are_nested_too_deeply_name_their_place():
    with pytest.raises(ConfigError, match=r"model\.options\.a\.a.*20 levels"):
        override(CONFIG, [f"model.options{'.a' * 2000}=1"])
    with pytest.raises(ConfigError, match="20 levels"):
        config_from_json("[" * 50_000)


@pytest.mark.parametrize(
    ("change", "meant"),
    [
        ({"sede": 1}, "seed"),
        ({"training": {"learning_rat": 1}}, "learning_rate"),
        ({"training": {"dtype": "Float32"}}, "float32"),
        ({"guide": {"nsamples": 2}}, "n_samples"),
    ],
)
def test_near_misses_are_named(change, meant):
    values = config_to_dict(CONFIG)
    for name, value in change.items():
        values[name] = {**values[name], **value} if isinstance(value, dict) else value
    with pytest.raises(ConfigError, match=f"did you mean '{meant}'"):
        config_from_dict(values)
