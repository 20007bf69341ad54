"""Facets without clusters, in sweeps and figures, and what commands say of models."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks import Request
from pyro_mfcvae import evaluation
from pyro_mfcvae.cli import main
from pyro_mfcvae.config import with_facets
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.figures.agreement import Agreement, AgreementMatrices
from pyro_mfcvae.figures.latents import Latents, LatentSpace
from pyro_mfcvae.figures.weights import MixtureWeights, WeightsFigure
from pyro_mfcvae.guides import GUIDES
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.studies.sweep.objective import Criterion


def _mfcvae(*arguments: str):
    return CliRunner().invoke(main, arguments, prog_name="mfcvae")


def test_every_guide_is_listed():
    text = _mfcvae("parts", "guide").output
    assert all(f"  {name}: " in text for name in GUIDES)
    assert "mfcvae parts guide" in " ".join(_mfcvae("train", "--help").output.split())


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            ["model.name=vlac", "guide.name=amortized", "model.options.max_combinations=9999"],
            "MFCVAE's story with independent facets, got another (VLAC)",
        ),
        (["model.options.posterior=autoregressive"], "got another (MFCVAE)"),
    ],
)
def test_the_hand_written_step_is_of_one_story(changed, message):
    options = [word for change in changed for word in ("--set", change)]
    result = _mfcvae("bench", "shapes", "--only", "steps", *options)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    Request(presets=("shapes",), parts=("scans",), assignments=changed).check()


def test_a_sweep_is_not_judged_by_a_facet_without_clusters():
    config = with_facets(get_preset("shapes").config, "2:3,2:1")
    labelled = SimpleNamespace(labels={"kind": None}, test=range(2))
    Criterion(measure="nmi", facet=0, factor="kind").check(config, labelled)
    with pytest.raises(ConfigError, match="facet 1, which has one cluster only and so no cluster"):
        Criterion(measure="nmi", facet=1, factor="kind").check(config, labelled)


def test_figures_of_facets_without_clusters():
    empty = np.array([[0.5], [np.nan]])
    axes = Agreement().draw(AgreementMatrices({"nmi": empty}, ["kind"], [3, 1])).axes[0]
    assert [text.get_text() for text in axes.texts] == ["50.0"]
    weights = WeightsFigure().draw(MixtureWeights({3: np.zeros(4, int)}, {3: np.ones(2) / 2}))
    assert weights.axes[0].get_title(loc="left").startswith("facet 3: ")
    z = np.random.default_rng(0).normal(size=(20, 2))
    one = evaluation.project(z, np.zeros((1, 2)), np.eye(2)[None])
    clusters, labels = np.zeros(20, int), np.arange(20) % 2
    shown = Latents().draw(LatentSpace(one, clusters, labels, "kind", ["a", "b"]))
    assert [axes.get_title() for axes in shown.axes] == ["colour: kind"]
    alone = Latents().draw(LatentSpace(one, clusters))
    assert [axes.get_title() for axes in alone.axes] == ["colour: cluster"]
