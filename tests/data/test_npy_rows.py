"""Rows of a .npy file, read from anywhere in it."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from pyro_mfcvae.data import data_settings, load_dataset
from pyro_mfcvae.data.arrays import observation_layouts
from pyro_mfcvae.data.npz import NpyRows
from pyro_mfcvae.errors import DataError

X = np.random.default_rng(0).normal(size=(50, 4))
PLACES = np.array([49, 0, 3, 3, 20, 8, 9, 10, 11])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "rows.npy"


@pytest.mark.parametrize("x", [X, np.asfortranarray(X), (50 * X).astype(np.int16)])
def test_rows_in_any_order_and_in_blocks(path, x):
    np.save(path, x)
    rows = NpyRows(path, observation_layouts({"x": x}, "rows.npy"))
    rows.block_rows = 7
    for each in (rows, pickle.loads(pickle.dumps(rows))):
        np.testing.assert_array_equal(each.read(PLACES), x[PLACES].astype(np.float32))


def test_streamed_data_are_those_in_memory(path):
    np.save(path, X)
    settings = data_settings(str(path))
    loaded = load_dataset(settings)
    settings.options["memory"] = "stream"
    streamed = load_dataset(settings)
    np.testing.assert_array_equal(streamed.x[:], loaded.x)
    assert streamed.observation == loaded.observation


def test_a_file_that_has_changed_is_named(path):
    np.save(path, X)
    rows = NpyRows(path, observation_layouts({"x": X}, "rows.npy"))
    np.save(path, X[:10])
    with pytest.raises(DataError, match=r"rows\.npy"):
        rows.read(PLACES)
    path.unlink()
    with pytest.raises(DataError, match=r"rows\.npy"):
        rows.read(PLACES)
