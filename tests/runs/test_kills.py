"""Runs that are killed at any moment end as the uninterrupted one."""

from __future__ import annotations

import pytest
import torch
from matplotlib.figure import Figure
from models import tiny_config
from safetensors.torch import save

from benchmarks import kills_of_commands
from benchmarks.kills import contents, survive
from benchmarks.kills_of_commands import COMMANDS, broken, make_inputs
from pyro_mfcvae.figures.png import as_png
from pyro_mfcvae.runs.train import train


@pytest.mark.parametrize(
    ("n_kills", "draws", "epochs"),
    [
        (20, False, "[1,2]"),
        pytest.param(1000, False, "[2,4]", marks=pytest.mark.slow),
        pytest.param(50, True, "[2,4]", marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_ends_as_the_uninterrupted_one(n_kills, draws, epochs, tmp_path):
    config = tiny_config(**{"training.epochs_per_step": epochs})
    found = survive(config, n_kills, 0, tmp_path / "runs", draws)
    assert found["different"] == {}
    assert found["n_kills"] >= n_kills
    assert found["n_ended"] > 0
    assert found["under_way"]["training"] > 0
    whole = contents(tmp_path / "runs" / "whole" / "run")
    last = {name.rpartition("/")[2] for name in whole}
    assert {"model.safetensors", "optimizer.safetensors", "metrics.jsonl"} < last
    assert not any(name.startswith(".") or name.endswith((".tmp", ".part")) for name in last)


def _check_killed(command: str, inputs, n_kills: int, folder) -> None:
    found = kills_of_commands.survive(COMMANDS[command], inputs, n_kills, 0, folder)
    assert (found["halves"], found["different"]) == ([], {})
    assert found["n_kills"] >= n_kills
    assert found["n_ended"] > 0


def test_a_copy_that_is_killed_is_made_by_the_same_words(tmp_path):
    train(tiny_config(), tmp_path / "inputs/run")
    _check_killed("export", tmp_path / "inputs", 3, tmp_path / "export")


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("given") / "inputs"
    make_inputs(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("command", COMMANDS)
def test_a_killed_command_goes_on_or_begins_again(command, inputs, tmp_path):
    _check_killed(command, inputs, 20, tmp_path / command)


@pytest.mark.parametrize("name", ["a.json", "a.png", "a.safetensors", "a.html", "a.csv"])
def test_half_a_file_is_noticed(name, tmp_path):
    whole = {
        ".json": b'{"a": 1}\n',
        ".png": as_png(Figure(figsize=(1, 1))),
        ".safetensors": save({"a": torch.zeros(3)}),
        ".html": b"<html></html>\n",
        ".csv": b"row\n10\n",
    }[(tmp_path / name).suffix]
    (tmp_path / name).write_bytes(whole)
    (tmp_path / f".{name}-12").write_bytes(whole[:-2])
    assert broken(tmp_path) == []
    (tmp_path / name).write_bytes(whole[:-2])
    assert broken(tmp_path) == [name]
