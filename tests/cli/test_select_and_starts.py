"""Several starts of a fit, and the choice of facets and clusters, from the command line."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from command_line import mfcvae

from pyro_mfcvae.evaluation.predictions import elbo_of_rows
from pyro_mfcvae.inference.noise import start_seeds
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.studies import execution, many_runs
from pyro_mfcvae.training.callbacks import MetricsLog

QUICK = ["--set", "training.epochs_per_step=[3]", "--set", "training.device=cpu"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("select")
    rng = np.random.default_rng(0)
    x = 4 * rng.integers(2, size=(80, 1)) + rng.normal(size=(80, 3))
    pd.DataFrame(x, columns=["a", "b", "c"]).to_csv(folder / "mine.csv", index=False)
    return folder


@pytest.fixture(autouse=True)
def _own_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)


def held_out(run):
    return elbo_of_rows(run.model(), run.dataset().split("test")[0], "vade").mean()


def test_the_start_with_the_best_held_out_elbo_becomes_the_run():
    told = json.loads(
        mfcvae("fit", "mine.csv", "--facets", "2:3,1:2", "--starts", 3, "--json", *QUICK).stdout
    )
    run = Run(told["run"])
    assert run.path == Path("runs/mine-001")
    assert [(f.latent_dim, f.n_clusters) for f in run.config.model.facets] == [(2, 3), (1, 2)]
    starts = {name: held_out(Run(name)) for name in told["starts"]}
    assert {Run(name).config.seed for name in starts} == {*start_seeds(0, 3)}
    for name, elbo in told["starts"].items():
        np.testing.assert_allclose(elbo, starts[name], rtol=1e-6)
    np.testing.assert_allclose(held_out(run), max(starts.values()))
    assert len(told["stability"]) == 2
    assert len(pd.read_csv(told["assign"])) == 80


def test_an_interrupted_fit_goes_on_with_the_command_that_it_prints(monkeypatch):
    words = ["fit", "mine.csv", "--facets", "2,2", "--starts", "2", *QUICK]
    with monkeypatch.context() as patch:
        patch.setattr(MetricsLog, "on_step", _interrupt_at(2))
        stopped = mfcvae(*words, status=130)
    command = shlex.split(stopped.output.splitlines()[-1])
    assert command[:3] == ["mfcvae", "fit", "mine.csv"]
    folder = Path(command[command.index("--out") + 1])
    runs = sorted((folder / "runs").glob("mfcvae-*"))
    assert [Run(path).step() for path in runs] == [2, 2]
    told = json.loads(mfcvae(*command[1:], "--json").stdout)
    assert told["run"] == str(folder)
    whole = json.loads(mfcvae(*words, "--out", "whole", "--json").stdout)
    np.testing.assert_allclose([*told["starts"].values()], [*whole["starts"].values()], rtol=1e-5)
    assert str(folder) in mfcvae(*command[1:], status=2).stderr  # it is finished


def _interrupt_at(step):
    own = MetricsLog.on_step

    def on_step(self, state):
        own(self, state)
        state.interrupted = state.interrupted or state.step == step

    return on_step


def test_a_fit_without_starts_to_choose_from():
    result = mfcvae("fit", "mine.csv", "--facets", "2", "--starts", 1, "--out", "one", *QUICK)
    assert "start 1 has" not in result.output
    assert np.isfinite(held_out(Run("one")))
    Path("other").mkdir()
    for place in ("other", "one"):
        assert place in mfcvae("fit", "mine.csv", "--out", place, *QUICK, status=2).stderr


@pytest.mark.parametrize("words", [["--facets", "2,x"], ["--set", "training.learning_rate=-1"]])
def test_a_fit_that_cannot_be_leaves_no_folder(words, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert words[1].split("=")[0] in mfcvae("fit", folder / "mine.csv", *words, status=2).stderr
    assert not [*tmp_path.glob("runs/*")]


def test_select_ranks_candidates_and_repeats_nothing(monkeypatch):
    words = ["select", "mine.csv", "--facets", "2", "--facets", "2:3,1:2", "--starts", "2", *QUICK]
    shown = mfcvae(*words)
    folder = Path("selections/mine")
    told = json.loads((folder / "selection.json").read_text())
    assert told["recommendation"] in shown.output.replace("\n", " ")
    assert (folder / "candidates.png").stat().st_size > 10_000
    table = pd.read_csv(folder / "candidates.csv")
    assert {*table["candidate"]} == {"(2,)", "(3, 2)"}
    assert told["command"] in (folder / "selection.md").read_text()
    runs = [Run(path) for path in sorted((folder / "runs").glob("mfcvae-*"))]
    best = {len(run.config.model.facets): -np.inf for run in runs}
    for run in runs:
        n_facets = len(run.config.model.facets)
        best[n_facets] = max(best[n_facets], held_out(run))
    by_label = table.set_index("candidate")["elbo"]
    np.testing.assert_allclose(by_label[["(2,)", "(3, 2)"]], [best[1], best[2]], rtol=1e-6)

    with monkeypatch.context() as patch:
        patch.setattr(execution, "train_and_measure", None)  # nothing is left to train
        patch.setattr(many_runs, "train_together", None)
        again = json.loads(mfcvae(*words, "--json").stdout)
        assert mfcvae(*words, "-q").output == ""
    assert again["candidates"] == told["candidates"]

    fitted = json.loads(mfcvae(*shlex.split(told["command"])[1:], "--json").stdout)
    best = told["candidates"][0]
    np.testing.assert_allclose([*fitted["starts"].values()], best["starts"], rtol=1e-6)


def test_candidates_that_cannot_be_are_refused_before_any_training():
    for facets, word in (("3;2", "3;2"), ("0", "'0'"), ("1:3", "1:3")):  # which is what 3 becomes
        words = ["--facets", "3", "--facets", facets, "--out", "never"]
        assert word in mfcvae("select", "mine.csv", *words, status=2).stderr
    assert not Path("never").exists()
