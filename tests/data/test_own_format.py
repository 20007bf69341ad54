"""The file format of CONTRIBUTING.md: one registration, and every list has it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from own_files import SETTINGS, mfcvae, nothing_loaded, recipe

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.plugins import load_model_file
from pyro_mfcvae.runs.run import Run

FORMAT = recipe("A data format")


@pytest.fixture(autouse=True)
def _own_format(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: [])
    Path("mine.py").write_text(FORMAT)
    kind = np.arange(60) % 3
    x = kind[:, None] + 0.1 * np.random.default_rng(0).normal(size=(60, 4))
    Path("mine.lists").write_text(json.dumps({"x": x.tolist(), "kind": kind.tolist()}))
    with nothing_loaded():
        yield


def test_a_format_of_one_s_own():
    given = [word for item in SETTINGS.items() for word in ("--set", "=".join(item))]
    given += ["--data", "mine.lists", "--facets", "2:3,2:2", "--out", "run"]
    assert "'.lists'" in mfcvae("train", *given).output
    assert "lists" not in mfcvae("parts", "file format").output
    done = mfcvae("train", *given, "--model", "mine.py:MFCVAE")
    assert done.exit_code == 0, done.output
    assert Run("run").evaluation().facets[0].factors.keys() == {"kind"}
    assert "lists: .lists (JSON with lists by name)" in mfcvae("parts", "file format").output
    Path("mine.abc").touch()
    for option, error in (("mine.abc", "'.abc'"), ("nothing", "data set 'nothing'")):
        output = " ".join(mfcvae("train", "--data", option).output.split())
        assert error in output
        assert ".hdf5, .lists, .npy" in output


def test_such_a_file_is_checked_like_any_other():
    load_model_file("mine.py:MFCVAE")
    Path("wide.lists").write_text(json.dumps({"x": [[1.0, 2.0]] * 9, "kind": [0] * 8}))
    with pytest.raises(DataError, match="labels 'kind'"):
        load_dataset(Component(name="file", options={"path": "wide.lists"}))
    options = {"path": "mine.lists", "memory": "stream"}
    with pytest.raises(DataError, match="memory"):
        load_dataset(Component(name="file", options=options))
    Path("twice.py").write_text(FORMAT.replace('"lists"', '"npz"'))
    with pytest.raises(ConfigError, match="file format 'npz'"):
        load_model_file("twice.py:MFCVAE")
