"""The likelihood, model and guide of CONTRIBUTING.md, each registered once, appear everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from own_files import TINY, forget_all, mfcvae, nothing_loaded, recipe, write_data, write_sweep

from pyro_mfcvae.runs.run import Run


def _train(*given: str, out: str = "run") -> Run:
    done = mfcvae("train", *TINY, *given, "--out", out)
    assert done.exit_code == 0, done.output
    return Run(out)


def _listed(kind: str, *given: str) -> str:
    result = mfcvae("parts", kind, *given)
    assert result.exit_code == 0, result.output
    return result.output


def _error(*given: str) -> str:
    result = mfcvae("train", *TINY, *given, "--out", "refused")
    assert result.exit_code == 2
    assert not Path("refused").exists()
    return " ".join(result.output.split())


def _page(run: Run, *given: str) -> str:
    result = mfcvae("report", str(run.path), *given)
    assert result.exit_code == 0, result.output
    return (run.path / "report.html").read_text()


def _sweep(path: str, values: list[str], *given: str) -> set[str]:
    """What the trials are told apart by in the table of a sweep that was run."""
    spec = write_sweep(seeds=1)
    spec["set"].pop(path, None)
    Path("sweep.json").write_text(json.dumps({**spec, "grid": {path: values}}))
    result = mfcvae("sweep", "sweep.json", *given, "--out", "swept")
    assert result.exit_code == 0, result.output
    trials = json.loads(Path("swept/sweep.json").read_text())["trials"]
    assert {trial["state"] for trial in trials} == {"finished"}, trials
    return {value for value in values if value in result.output}


@pytest.fixture(autouse=True)
def _new_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: [])
    write_data(tmp_path)
    with nothing_loaded():
        yield


def test_a_likelihood():
    Path("mine.py").write_text(recipe("A likelihood"))
    given, named = ("--model", "mine.py:MFCVAE"), ("--set", "model.likelihood=laplace")
    assert "laplace" not in _listed("likelihood")
    run = _train(*given, *named, "--set", "model.likelihood.options.scale=0.5")
    assert run.model().likelihood.scale == 0.5
    assert "laplace: x_i ~ Laplace(h_i, scale)" in _listed("likelihood")
    assert "laplace" in _error("--set", "model.likelihood=cauchy")
    assert "option width" in _error(*named, "--set", "model.likelihood.options.width=1")
    assert "laplace" in _page(run)
    values = ["gaussian", "laplace"]
    assert _sweep("model.likelihood", values, *given) == set(values)
    forget_all()
    assert "laplace" in _listed("likelihood", *given)


def test_a_model():
    Path("mine.py").write_text(recipe("A model"))
    given = ("--model", "mine.py:Halved")
    run = _train(*given)
    assert type(run.model()).__name__ == "Halved"
    assert "halved: Latents are halved" in _listed("model")
    assert "halved" in _error("--model", "doubled")
    page = _page(run)
    assert "Halved" in page
    assert "--model path/to/mine.py:Halved" in page
    assert _train("--model", "halved", out="named").config.model.source is None
    values = ["mfcvae", "halved"]
    assert _sweep("model.name", values) == set(values)


def test_a_guide():
    Path("mine.py").write_text(recipe("A guide"))
    given = ("--guide", "mine.py:Sharper")
    run = _train(*given)
    assert "Sharper: Twice as sure of c" in _listed("guide")
    assert "Sharper" in _error("--guide", "blunter")
    page = _page(run)
    assert "--guide path/to/mine.py:Sharper" in page
    few = ("--samples", "3", "--n-draws", "2", "--n-observations", "6")
    compared = mfcvae("compare", "run", *few)
    assert compared.exit_code == 0, compared.output
    elbos = {row.guide: row.elbo for row in run.comparison().guides}
    assert elbos["vade"] > elbos["Sharper"]
    assert "Sharper" in compared.output
    values = ["vade", "Sharper"]
    assert _sweep("guide.name", values) == set(values)
    forget_all()
    shutil.rmtree("swept")
    assert "Sharper" in _listed("guide", *given)
