"""A likelihood, a model and a guide, each one file with one registration, appear everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from own_files import TINY, forget_all, mfcvae, nothing_loaded, write_data, write_sweep

from pyro_mfcvae.runs.run import Run

LIKELIHOOD = '''
import pyro.distributions as dist
from torch import nn

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.nets.registry import register_likelihood


@register_likelihood("laplace")
class Laplace(nn.Module):
    """x_i ~ Laplace(h_i, scale), which forgives outliers."""

    def __init__(self, scale: float = 0.3) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, h, event_dim):
        return dist.Laplace(h, self.scale).to_event(event_dim)

    def check(self, observation):
        """Any real numbers will do."""
'''
MODEL = '''
from pyro_mfcvae import MFCVAE
from pyro_mfcvae.models import register_model


@register_model("halved")
class Halved(MFCVAE):
    """Latents are halved before they are decoded."""

    def decode(self, zs):
        return super().decode([z / 2 for z in zs])
'''
GUIDE = '''
from pyro_mfcvae.guides import ClosedFormGuide, register_guide


@register_guide("Sharper")
class Sharper(ClosedFormGuide):
    """Twice as sure of c as the best guide."""

    def over_samples(self, log_responsibilities):
        return 2 * log_responsibilities.mean(0)
'''


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
    Path("mine.py").write_text(LIKELIHOOD)
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
    Path("mine.py").write_text(MODEL)
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
    Path("mine.py").write_text(GUIDE)
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
