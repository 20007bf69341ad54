"""Runs that are killed at any moment end as the uninterrupted one."""

from __future__ import annotations

import pytest
from models import tiny_config

from benchmarks.kills import contents, survive


@pytest.mark.parametrize(
    ("n_kills", "draws"),
    [
        (20, False),
        pytest.param(1000, False, marks=pytest.mark.slow),
        pytest.param(50, True, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_as_the_uninterrupted_one(n_kills, draws, tmp_path):
    found = survive(tiny_config(), n_kills, 0, tmp_path / "runs", draws)
    assert found["different"] == {}
    assert found["n_kills"] >= n_kills
    assert found["n_ended"] > 0
    assert found["under_way"]["training"] > 0
    whole = contents(tmp_path / "runs" / "whole" / "run")
    last = {name.rpartition("/")[2] for name in whole}
    assert {"model.safetensors", "optimizer.safetensors", "metrics.jsonl"} < last
    assert not any(name.startswith(".") or name.endswith((".tmp", ".part")) for name in last)
