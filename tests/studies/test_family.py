"""The experiment that puts all models beside each other."""

from __future__ import annotations

import pytest

from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.studies.papers import SCALES, Request, get_experiment, reproduce

SCENES = ("mfcvae", "vade", "vlac", "gm-dgm", "vlae", "gmvae", "ugvae", "mlvae", "betavae")


@pytest.mark.parametrize("scale", SCALES)
def test_models_on_scenes_train_equally_long_with_the_same_likelihood(scale):
    arms = [a for a in get_experiment("family").arms(scale) if a.label.startswith("scenes-")]
    assert [arm.label for arm in arms] == [f"scenes-{name}" for name in SCENES]
    first = arms[0].config
    for config in (arm.config for arm in arms):
        assert config.training.n_epochs == first.training.n_epochs
        assert config.training.batch_size == first.training.batch_size
        assert config.training.learning_rate == first.training.learning_rate
        assert (config.data, config.model.likelihood) == (first.data, first.model.likelihood)


@pytest.mark.parametrize("arm", get_experiment("family").arms("quick"), ids=lambda arm: arm.label)
def test_every_guide_fits_its_model(arm):
    model = build_model(arm.config.model, ObservationSpec((3, 16, 16)))
    assert not model.guide(arm.config.guide.name).misfit(model)


def test_only_facets_with_clusters_are_judged():
    experiment = get_experiment("family")
    rows = {entry.row for entry in experiment.entries(experiment.arms("quick"))}
    judged = {row for row in rows if "facet" in row}
    assert judged == {
        "MFCVAE, facet 0",
        "MFCVAE, facet 1",
        "VaDE, facet 0",
        "VLAC, facet 0",
        "VLAC, facet 1",
        "GM-DGM, facet 0",
        "GMVAE, facet 0",
        "UG-VAE, facet 0",
    }
    assert rows - judged == {
        "MFCVAE",
        "VaDE",
        "VLAC",
        "GM-DGM",
        "VLAE",
        "GMVAE",
        "UG-VAE",
        "ML-VAE",
        "beta-VAE, beta = 4",
    }


def test_two_of_the_family_from_beginning_to_end(tmp_path):
    labels = ["scenes-vade", "scenes-betavae"]
    short = ["training.epochs_per_step=1", "training.evaluate_every=0"]
    request = Request("quick", only=labels, assignments=short, out=tmp_path, device="cpu")
    results, folder = reproduce(get_experiment("family"), request)
    assert results["figures"] == ["family-scenes.png"]
    assert (folder / "family-scenes.png").stat().st_size
    measured = {line["arm"]: line for line in results["table"] if "objective" in line["metric"]}
    for run in results["runs"]:
        assert measured[run["arm"]]["values"] == {0: run["elbo"]["test"]}
