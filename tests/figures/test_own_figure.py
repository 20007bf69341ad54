"""The figure of CONTRIBUTING.md, which is registered once, is found everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from models import tiny_config
from own_files import recipe

from pyro_mfcvae.cli import main
from pyro_mfcvae.figures import read_reasons, registry
from pyro_mfcvae.report import write_report
from pyro_mfcvae.runs.draw import draw_run
from pyro_mfcvae.runs.train import train


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_FIGURES", dict(registry._FIGURES))
    exec(recipe("A figure"), {"__name__": "mine"})


@pytest.mark.usefixtures("registered")
def test_a_figure_of_ones_own_is_found_everywhere(tmp_path):
    changes = {"training.epochs_per_step": "[1,1]", "model.facets.1.latent_dim": "1"}
    run = train(tiny_config(**changes), tmp_path / "run")[0]
    said: list[str] = []
    drawn = {path.stem for path in draw_run(run, say=said.append)}
    assert "lengths-facet-0" in drawn
    assert "lengths-facet-1" not in drawn
    assert said == ["lengths-facet-1 is left out: the latent has one dimension"]
    assert read_reasons(run.figures) == {"lengths-facet-1": "the latent has one dimension"}
    page = Path(write_report([run.path])).read_text()
    caption = (
        "Facet 0: how many held-out observations have latents of each length. There are 19 of them."
    )
    assert f"<strong>Lengths of latents.</strong> {caption}" in page
    assert f'alt="run, lengths of latents. {caption}' in page
    assert "There is no figure of the lengths of latents: the latent has one dimension." in page
    shown = CliRunner().invoke(main, ["figures", "--help"], prog_name="mfcvae").output
    assert "lengths" in shown
    assert "Lengths of latents: how many held-out observations" in " ".join(shown.split())
