"""What a sweep is made of: files, grids, random settings, objectives, and their errors."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from models import tiny_config

from pyro_mfcvae.config import config_to_json
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation.measures import MEASURES
from pyro_mfcvae.studies.sweep import Criterion, read_spec, spec_from_dict
from pyro_mfcvae.studies.sweep.arms import short_names

RATE, SCALE = "training.learning_rate", "model.likelihood.options.scale"


def test_yaml_and_json_say_the_same(tmp_path):
    given = {"set": {RATE: 1e-3}, "seeds": [3, 5], "grid": {SCALE: [0.1, 0.2], "guide.name": ["a"]}}
    (tmp_path / "spec.json").write_text(json.dumps(given))
    (tmp_path / "spec.yaml").write_text(
        f"set: {{{RATE}: 1e-3}}\nseeds: [3, 5]\ngrid:\n  {SCALE}: [1e-1, .2]\n  guide.name: [a]\n"
    )
    spec = spec_from_dict(given)
    assert read_spec(tmp_path / "spec.json") == read_spec(tmp_path / "spec.yaml") == spec
    assert list(spec.settings()) == [{SCALE: s, "guide.name": "a"} for s in (0.1, 0.2)]


def test_a_number_of_seeds_counts_from_0():
    assert spec_from_dict({"seeds": 3}).seeds == (0, 1, 2)
    assert spec_from_dict({}).seeds == (0,)
    assert list(spec_from_dict({}).settings()) == [{}]


def test_a_base_is_searched_beside_the_file(tmp_path):
    config = tiny_config(**{"training.epochs_per_step": "[1,1]"})
    (tmp_path / "base.json").write_text(config_to_json(config))
    (tmp_path / "spec.yaml").write_text("base: base.json")
    assert read_spec(tmp_path / "spec.yaml").config() == config


def test_random_settings_lie_in_the_space_and_come_again():
    space = {
        "a": {"uniform": [0.5, 2]},
        "b": {"log_uniform": [1e-4, 1e-2]},
        "c": {"integer": [2, 4]},
        "d": {"choice": ["x", [1, 2], None]},
    }

    def draws(n=400, seed=0, **changed):
        random = {"n_trials": n, "seed": seed, "space": space | changed}
        return list(spec_from_dict({"random": random}).settings())

    drawn = draws()
    assert draws() == drawn
    assert draws(100) == drawn[:100]
    assert draws(seed=1) != drawn
    a, b, c = (np.array([values[path] for values in drawn]) for path in "abc")
    assert a.min() >= 0.5
    assert a.max() <= 2
    assert set(c) == {2, 3, 4}
    assert {json.dumps(values["d"]) for values in drawn} == {'"x"', "[1, 2]", "null"}
    # Means within 5 standard errors of a uniform distribution's, sd = width / sqrt(12).
    for values, low, high in ((a, 0.5, 2), (np.log(b), math.log(1e-4), math.log(1e-2))):
        error = (high - low) / math.sqrt(12 * len(values))
        assert abs(values.mean() - (low + high) / 2) < 5 * error
    assert all(float(f"{value:.4g}") == value for value in (*a, *b))
    # Another setting in the space leaves the values of the others.
    more = draws(e={"uniform": [0, 1]})
    assert [{k: v for k, v in values.items() if k != "e"} for values in more] == drawn


def test_random_settings_differ():
    random = {"n_trials": 6, "space": {"a": {"integer": [0, 5]}}}
    drawn = [values["a"] for values in spec_from_dict({"random": random}).settings()]
    assert sorted(drawn) == [0, 1, 2, 3, 4, 5]
    with pytest.raises(ConfigError, match=r"expected 7 different .* the space gave only 6; lower"):
        list(spec_from_dict({"random": random | {"n_trials": 7}}).settings())


def _random(**space):
    return {"random": {"n_trials": 2, "space": space}}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ([1], r"\[1\]"),
        ({"grids": {}}, "'grids'"),
        ({"preset": "a", "base": "b"}, "preset and base"),
        ({"grid": {"a": [1]}, **_random(b={"uniform": [0, 1]})}, "grid and random"),
        ({"seeds": 0}, "^seeds"),
        ({"seeds": [1, 1]}, r"seeds.*\[1, 1\]"),
        ({"seeds": [-1]}, r"seeds\.0"),
        ({"grid": {"a": 3}}, r"grid\.a.*got 3"),
        ({"grid": {"a": []}}, r"grid\.a"),
        ({"grid": {"a": [1, 1]}}, r"grid\.a.*\[1, 1\]"),
        ({"grid": {"seed": [1]}}, "'seeds'"),
        ({"set": {"seed": 1}}, "'seeds'"),
        ({"set": {"a": 1}, "grid": {"a": [1]}}, "^a .*'set'"),
        ({"random": {"space": {}}}, r"random\.n_trials"),
        (_random(**{"a.b": {"normal": [0, 1]}}), r"random\.space\.a\.b\.normal"),
        (_random(a={}), r"random\.space\.a: .*choice, uniform, log_uniform and integer"),
        (_random(a={"choice": [1], "uniform": [0, 1]}), "choice and uniform"),
        (_random(a={"uniform": [1, 0]}), "1.0 and 0.0"),
        (_random(a={"log_uniform": [0, 1]}), "log_uniform"),
        (_random(a={"integer": [0.5, 1]}), r"random\.space\.a\.integer\.0"),
        ({"objective": {"measure": "accuracy"}}, r"objective"),
        ({"objective": {"measure": "nmi", "facet": 0}}, "nmi"),
        ({"objective": {"facet": 0}}, "elbo"),
    ],
)
def test_errors_of_a_spec(given, named):
    with pytest.raises(ConfigError, match=named):
        spec_from_dict(given)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seeds: [1", r"(?s)spec\.yaml cannot be used: .*expected ',' or '\]'"),
        (f"set:\n  {RATE}: 1\n  {RATE}: 2", f"line 3: {RATE} is given twice"),
        (None, "No such file"),
    ],
)
def test_errors_of_a_file(tmp_path, text, message):
    path = tmp_path / "spec.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_spec(path)


def test_names_are_as_short_as_can_be():
    paths = [
        RATE,
        "training.adam_eps",
        "model.facets.0.n_clusters",
        "model.facets.1.n_clusters",
        "model.encoder.options.backbone",
        "model.decoder.options.backbone",
    ]
    assert list(short_names(paths).values()) == [
        "learning_rate",
        "adam_eps",
        "facets.0.n_clusters",
        "facets.1.n_clusters",
        "encoder.options.backbone",
        "decoder.options.backbone",
    ]
    assert short_names(["guide.name"]) == {"guide.name": "guide.name"}
    assert short_names(["rate", "training.rate"]) == {
        "rate": "rate",
        "training.rate": "training.rate",
    }


def test_every_quick_measure_can_be_an_objective():
    places = {"facet": 0, "factor": "shape", "other_facet": 1}
    needed = {"run": [], "facet": ["facet"], "factor": ["facet", "factor"]}
    for row in MEASURES.values():
        of = {name: places[name] for name in needed.get(row.level, ["facet", "other_facet"])}
        if row.function is None and row.name != "elbo":
            with pytest.raises(ValueError, match="unknown measure"):
                Criterion(measure=row.name, **of)
            continue
        mode = {} if row.more_is_better is not None else {"mode": "min"}
        objective = Criterion(measure=row.name, **of, **mode)
        assert objective.mode == ("max" if row.more_is_better else "min")
        assert row.title in str(objective)
    with pytest.raises(ValueError, match="mode"):
        Criterion(measure="occupied_clusters", facet=0)
