"""Every example runs."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ROOT
from models import tiny_config

from pyro_mfcvae.config import config_to_dict

EXAMPLES = sorted(path.stem for path in (ROOT / "examples").glob("*.py"))


def _load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_all_examples_are_tested():
    assert EXAMPLES == ["own_likelihood", "plain_pyro", "seeds"]


def test_own_likelihood():
    losses = _load("own_likelihood").main(40)
    assert losses[-1] < 0.7 * losses[0]


def test_plain_pyro():
    losses = _load("plain_pyro").main(60)
    assert set(losses) == {"vade", "enumerate"}
    for curve in losses.values():
        assert curve[-1] < curve[0]


def test_seeds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = _load("seeds")
    tiny = config_to_dict(tiny_config())
    options = [f"--set={part}={json.dumps(tiny[part])}" for part in ("data", "model", "training")]
    arguments = ["shapes", "--n-seeds", "2", *options, "--out", "results/tiny.json"]
    result = CliRunner().invoke(module.main, arguments)
    assert result.exit_code == 0, result.output
    report = json.loads(Path("results/tiny.json").read_text())
    values = [run["facets"][1]["factors"]["shape"]["nmi"] for run in report["runs"]]
    assert report["facets"][1]["shape"]["nmi"]["mean"] == pytest.approx(sum(values) / 2)
    assert [run["seed"] for run in report["runs"]] == [0, 1]
    again = CliRunner().invoke(module.main, arguments)
    assert again.exit_code == 0
    assert json.loads(Path("results/tiny.json").read_text())["runs"] == report["runs"]
