"""A measure of one's own: one registration, and it stands wherever measures stand."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from models import tiny_config
from own_files import recipe

from pyro_mfcvae.cli import main
from pyro_mfcvae.evaluation import MEASURES, Measure, agreement, evaluate, register_measure
from pyro_mfcvae.evaluation.results import log_name
from pyro_mfcvae.evaluation.slow import HALVES
from pyro_mfcvae.report import write_report
from pyro_mfcvae.runs.measure import evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.studies.sweep.objective import Criterion

LEVELS = {
    "factor": lambda labels, clusters: np.float32(len(labels)),
    "facet": lambda z_mean: np.float32(len(z_mean)),
    "pair": lambda clusters, other_clusters: np.float32(len(other_clusters)),
    "run": lambda x: np.float32(len(x)),
}


def _name(level: str) -> str:
    return f"own_of_{level}"


@pytest.fixture
def own():
    """The recipe's measure, and one of each level, which counts its observations."""
    before = dict(MEASURES)
    exec(recipe("A measure"), {})
    for level, function in LEVELS.items():
        register_measure(
            Measure(
                _name(level),
                f"MINE-{level}",
                function,
                f"Length of what a {level} is made of.",
                unit="count",
                is_logged=level in ("facet", "factor"),
            )
        )
    yield
    MEASURES.clear()
    MEASURES.update(before)


def _mfcvae(*arguments: str) -> str:
    result = CliRunner().invoke(main, arguments, prog_name="mfcvae")
    assert result.exit_code == 0, result.output
    return " ".join(result.output.split())


def test_it_is_found_everywhere(own, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: None)
    config = tiny_config(**{"training.epochs_per_step": "[1,1]", "training.evaluate_every": "2"})
    run, _, dataset = train(config, "run")
    evaluate_run(run, dataset, {HALVES: True})
    n = {"train": len(dataset.train), "test": len(dataset.test)}
    # evaluation.json
    stored = json.loads((run.path / "evaluation.json").read_text())
    assert stored["facets"][1][_name("facet")] == stored[_name("run")] == n
    assert stored["facets"][0]["factors"]["shape"]["test"][_name("factor")] == n["test"]
    assert stored[_name("pair")]["train"] == [[n["train"]] * 2] * 2
    shares = stored["facets"][1]["largest_cluster"]
    assert {part: round(n[part] * shares[part]) / n[part] for part in n} == pytest.approx(shares)
    # the log of held-out observations
    values = [record["values"] for record in run.metrics() if record["split"] == "test"][-1]
    assert values[log_name(_name("facet"), 1)] == n["test"]
    assert values[log_name(_name("factor"), 0, "shape")] == n["test"]
    # the terminal, and help texts
    printed, everything = _mfcvae("evaluate", "run"), _mfcvae("evaluate", "run", "--all")
    assert all(f"MINE-{level}" in printed for level in ("factor", "pair", "run"))
    assert all(f"MINE-{level}" in everything for level in LEVELS)
    assert "largest cluster" in everything
    for command in ("evaluate", "sweep"):
        text = _mfcvae(command, "--help")
        assert "largest_cluster Share of the observations in the largest cluster." in text
        assert all(f"{_name(level)} Length of what a {level} is" in text for level in LEVELS)
    # a page, and a comparison of two runs
    page = write_report([run.path]).read_text()
    shutil.copytree("run", "another")
    other = Run("another")
    (other.path / "config.json").write_text(
        (run.path / "config.json").read_text().replace('"seed": 0', '"seed": 1')
    )
    both = write_report([run.path, other.path], "both.html").read_text()
    for level in LEVELS:
        assert f"<dd>Length of what a {level} is made of.</dd>" in page
        assert page.count(f"MINE-{level}") > 1
        assert f"MINE-{level}" in both
    # the figure of agreement, and objectives of sweeps
    evaluation = run.evaluation()
    assert (evaluation.matrices()[_name("factor")] == n["test"]).all()
    places = {"factor": {"facet": 1, "factor": "shape"}, "facet": {"facet": 1}, "run": {}}
    places["pair"] = {"facet": 0, "other_facet": 1}
    for level, of in places.items():
        objective = Criterion(measure=_name(level), **of)
        assert str(objective).startswith(f"MINE-{level}")
        halves = objective.entry("arm"), objective.reported_entry("arm")
        assert sum(half.value(evaluation) for half in halves) == n["test"]


def test_a_measure_that_the_table_has_no_more_is_shown_under_its_name(own, tmp_path, monkeypatch):
    run, _, dataset = train(tiny_config(**{"training.epochs_per_step": "[1,1]"}), tmp_path / "run")
    run.write_evaluation(replace(evaluate(run.model(), dataset), model=None))
    for level in LEVELS:
        del MEASURES[_name(level)]
    found = run.evaluation()
    assert _name("factor") in [row.name for row in found.measured("factor")]
    assert found.value(_name("facet"), facet=0) == len(dataset.test)


def test_agreement_leaves_out_what_is_measured_elsewhere(own):
    labels, clusters = [0, 1, 1], [0, 0, 1]
    before = agreement(labels, clusters)
    assert before[_name("factor")] == 3
    register_measure(Measure("slow_own", "slow", None, "Slow.", ("labels", "clusters")))
    assert agreement(labels, clusters) == before


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda labels, oracle: 0, "oracle"),
        (lambda x: 0, "is_logged"),
        (lambda labels, cluster_map: 0, "is_logged"),
    ],
)
def test_what_cannot_be_a_measure(function, message):
    with pytest.raises(ValueError, match=message):
        Measure("own", "own", function, is_logged=True)


def test_the_function_says_what_it_needs_and_is():
    def purity(labels, clusters, weight=1.0):
        """How pure it is.

        And more.
        """

    own = Measure("purity", "purity", purity)
    assert (own.needs, own.explanation, own.level) == (
        ("labels", "clusters"),
        "How pure it is.",
        "factor",
    )
