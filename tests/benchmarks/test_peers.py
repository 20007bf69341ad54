"""The comparison with other methods on real data."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner

from benchmarks.peers import __main__ as peers
from benchmarks.peers.methods import METHODS
from benchmarks.peers.tables import Table


@pytest.fixture
def told(monkeypatch):
    """A table of two partitions, and a method that finds the second one in its first facet."""
    rows = np.arange(60)
    labels = {"a": rows % 2, "b": rows // 20}
    table = Table(np.stack([labels["a"], labels["b"]], 1).astype(float), labels)
    seeds = []

    def method(table, n_clusters, seed):
        seeds.append((seed, *n_clusters))
        return np.stack([2 - labels["b"], np.where(rows < 10, 0, labels["a"])], 1)

    monkeypatch.setattr(peers, "TABLES", {"told": lambda folder: table})
    monkeypatch.setitem(METHODS, "known", method)
    return seeds


def test_partitions_are_held_against_their_closest_facet(told, tmp_path):
    out = tmp_path / "peers.json"
    words = ["--seeds", "2", "--methods", "known", "--factor", "2", "--out", str(out)]
    result = CliRunner().invoke(peers.main, words, catch_exceptions=False)
    assert "| told | 2 x true | b | known | 1.00 (0.00) |" in result.output
    assert told == [(0, 4, 6), (1, 4, 6)]
    record = json.loads(out.read_text())
    assert record["packages"]
    assert record["commit"]
    (a, b) = record["rows"][0]["labels"].values()
    assert b["nmi"] == pytest.approx(1)
    assert 0 < b["leakage"] < 0.2
    assert a["hungarian_accuracy"] == pytest.approx(55 / 60)
    CliRunner().invoke(peers.main, [*words[:1], "3", *words[2:]], catch_exceptions=False)
    assert told[2:] == [(2, 4, 6)]  # rows that are there are kept


def test_what_is_missing_is_left_out(told, monkeypatch, tmp_path):
    def missing(folder):
        (folder / "none.csv").open()

    monkeypatch.setitem(peers.TABLES, "missing", missing)
    words = ["missing", "told", "--seeds", "1", "--data-dir", str(tmp_path / "nowhere")]
    words += ["--methods", "NrKmeans,known", "--out", str(tmp_path / "peers.json")]
    monkeypatch.setitem(METHODS, "NrKmeans", lambda *_: __import__("no_such_package"))
    result = CliRunner().invoke(peers.main, words, catch_exceptions=False)
    assert "missing: left out" in result.output
    assert "NrKmeans: left out, no_such_package is not installed" in result.output
    assert "| told | true | a | known |" in result.output


@pytest.mark.parametrize("name", ["k-means", "Gaussian mixture"])
def test_methods_of_scikit_learn_find_wide_groups(name):
    groups = np.repeat(np.arange(3), 20)
    x = 10 * np.eye(3)[groups] + np.random.default_rng(0).normal(size=(60, 3))
    table = Table(x, {"group": groups})
    row = peers.judge(table, name, 0, 1)
    assert row["labels"]["group"]["nmi"] == pytest.approx(1)
    assert METHODS[name](table, [2, 3], 0).shape == (60, 2)
