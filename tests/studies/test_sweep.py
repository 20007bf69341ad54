"""Sweeps: training them in several ways, interrupting and repeating them, and what comes out."""

from __future__ import annotations

import json
import math
import multiprocessing
import os
import re
import signal
import statistics
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import ROOT
from models import tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import Component, config_to_json
from pyro_mfcvae.data.observations import random_split
from pyro_mfcvae.errors import ConfigError, DataError, NoEffectWarning
from pyro_mfcvae.evaluation import ON_TRAINING, adjusted_rand_index, elbo_means, predict
from pyro_mfcvae.evaluation.slow import HALVES
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.signals import Interrupted
from pyro_mfcvae.studies.engine import relocate
from pyro_mfcvae.studies.execution import InTurn, Processes
from pyro_mfcvae.studies.jobs import Watch
from pyro_mfcvae.studies.many_runs import AsOne, train_together
from pyro_mfcvae.studies.on_ray import OnRay
from pyro_mfcvae.studies.sweep import EXAMPLE, Sweep, read_spec, spec_from_dict
from pyro_mfcvae.studies.sweep.arms import make_arms
from pyro_mfcvae.studies.sweep.results import as_page
from pyro_mfcvae.training import Callback

RATE, SCALE = "training.learning_rate", "model.likelihood.options.scale"
WEIGHTS = "model.facets.0.learn_weights"
TOO_FAST = 1e30  # its objective is not finite after a few steps
FLOOR = {"measure": "nmi", "facet": 1, "factor": "floor_hue", "split": "train"}


@pytest.fixture
def base(tmp_path) -> str:
    """Settings of a second of work."""
    path = tmp_path / "base.json"
    path.write_text(config_to_json(tiny_config(**{"training.epochs_per_step": "[1,1]"})))
    return str(path)


def _runs(out: Path) -> list[Path]:
    return sorted(path for path in (out / "runs").iterdir() if path.is_dir())


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"base": "nowhere.json"}, ConfigError, r"base nowhere\.json cannot be used: .*No such"),
        ({"preset": "nothing"}, ConfigError, "unknown preset 'nothing'"),
        ({"set": {"training.rate": 1}}, ConfigError, "^set: unknown setting 'training.rate'"),
        ({"grid": {RATE: [0.1, -1]}}, ConfigError, "^learning_rate -1: .*greater than 0, got -1"),
        (
            {"grid": {"training.device": ["cpu", "auto"]}},
            ConfigError,
            "^device cpu and device auto are one model; vary what makes a difference",
        ),
        (
            {"grid": {"model.facets.1.n_clusters": [5, 100]}},
            ConfigError,
            "^n_clusters 100: a facet has 100 clusters but there are only",
        ),
        (
            {"objective": FLOOR | {"facet": 2}},
            ConfigError,
            "facet 2, but the model has facets 0 to 1",
        ),
        ({"objective": FLOOR | {"factor": "sky"}}, ConfigError, "'sky', but the data have only "),
        ({"objective": FLOOR | {"factor": "floor_hew"}}, ConfigError, "mean 'floor_hue'"),
        (
            {"set": {"data": {"name": "arcs", "options": {"n_train": 40, "n_test": 1}}}},
            ConfigError,
            "one half of the held-out observations",
        ),
        ({"set": {"data": {"name": "file", "options": {"path": "x.npz"}}}}, DataError, "x.npz"),
        (
            {"preset": "gmvae-shapes", "set": {WEIGHTS: True}},
            ConfigError,
            "^gmvae-shapes: learn_weights",
        ),
        (
            {"grid": {"model.name": ["mfcvae", "gmvae"]}, "set": {WEIGHTS: True}},
            ConfigError,
            "^model.name gmvae: ",
        ),
    ],
)
def test_what_does_not_fit_is_told_before_any_training(base, tmp_path, given, error, message):
    start = {} if "preset" in given else {"base": base}
    with pytest.raises(error, match=message):
        Sweep(spec_from_dict(start | given), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_settings_without_effect_are_told_before_any_training(base, tmp_path):
    given = {"base": base, "set": {"guide.temperature": [2, 1]}, "grid": {SCALE: [0.1, 0.2]}}
    with pytest.warns(NoEffectWarning, match="guide.temperature: without effect"):
        Sweep(spec_from_dict(given), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_weights_may_be_asked_of_the_models_that_are_varied(tmp_path):
    given = {"preset": "gmvae-shapes", "set": {WEIGHTS: True}, "grid": {"model.name": ["mfcvae"]}}
    assert len(make_arms(spec_from_dict(given))) == 1


def test_a_grid_is_trained_measured_and_put_in_order(base, tmp_path, monkeypatch):
    given = {"base": base, "seeds": 2, "grid": {RATE: [0.0005, TOO_FAST, 0.05]}, "objective": FLOOR}
    spec = spec_from_dict(given)
    sweep = Sweep(spec, tmp_path / "out")
    assert [(job.arm.values[RATE], job.seed) for job in sweep.study.jobs] == [
        (rate, seed) for seed in (0, 1) for rate in (0.0005, TOO_FAST, 0.05)
    ]
    results = sweep.run()
    out = tmp_path / "out"
    assert json.loads((out / "sweep.json").read_text()) == json.loads(json.dumps(results))
    assert results["states"] == {"finished": 4, "failed": 2}
    assert (out / "trials.png").stat().st_size > 5000
    by_rate: dict[float, dict[str, float]] = {}
    for trial in results["trials"]:
        if trial["settings"][RATE] == TOO_FAST:
            assert trial["state"] == "failed"
            assert "TrainingError" in trial["error"]
            assert "no longer finite" in trial["error"]
            assert trial["objective"] is None
            continue
        run = Run(out / trial["folder"])
        assert (run.config.seed, run.config.training.learning_rate) == (
            trial["seed"],
            trial["settings"][RATE],
        )
        facet = run.evaluation().facets[1]
        assert trial["objective"] == facet.factors["floor_hue"].train["nmi"]
        assert trial["seconds"] == run.training_seconds()
        by_rate.setdefault(run.config.training.learning_rate, {})[run.config.seed] = trial[
            "objective"
        ]
    means = {rate: statistics.mean(values.values()) for rate, values in by_rate.items()}
    order = [*sorted(means, key=lambda rate: -means[rate]), TOO_FAST]
    assert [row["settings"][RATE] for row in results["table"]] == order
    for row in results["table"][:2]:
        values = by_rate[row["settings"][RATE]]
        assert row["values"] == values
        assert row["mean"] == pytest.approx(sum(values.values()) / 2, rel=1e-12)
        assert row["sd"] == pytest.approx(abs(values[0] - values[1]) / math.sqrt(2), rel=1e-9)
    assert (results["table"][2]["mean"], results["table"][2]["n_failed"]) == (None, 2)
    best = results["table"][0]
    page = (out / "table.md").read_text()
    assert page == as_page(results)
    assert f"{100 * best['mean']:.2f} ({100 * best['sd']:.2f}), 2 seeds" in page
    assert "- 6 trials: 4 finished, 2 failed" in page

    def broken(config, *_arguments, **_options):
        raise AssertionError(config.seed)

    monkeypatch.setattr("pyro_mfcvae.runs.complete.train", broken)
    again = Sweep(spec, out)
    assert [job.arm.values[RATE] for job in again.study.missing] == [TOO_FAST] * 2
    kept = again.run()
    assert [t for t in kept["trials"] if t["state"] == "finished"] == [
        t for t in results["trials"] if t["state"] == "finished"
    ]
    worst = spec_from_dict(given | {"objective": FLOOR | {"mode": "min"}})
    table = Sweep(worst, out).write()["table"]
    assert [row["settings"][RATE] for row in table] == [*reversed(order[:2]), TOO_FAST]


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """A sweep ranked by the default, and its folder."""
    out = tmp_path_factory.mktemp("ranked")
    (out / "base.json").write_text(config_to_json(tiny_config()))
    spec = spec_from_dict({"base": str(out / "base.json"), "grid": {RATE: [0.0005, 0.002]}})
    return Sweep(spec, out).run(), out


def test_one_half_of_the_held_out_ranks_and_the_other_is_reported(ranked):
    results, out = ranked
    assert results["objective"] == "ELBO, nats, held out for choosing"
    assert results["chosen_by_labels"] is None
    assert "Labels" not in as_page(results)
    for trial in results["trials"]:
        run = Run(out / trial["folder"])
        dataset, model = run.dataset(), run.model()
        choice, report = random_split(len(dataset.test), 0.5, 0)
        x = dataset.x[dataset.test]
        assert trial["objective"] == pytest.approx(elbo_means(model, x[choice])["elbo"], rel=1e-5)
        expected = elbo_means(model, x[report])["elbo"]
        assert trial["measures"]["elbo"]["test"] == pytest.approx(expected, rel=1e-5)
        (row,) = (r for r in results["table"] if r["settings"] == trial["settings"])
        assert row["mean"] == trial["objective"]
        assert row["reported"]["mean"] == trial["measures"]["elbo"]["test"]
        labels = dataset.labels["floor_hue"][dataset.test][report]
        found = adjusted_rand_index(labels, predict(model, x[report]).clusters[1])
        assert trial["measures"]["facets"][1]["floor_hue"]["ari"] == pytest.approx(found)
    best, other = (row["mean"] for row in results["table"])
    assert best > other


def test_a_table_says_that_labels_chose(ranked):
    """Of runs that are there already: what was measured serves any objective."""
    results, out = ranked
    objective = {"measure": "nmi", "facet": 1, "factor": "floor_hue"}
    spec = spec_from_dict(results["spec"] | {"objective": objective})
    sweep = Sweep(spec, out)
    assert not sweep.study.missing
    chosen = sweep.write()
    assert chosen["chosen_by_labels"] == "floor_hue"
    assert "Labels of floor_hue" in (out / "table.md").read_text()
    for trial in chosen["trials"]:
        half = Run(out / trial["folder"]).evaluation().slow[HALVES]["choice"]
        nmi = half["facets"][1]["factors"]["floor_hue"]["test"]["nmi"]
        (row,) = (r for r in chosen["table"] if r["settings"] == trial["settings"])
        assert row["mean"] == trial["objective"] == nmi


def test_the_bound_that_ranks_has_whole_kls(base, tmp_path):
    """A run's own ELBO weighs them as training does, so that it compares with nothing."""
    weighed = {"training.kl_weight": 0.01}
    results = Sweep(spec_from_dict({"base": base, "set": weighed}), tmp_path / "out").run()
    (trial,) = results["trials"]
    run = Run(tmp_path / "out" / trial["folder"])
    assert trial["objective"] < run.evaluation().value("elbo") - 1


class _StopsAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, state):
        state.interrupted = state.interrupted or state.step == self.step


def test_an_interrupted_sweep_goes_on(base, tmp_path):
    spec = spec_from_dict({"base": base, "grid": {SCALE: [0.1, 0.3]}})
    whole = Sweep(spec, tmp_path / "whole").run()
    sweep = Sweep(spec, tmp_path / "out")
    with pytest.raises(Interrupted):
        sweep.run(InTurn([_StopsAt(5)]))
    stored = json.loads((tmp_path / "out/sweep.json").read_text())
    assert stored["states"] == {"interrupted": 1, "waiting": 1}
    assert Run(_runs(tmp_path / "out")[0]).step() == 5
    resumed = Sweep(spec, tmp_path / "out").run()
    assert [t["objective"] for t in resumed["trials"]] == [t["objective"] for t in whole["trials"]]
    assert resumed["states"] == {"finished": 2}


def test_runs_of_other_data_are_not_taken_for_these(base, tmp_path):
    x = np.random.default_rng(0).normal(size=(60, 4))
    data = {"name": "file", "options": {"path": str(tmp_path / "mine.npz")}}
    spec = spec_from_dict({"base": base, "set": {"data": data}})
    for values, state in ((x, "finished"), (x + 1, "failed"), (x, "finished")):
        np.savez(tmp_path / "mine.npz", x=values)
        results = Sweep(spec, tmp_path / "out").run()
        assert results["states"] == {state: 1}
        assert ("other data" in str(results["trials"][0]["error"])) == (state == "failed")


def test_jobs_of_equal_shapes_are_one_program(base, tmp_path, monkeypatch):
    grid = {"training.batch_size": [20, 40], RATE: [0.0005, TOO_FAST]}
    spec, groups = spec_from_dict({"base": base, "grid": grid, "seeds": 2}), []

    def counted(configs, *arguments):
        groups.append(len(configs))
        return train_together(configs, *arguments)

    monkeypatch.setattr("pyro_mfcvae.studies.many_runs.train_together", counted)
    together = Sweep(spec, tmp_path / "together").run(AsOne())
    assert groups == [4, 4]
    alone = Sweep(spec, tmp_path / "alone").run()
    assert together["states"] == alone["states"] == {"finished": 4, "failed": 4}
    for a, b in zip(together["trials"], alone["trials"], strict=True):
        assert (a["name"], a["state"]) == (b["name"], b["state"])
        assert a["objective"] == (b["objective"] and pytest.approx(b["objective"], rel=1e-4))
    splits = [[r["split"] for r in Run(path).metrics()] for path in _runs(tmp_path / "together")]
    assert all("test" not in own or ON_TRAINING in own for own in splits)


@pytest.mark.parametrize(
    "rates", [[0.0005], pytest.param([0.0005, TOO_FAST], marks=pytest.mark.slow)]
)
def test_processes_do_what_one_does(base, tmp_path, rates):
    spec = spec_from_dict({"base": base, "grid": {RATE: rates}})
    told = []

    class Told(Watch):
        def on_begin(self, job):
            told.append(("begin", job.arm.values[RATE]))

        def on_step(self, job, step, n_steps):
            assert 0 < step <= n_steps

        def on_end(self, job, error):
            told.append(("end", job.arm.values[RATE]))

    parallel = Sweep(spec, tmp_path / "parallel").run(Processes(2), Told())
    alone = Sweep(spec, tmp_path / "alone").run()
    for a, b in zip(parallel["trials"], alone["trials"], strict=True):
        assert (a["name"], a["state"], a["error"]) == (b["name"], b["state"], b["error"])
        assert a["objective"] == b["objective"]
    assert parallel["states"] == dict(zip(("finished", "failed"), [1] * len(rates), strict=False))
    assert sorted(told) == sorted((what, rate) for rate in rates for what in ("begin", "end"))
    assert {what for what, _ in told[: len(rates)]} == {"begin"}


class _Signals(Watch):
    """Sends one signal when training has begun: to this process, or to the one that trains."""

    def __init__(self, number, to_worker=False):
        self.number, self.to_worker, self.sent = number, to_worker, False
        self._others = {*multiprocessing.active_children()}  # joblib keeps its own for other tests

    @property
    def workers(self):
        return {*multiprocessing.active_children()} - self._others

    def on_step(self, job, step, n_steps):
        if not self.sent:
            self.sent = True
            pid = self.workers.pop().pid if self.to_worker else os.getpid()
            os.kill(pid, self.number)


@pytest.fixture
def heeds_ctrl_c():
    """Jobs in the background of a shell begin with Ctrl-C ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_signal_lets_processes_save_what_they_have(base, tmp_path, number, heeds_ctrl_c):
    long = {"training.epochs_per_step": [1, 2000], "training.log_every": 2}
    spec = spec_from_dict({"base": base, "set": long, "seeds": 2})
    signals = _Signals(number)
    with pytest.raises(Interrupted):
        Sweep(spec, tmp_path / "out").run(Processes(1), signals)
    stored = json.loads((tmp_path / "out/sweep.json").read_text())
    assert [trial["state"] for trial in stored["trials"]] == ["interrupted", "waiting"]
    (folder,) = _runs(tmp_path / "out")
    run = Run(folder)
    assert 0 < run.step() < run.n_steps(len(run.dataset().train))
    assert not signals.workers


@pytest.mark.slow
def test_a_process_that_dies_is_a_failed_trial(base, tmp_path):
    spec = spec_from_dict({"base": base, "set": {"training.log_every": 1}})
    results = Sweep(spec, tmp_path / "out").run(Processes(1), _Signals(signal.SIGKILL, True))
    assert results["states"] == {"failed": 1}
    assert results["trials"][0]["error"] == (
        "its process ended with status -9; is there enough memory?"
    )
    assert Sweep(spec, tmp_path / "out").run()["states"] == {"finished": 1}


def test_ray_must_be_installed(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ConfigError, match=r'pip install "pyro_mfcvae\[sweep\]" or "ray\[tune\]"'):
        OnRay(tmp_path)


def test_files_are_found_where_they_are_by_now(tmp_path):
    for name, options, moved in (
        ("mnist", {}, {"data_dir": str(tmp_path)}),
        ("h5", {"path": "/old/mine.h5"}, {"path": str(tmp_path / "mine.h5")}),
        ("shapes", {"size": 8}, {"size": 8}),
    ):
        config = replace(tiny_config(), data=Component(name=name, options=options))
        assert relocate(config, tmp_path, None).data == Component(name=name, options=moved)
        assert relocate(config, None, None) == config


@pytest.mark.slow
def test_ray_does_what_one_process_does(base, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(
        f"base: base.json\ngrid: {{{RATE}: [5e-4, 1e30]}}\nseeds: 2"
    )
    spec = read_spec(Path("spec.yaml"))
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        found = Sweep(spec, Path("out")).run(OnRay(Path("out/ray")))
    finally:
        ray.shutdown()
    alone = Sweep(spec, Path("alone")).run()
    assert found["states"] == {"finished": 2, "failed": 2}
    for a, b in zip(found["trials"], alone["trials"], strict=True):
        assert (a["name"], a["state"], a["error"]) == (b["name"], b["state"], b["error"])
        assert a["objective"] == b["objective"]


def _cli(*arguments, status=0):
    result = CliRunner().invoke(main, ["sweep", *map(str, arguments)])
    assert result.exit_code == status, result.output
    return result.output


def test_the_example_is_a_sweep(tmp_path):
    assert _cli() == _cli("--example") == EXAMPLE
    assert (ROOT / "examples/sweep.yaml").read_text() == EXAMPLE
    output = _cli(ROOT / "examples/sweep.yaml", "--dry-run", "--out", tmp_path / "out")
    assert "8 trials, 8 to train" in output
    assert not (tmp_path / "out").exists()
    # What it has in comments can be used as well.
    head, _, rest = EXAMPLE.partition("grid:")
    commented = re.findall(r"^# (random:|  .*)$", rest, re.MULTILINE)
    path = tmp_path / "random.yaml"
    path.write_text(head + "\n".join(commented) + rest[rest.index("\nobjective:") :])
    assert read_spec(path).random.n_trials == 20


def test_from_the_command_line(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").write_text(f"base: base.json\ngrid: {{{RATE}: [5e-4, 2e-3]}}")
    output = _cli("mine.yaml")
    assert "trial 2 of 2: learning_rate 0.002, seed 0: " in output
    assert "2 trials: 2 finished" in output
    assert "results: sweeps/mine" in output
    assert {"sweep.json", "table.md", "trials.png"} <= {
        p.name for p in Path("sweeps/mine").iterdir()
    }
    assert "2 trials, 0 to train" in _cli("mine.yaml", "--dry-run")
    assert "2 of 2 trials are finished" in _cli("mine.yaml")
    assert "are for --engine ray" in _cli("mine.yaml", "--cpus-per-trial", 2, status=2)
    assert "--jobs is for --engine local" in _cli(
        "mine.yaml", "--engine", "ray", "--jobs", 2, status=2
    )


def test_the_command_line_says_how_to_go_on(base, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("my sweep.yaml").write_text("base: base.json")

    def interrupted(*_arguments, **_options):
        raise Interrupted

    monkeypatch.setattr("pyro_mfcvae.studies.execution.train_and_measure", interrupted)
    output = _cli("my sweep.yaml", "--out", "here", "--device", "cpu", status=130)
    assert "Go on with\n    mfcvae sweep 'my sweep.yaml' --out here --device cpu\n" in output
