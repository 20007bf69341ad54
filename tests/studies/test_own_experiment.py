"""The experiment of CONTRIBUTING.md: one registration, and it is listed, run and shown."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner
from models import tiny_config
from own_files import recipe

from pyro_mfcvae import presets
from pyro_mfcvae.cli import main
from pyro_mfcvae.studies import papers


@pytest.fixture
def names(monkeypatch):
    """What the recipe's file has, of a tiny preset."""
    before, names = dict(papers.EXPERIMENTS), {"__name__": "mine"}
    with monkeypatch.context() as patched:
        tiny = presets.Preset(tiny_config(), "", "", "")
        patched.setattr(presets, "get_preset", lambda name: tiny)
        exec(recipe("An experiment"), names)
    yield names
    papers.EXPERIMENTS.clear()
    papers.EXPERIMENTS.update(before)


def test_it_is_listed_run_and_shown_beside_the_published_numbers(names, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = CliRunner().invoke
    listed = run(main, ["reproduce"]).output
    assert "covariances" in listed
    assert "a paper, Table 3" in listed
    assert "covariances" in run(main, ["reproduce", "nothing"]).output
    done = run(main, ["reproduce", "covariances", "--quick", "--set", "training.log_every=1"])
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "reproduced").glob("covariances-quick*")
    results = json.loads((folder / "results.json").read_text())
    page = (folder / "table.md").read_text()
    assert [line["row"] for line in results["table"]] == ["covariance diagonal", "covariance full"]
    for line, published in zip(results["table"], names["PUBLISHED"].values(), strict=True):
        (run_,) = (r for r in results["runs"] if r["arm"] == line["arm"])
        assert line["values"] == {"0": run_["facets"][1]["floor_hue"]["majority_accuracy"]}
        assert line["published"] == published
        assert published in page
        assert f"{100 * line['mean']:.2f}" in page
    assert "a remark" in results["notes"]
    assert results["figures"] == ["covariances-elbo.png"]
    assert (folder / "covariances-elbo.png").stat().st_size > 5000
