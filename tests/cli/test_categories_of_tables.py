"""Columns of text that commands train on: from a table to named categories in what is found."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import mfcvae

from benchmarks.kills import contents
from pyro_mfcvae.config import override
from pyro_mfcvae.explore import open_run
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train

QUICK = ["--set", "training.epochs_per_step=[2]", "--set", "training.device=cpu"]
NAMED = ["--labels", "sort", "--categories", "city,member"]
CITIES = ["Bern", "Oslo", "Rome"]
KINDS = ["real", "categorical:3", "categorical:2", "count"]

pytestmark = pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.DataWarning")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table, whose cities follow groups, and a run that was fitted to it."""
    folder = tmp_path_factory.mktemp("categories")
    rng = np.random.default_rng(0)
    group = rng.integers(3, size=90)
    city = np.array(CITIES, dtype=object)[group]
    city[::10] = None
    table = pd.DataFrame(
        {
            "age": rng.normal([20, 40, 60], 3, (90, 3))[np.arange(90), group],
            "city": city,
            "member": np.where(rng.random(90) < 0.5, "yes", "no"),
            "visits": rng.poisson(3, 90),
            "sort": np.array(["a", "b", "c"])[group],
        }
    )
    table.to_csv(folder / "mine.csv", index=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        mfcvae("fit", "mine.csv", *NAMED, "--facets", "3,2", "--starts", 1, "--out", "run", *QUICK)
    return folder


@pytest.fixture(autouse=True)
def _own_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)


def test_a_fit_trains_on_them(folder):
    run = Run("run")
    assert run.config.model.likelihood.options["kinds"] == KINDS
    assert run.feature_names() == ("age", "city", "member", "visits")
    assert run.categories() == {"city": CITIES, "member": ["no", "yes"]}
    assert list(run.evaluation().facets[0].factors) == ["sort"]


def test_new_rows_get_the_clusters_of_the_old_ones(folder):
    expected = Path("run/assign.csv").read_text().splitlines()
    table = pd.read_csv("mine.csv")
    table[["visits", "city", "sort", "age", "member"]][40:].to_csv("turned.csv", index=False)
    found = mfcvae("assign", "run", "turned.csv").stdout.splitlines()
    assert [line.split(",")[1:] for line in found[1:]] == [
        line.split(",")[1:] for line in expected[41:]
    ]
    table.assign(city="Paris").to_csv("new.csv", index=False)
    told = mfcvae("assign", "run", "new.csv", status=1).output
    assert "'city' has 'Paris' in row 0, which fitting has not seen" in told


def test_what_is_shown_has_their_texts(folder):
    explored = open_run("run")
    content = explored.content()
    assert content["columns"] == ["age", "city", "member", "visits"]
    assert content["categories"] == [None, tuple(CITIES), ("no", "yes"), None]
    apart = " ".join(c["apart"] for facet in content["facets"] for c in facet["clusters"])
    assert "city=" in apart
    x, held_out = pd.read_csv("mine.csv"), explored.dataset.test.tolist()
    rows = list(csv.DictReader(io.StringIO(explored.table([0, 1, 2, 3]).decode())))
    expected = x["city"].fillna("")[held_out[:4]].tolist()
    assert [row["city"] for row in rows] == expected
    pictures = look(Run("run"), explored.dataset).pictures
    assert pictures.columns[1] == "city (Bern, Oslo, Rome)"
    assert (pictures.low[1], pictures.high[1]) == (0, 2)


def test_the_report_says_what_sets_clusters_apart(folder):
    """Differences of means are those of pandas."""
    run = Run("run")
    rows = run.dataset().test.numpy()
    clusters = pd.read_csv("run/assign.csv")["facet_0"][rows]
    found = run.evaluation().facets[0].clusters
    assert [each.size for each in found] == clusters.value_counts().tolist()
    table = pd.read_csv("mine.csv").iloc[rows]
    page = Path("run/report.html").read_text()
    for each in found:
        own = clusters == each.cluster
        for name, value in each.apart.items():
            name, _, text = name.partition("=")
            column = table[name]
            if text:
                column = (column == text).where(column.notna()).astype(float)
            expected = (column[own].mean() - column.mean()) / column.std(ddof=0)
            assert value == pytest.approx(expected, rel=1e-4)
        told = ", ".join(f"{name} {value:+.1f}" for name, value in each.apart.items())
        assert told in page.replace("&#43;", "+")


def test_a_copy_keeps_them(folder, tmp_path):
    copy = Run("run").export(tmp_path / "copy")
    assert copy.categories() == Run("run").categories()
    # as of runs from before there were categories
    (copy.path / "columns.json").write_text('["age", "city", "member", "visits"]\n')
    assert (len(copy.feature_names()), copy.categories()) == (4, {})


def test_a_training_takes_kinds_from_the_data(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: None)
    words = ["train", "--data", "mine.csv", *NAMED, "--facets", "2:3", *QUICK]
    mfcvae(*words, "--out", tmp_path / "one")
    one = Run(tmp_path / "one").config.model.likelihood
    assert (one.name, one.options["kinds"], one.options["missing"]) == ("columns", KINDS, True)
    own = ["--set", "model.likelihood=columns", "--set", "model.likelihood.options.min_scale=0.1"]
    words = ["train", "--data", "mine.csv", "--labels", "sort,city,member", *own, *QUICK]
    mfcvae(*words, "--facets", "2:3", "--out", tmp_path / "own")
    options = Run(tmp_path / "own").config.model.likelihood.options
    assert (options["kinds"], options["min_scale"]) == (["real", "count"], 0.1)
    told = mfcvae("train", "--set", "model.likelihood=columns", status=2).output
    assert "likelihood columns is for tables" in told


def test_data_in_the_place_of_a_preset_are_recognised(folder):
    assert "--data mine.csv" in mfcvae("train", "mine.csv", status=2).output


def test_a_resumed_training_ends_as_an_uninterrupted_one(folder, tmp_path):
    config = override(Run("run").config, ["training.checkpoint_every=1"])
    whole, _, _ = train(config, tmp_path / "whole/run")
    stopped, _, _ = train(config, tmp_path / "stopped/run")
    shutil.rmtree(stopped.checkpoint().path)  # as if the last epoch had not come to its end
    assert stopped.step() < whole.step()
    resume(stopped)
    assert contents(stopped.path) == contents(whole.path)


def test_a_sweep_goes_on_from_such_a_run(folder, tmp_path):
    spec = {
        "base": "run/config.json",
        "seeds": 1,
        "grid": {"training.learning_rate": [0.001, 0.002]},
    }
    Path("sweep.json").write_text(json.dumps(spec))
    mfcvae("sweep", "sweep.json", "--out", tmp_path / "sweep")
    runs = sorted((tmp_path / "sweep").glob("**/columns.json"))
    assert len(runs) == 2
    assert all(Run(path.parent).categories() == Run("run").categories() for path in runs)
