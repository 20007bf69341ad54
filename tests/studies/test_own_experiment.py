"""An experiment of one's own: one file with one registration, found everywhere."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from models import tiny_config

from pyro_mfcvae import figures
from pyro_mfcvae.cli import main
from pyro_mfcvae.config import override
from pyro_mfcvae.studies import papers
from pyro_mfcvae.studies.papers import Arm, Experiment, accuracy

# The experiment, as it would stand in a file.

PUBLISHED = {"diagonal": "90.1 (2.0), 5 seeds", "full": "95.2 (1.0), 5 seeds"}
EPOCHS = {"full": 40, "reduced": 8, "quick": 2}


def arms(scale):
    base = override(tiny_config(), [f"training.epochs_per_step=[1,{EPOCHS[scale]}]"])
    return [
        Arm(kind, override(base, [f"model.facets.1.covariance={kind}"]), "scenes", {"floor_hue": 1})
        for kind in PUBLISHED
    ]


def numbers(arm):
    for factor, facet in arm.facets.items():
        yield accuracy(arm, factor, facet, f"covariance {arm.label}", PUBLISHED[arm.label])


def draw(experiment, outcomes):
    curves = {o.arm.label: [o.over_steps("elbo")] for o in outcomes}
    yield "covariances-elbo", figures.term_over_steps(curves, "ELBO", {}, experiment.title)


OWN = Experiment(
    name="covariances",
    title="full and diagonal covariances",
    source="a paper, Table 3",
    n_seeds=papers.seeds(5, 2, 1),
    arms=arms,
    numbers=numbers,
    draw=draw,
    remarks=["a remark"],
)

# What comes of it.


@pytest.fixture
def registered():
    before = dict(papers.EXPERIMENTS)
    papers.register_experiments(OWN)
    yield
    papers.EXPERIMENTS.clear()
    papers.EXPERIMENTS.update(before)


def test_it_is_listed_run_and_shown_beside_the_published_numbers(registered, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    listed = run(main, ["reproduce"]).output
    assert "covariances" in listed
    assert OWN.source in listed
    assert "covariances" in run(main, ["reproduce", "nothing"]).output
    done = run(main, ["reproduce", "covariances", "--quick", "--set", "training.log_every=1"])
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "reproduced").glob("covariances-quick*")
    results = json.loads((folder / "results.json").read_text())
    page = (folder / "table.md").read_text()
    assert [line["row"] for line in results["table"]] == ["covariance diagonal", "covariance full"]
    for line, published in zip(results["table"], PUBLISHED.values(), strict=True):
        (run_,) = (r for r in results["runs"] if r["arm"] == line["arm"])
        assert line["values"] == {"0": run_["facets"][1]["floor_hue"]["majority_accuracy"]}
        assert line["published"] == published
        assert published in page
        assert f"{100 * line['mean']:.2f}" in page
    assert "a remark" in results["notes"]
    assert results["figures"] == ["covariances-elbo.png"]
    assert (folder / "covariances-elbo.png").stat().st_size > 5000
