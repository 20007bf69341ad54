"""A figure that is written in one file and registered once is found everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from models import tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.figures import RunFigure, Seen, left_out, register_figure, registry
from pyro_mfcvae.report import write_report
from pyro_mfcvae.runs.draw import draw_run
from pyro_mfcvae.runs.train import train


@dataclass(frozen=True)
class _Norms:
    norms: np.ndarray


class Norms(RunFigure[_Norms]):
    """How far the latents of a facet lie from 0."""

    heading = "Lengths of latents"
    shows = "how many held-out observations have latents of each length"
    per = ("facet",)

    def fits(self, seen: Seen, facet: int) -> str | None:
        return "nobody asked for it" if facet == 1 else None

    def compute(self, seen: Seen, facet: int) -> _Norms:
        return _Norms(np.linalg.norm(seen.predictions.z_mean[facet], axis=1))

    def draw(self, result: _Norms) -> Figure:
        figure = Figure(figsize=(4, 3))
        figure.subplots().hist(result.norms)
        return figure

    def details(self, seen: Seen, facet: int) -> list[str]:
        return [f"There are {len(seen.x)} of them."]


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setattr(registry, "_FIGURES", dict(registry._FIGURES))
    register_figure("norms")(Norms)


@pytest.mark.usefixtures("registered")
def test_a_figure_of_ones_own_is_found_everywhere(tmp_path):
    run = train(tiny_config(**{"training.epochs_per_step": "[1,1]"}), tmp_path / "run")[0]
    said: list[str] = []
    drawn = {path.stem for path in draw_run(run, say=said.append)}
    assert "norms-facet-0" in drawn
    assert "norms-facet-1" not in drawn
    assert said == ["norms-facet-1 is left out: nobody asked for it"]
    assert left_out(run.figures) == {"norms-facet-1": "nobody asked for it"}
    page = Path(write_report([run.path])).read_text()
    caption = (
        "Facet 0: how many held-out observations have latents of each length. There are 19 of them."
    )
    assert f"<strong>Lengths of latents.</strong> {caption}" in page
    assert f'alt="run, lengths of latents. {caption}' in page
    assert "There is no figure of the lengths of latents: nobody asked for it." in page
    shown = CliRunner().invoke(main, ["figures", "--help"], prog_name="mfcvae").output
    assert "norms" in shown
    assert "Lengths of latents: how many held-out observations" in " ".join(shown.split())
