"""ONNX files say what ``predict`` says, in onnxruntime."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import ROOT
from models import SHAPE, small_model, tiny_config
from numpy.testing import assert_allclose
from variants import VARIANTS, random_model

from pyro_mfcvae import FacetClustering, VaDEClustering
from pyro_mfcvae.cli import main
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation import predict
from pyro_mfcvae.evaluation.onnx import to_onnx
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets import PRESETS
from pyro_mfcvae.pretrained import pretrained_models
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.testing.case import SHARED, ModelCase

runtime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

OF_DATA = {
    "arcs": (2,),
    "celeba": (3, 64, 64),
    "colored-mnist": (3, 28, 28),
    "fashion-mnist": (1, 28, 28),
    "mixed": (3, 32, 32),
    "mnist": (1, 28, 28),
    "shapes": (3, 16, 16),
    "shapes3d": (3, 32, 32),
    "svhn": (3, 32, 32),
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def outputs(path, x):
    """What onnxruntime computes, by the names of the outputs."""
    session = runtime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    x = np.asarray(x, {"tensor(float)": np.float32}.get(session.get_inputs()[0].type, np.float64))
    return dict(zip(names, session.run(None, {"x": x}), strict=True))


def assert_says(path, x, found, atol=1e-5):
    expected = {f"responsibilities_{j}": r for j, r in enumerate(found.responsibilities)}
    expected |= {f"z_mean_{j}": z for j, z in enumerate(found.z_mean)}
    given = outputs(path, x)
    assert [*given] == [*expected]
    for name, values in expected.items():
        assert_allclose(given[name], values, rtol=0, atol=atol, err_msg=name)


def assert_is_the_model(model, x, atol=1e-5):
    to_onnx(model, "model.onnx")
    for n in (1, len(x)):  # neither is the number of observations that it was traced with
        assert_says("model.onnx", x[:n], predict(model, x[:n]), atol)


@pytest.mark.slow
def test_two_facets_with_full_and_diagonal_covariances():
    model = small_model(covariance="full", posterior="autoregressive")
    model.facets[1] = small_model(covariance="diagonal").facets[1]
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    x = torch.rand(7, *SHAPE, dtype=torch.float64)
    assert_is_the_model(model, x)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert model.training


@pytest.mark.slow
@pytest.mark.parametrize("name", VARIANTS)
def test_models_of_the_examples(name):
    if name == "student_t_mixture":  # solves triangular systems, for which ONNX has no operator
        with pytest.raises(ConfigError, match="linalg_solve_triangular"):
            to_onnx(random_model(name), "model.onnx")
        return
    x = torch.randn(7, 5, dtype=torch.float64)
    x = x.exp().round() if name == "count_likelihoods" else x
    assert_is_the_model(random_model(name), x)


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset(name):
    config = PRESETS[name].config
    shape = OF_DATA[config.data.name]
    model = build_model(config.model, ObservationSpec(shape, 0.0, 1.0), config.guide)
    assert_is_the_model(model, torch.rand(7, *shape))


@pytest.mark.slow
def test_the_trained_model_of_the_library(mnist_folder):
    run = pretrained_models()["mnist"]
    x = run.dataset(mnist_folder).split("test")[0][:500].float() / 255
    assert_is_the_model(run.model(), x)


@pytest.mark.slow
def test_rows_that_share_a_latent_are_one_group():
    case = type("Case", (ModelCase,), {"name": "ugvae", "facets": "2:3,2:1", "networks": SHARED})()
    model = case.build()
    assert_is_the_model(model, torch.randn(7, 2, dtype=torch.float64))


@pytest.mark.slow
def test_an_estimator_takes_rows_in_their_units_with_gaps_and_categories():
    random = np.random.default_rng(0)
    n = 80
    x = np.stack([random.normal(1e6, 10, n), random.integers(0, 3, n), random.normal(size=n)], 1)
    x[::7, 2] = np.nan
    few = {"max_steps": 20, "n_init": 1, "random_state": 0}
    model = FacetClustering((3, 2), **few).fit(x)
    assert model.to_onnx("rows.onnx").name == "rows.onnx"
    assert_says("rows.onnx", x, model.seen(x))
    onnx = pytest.importorskip("onnx")
    (kept,) = onnx.load("rows.onnx").metadata_props
    assert (kept.key, json.loads(kept.value)) == ("columns", ["x0", "x1", "x2"])


@pytest.mark.slow
def test_an_estimator_takes_pictures():
    x = np.random.default_rng(0).integers(0, 255, size=(40, 1, 8, 8)).astype(np.uint8)
    few = {"max_steps": 5, "n_init": 1, "random_state": 0}
    networks = {"model.encoder": {"name": "conv-ladder", "options": {"channels": 4}}}
    for settings in ({}, networks):
        model = VaDEClustering(3, settings=settings, **few).fit(x)
        model.to_onnx("pictures.onnx")
        assert_says("pictures.onnx", x, model.seen(x))


def test_a_run_is_written_from_the_command_line():
    run, _, dataset = train(tiny_config(**{"training.epochs_per_step": "[1]"}), "run")
    result = CliRunner().invoke(main, ["export", "run", "--onnx", "run.onnx"])
    assert (result.exit_code, result.output) == (0, "run.onnx\n")
    assert str(ROOT).encode() not in Path("run.onnx").read_bytes()  # no folder of this machine
    x = dataset.x[:5].float() / 255
    for n in (1, 5):
        assert_says("run.onnx", x[:n], predict(run.model(), x[:n]))
    for words in (["export", "run"], ["export", "run", "--half", "--onnx", "run.onnx"]):
        told = CliRunner().invoke(main, words)
        assert told.exit_code == 2
        assert "--onnx FILE" in told.output


def test_what_cannot_be_written_ends_in_one_message(monkeypatch):
    model = small_model()
    monkeypatch.setattr(type(model), "assign", lambda self, x, zs: zs[0].tolist())
    with pytest.raises(ConfigError, match="MFCVAE cannot be written as ONNX"):
        to_onnx(model, "model.onnx")
    monkeypatch.setattr("pyro_mfcvae.evaluation.onnx.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"pyro_mfcvae\[onnx\]"):
        to_onnx(model, "model.onnx")
