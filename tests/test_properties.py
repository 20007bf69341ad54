"""What holds for all settings, schedules, partitions and files: hypothesis looks for exceptions."""

from __future__ import annotations

import functools
import json
import math
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models import tiny_config

from pyro_mfcvae.config import Config, config_from_json, config_to_json, override, parse_clusters
from pyro_mfcvae.data.formats import find_format
from pyro_mfcvae.errors import ConfigError, DataError, RunError
from pyro_mfcvae.evaluation import accuracies
from pyro_mfcvae.inference.fade_in import FadeInSchedule
from pyro_mfcvae.training.callbacks import read_metrics, read_timings
from pyro_mfcvae.training.schedules import kl_scale, learning_rate

ALWAYS = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
CONFIG = tiny_config()
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
PATHS = st.sampled_from(
    ["seed", "training", "training.batch_size", "training.learning_rate", "model.facets.0", "a.b"]
)
LABELS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30)


@ALWAYS
@given(
    st.lists(st.integers(0, 20), min_size=1, max_size=4),
    st.integers(0, 30),
    st.sampled_from(["linear", "cosine"]),
)
def test_facets_fade_in_one_after_the_other(stages, n_fade_in, shape):
    schedule = FadeInSchedule(tuple(stages), n_fade_in, shape)
    curves = np.array([schedule(step) for step in range(sum(stages) + n_fade_in + 1)])
    assert ((curves >= 0) & (curves <= 1)).all()
    assert (curves[:, -1] == 1).all()
    assert (np.diff(curves, axis=1) >= 0).all()  # the deeper, the earlier
    for j in range(len(stages)):
        first = schedule.full_from(j)
        assert (curves[first:, j] == 1).all()


@ALWAYS
@given(
    st.sampled_from(["constant", "cosine", "step"]),
    st.integers(0, 50),
    st.floats(1e-6, 1.0),
    st.floats(0.0, 1.0),
    st.tuples(st.integers(0, 5), st.integers(5, 9)),
)
def test_rates_and_weights_stay_within_their_ends(schedule, warm_up, decay, start, epochs):
    changes = {
        "learning_rate_schedule": schedule,
        "learning_rate_warm_up": warm_up,
        "learning_rate_decay": decay,
        "kl_start": start,
        "kl_warm_up": list(epochs),
    }
    training = override(CONFIG, [f"training.{k}={json.dumps(v)}" for k, v in changes.items()])
    training = training.training
    rates = [learning_rate(training, 1e-3, step, 100, 10) for step in range(100)]
    assert all(0 <= rate <= 1e-3 for rate in rates)
    weights = [kl_scale(training, step, 10) for step in range(101)]
    assert all(math.isclose(w, max(w, start)) and w <= 1 for w in weights)
    assert weights == sorted(weights)
    assert weights[-1] == 1


@ALWAYS
@given(LABELS, st.permutations(range(5)))
def test_agreement_does_not_depend_on_the_names_of_clusters(pairs, names):
    labels, clusters = map(np.array, zip(*pairs, strict=True))
    renamed = np.array(names)[clusters]
    for name in (
        "majority_accuracy",
        "hungarian_accuracy",
        "class_weighted_accuracy",
        "normalized_mutual_information",
        "adjusted_rand_index",
        "homogeneity",
        "redundancy",
    ):
        measure = getattr(accuracies, name)
        assert measure(labels, clusters) == pytest.approx(measure(labels, renamed), abs=1e-12)
        assert measure(labels, clusters) <= 1 + 1e-12
        assert measure(labels, labels.copy()) == pytest.approx(1)
    assert accuracies.majority_accuracy(labels, clusters) >= accuracies.hungarian_accuracy(
        labels, clusters
    )
    assert accuracies.redundancy(labels, clusters) == pytest.approx(
        accuracies.redundancy(clusters, labels)
    )


def _or_refused(error, act):
    """What comes of it, or None if it is refused; any other exception is a fault."""
    try:
        return act()
    except error:
        return None


@ALWAYS
@given(PATHS | st.text(max_size=20), st.text(max_size=20) | JSON.map(json.dumps))
def test_any_assignment_is_a_setting_or_refused(path, value):
    changed = _or_refused(ConfigError, lambda: override(CONFIG, [f"{path}={value}"]))
    assert changed is None or config_from_json(config_to_json(changed)) == changed


@ALWAYS
@given(PATHS, JSON)
def test_any_settings_file_is_a_config_or_refused(path, value):
    values = json.loads(config_to_json(CONFIG))
    *parents, last = path.split(".")
    part = values
    for key in parents:
        part = part[int(key)] if isinstance(part, list) else part.setdefault(key, {})
    part[int(last) if isinstance(part, list) else last] = value
    found = _or_refused(ConfigError, lambda: config_from_json(json.dumps(values)))
    assert found is None or isinstance(found, Config)


@ALWAYS
@given(st.text(max_size=12) | st.from_regex(r"[0-9:,\-]{1,9}", fullmatch=True))
def test_any_text_gives_clusters_or_is_refused(text):
    found = _or_refused(ConfigError, lambda: parse_clusters(text))
    if found is not None:
        clusters, latents = found
        assert min(clusters) >= 1
        assert latents is None or len(latents) == len(clusters)


@ALWAYS
@given(st.binary(max_size=60) | JSON.map(lambda values: json.dumps(values).encode()))
def test_any_file_of_a_run_is_read_or_refused(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    for read in (read_metrics, read_timings):
        found = _or_refused(RunError, functools.partial(read, path))
        assert found is None or isinstance(found, list)


@ALWAYS
@given(st.binary(max_size=80) | st.text("ab1.,;\"'\n\t<€", max_size=60).map(str.encode))
def test_any_table_is_read_or_refused(tmp_path, content):
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = _or_refused(DataError, lambda: find_format(path).read(path))
    assert found is None or np.asarray(found["x"]).ndim == 2
