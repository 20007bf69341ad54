"""AnnData's files, written as its documentation of the format says."""

from __future__ import annotations

import h5py
import numpy as np
import pytest
from scipy.sparse import csc_matrix, csr_matrix

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.errors import DataError, DataWarning

N = 20
X = np.random.default_rng(0).poisson(0.4, (N, 5)).astype("f4")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(**options):
    return load_dataset(Component(name="file", options={"path": "cells.h5ad", **options}))


@pytest.fixture(params=["dense", "csr_matrix", "csc_matrix"])
def cells(request):
    with h5py.File("cells.h5ad", "w") as file:
        if request.param == "dense":
            file["X"] = X
        else:
            matrix = {"csr_matrix": csr_matrix, "csc_matrix": csc_matrix}[request.param](X)
            group = file.create_group("X")
            group.attrs.update({"encoding-type": request.param, "shape": X.shape})
            for part in ("data", "indices", "indptr"):
                group[part] = getattr(matrix, part)
        for part, names in (("obs", [f"cell {i}" for i in range(N)]), ("var", list("abcde"))):
            group = file.create_group(part)
            group.attrs["_index"], group["index"] = "index", np.array(names, dtype=object)
        obs = file["obs"]
        obs.attrs["column-order"] = ["type", "batch", "depth", "alive"]
        obs["batch"] = np.array(["one", "two"] * 10, dtype=object)
        obs["depth"] = np.linspace(0, 1, N)
        obs["type/codes"] = np.array([0, 1, -1, 1] * 5, "i1")
        obs["type/categories"] = np.array(["B", "T"], dtype=object)
        obs["alive/values"] = np.array([True, False] * 10)
        obs["alive/mask"] = np.arange(N) == 0
    return file


@pytest.mark.filterwarnings("default::pyro_mfcvae.errors.DataWarning")
def test_cells_and_what_is_known_of_them(cells):
    with pytest.warns(DataWarning, match="depth"):
        dataset = load()
    np.testing.assert_array_equal(dataset.x, X)
    assert dataset.row_names[3] == "cell 3"
    assert dataset.feature_names == tuple("abcde")
    assert dataset.labels["type"].tolist() == [0, 1, -1, 1] * 5
    assert dataset.class_names == {
        "type": ("B", "T"),
        "batch": ("one", "two"),
        "alive": ("False", "True"),
    }
    assert dataset.labels["alive"][:3].tolist() == [-1, 0, 1]
    assert list(load(labels=["batch"]).labels) == ["batch"]
    with pytest.raises(DataError, match="'tissue'"):
        load(labels=["tissue"])


def test_parts_of_other_files_and_claims_are_refused(cells, monkeypatch):
    with h5py.File("other.h5", "w") as file:
        file["x"] = X
    with h5py.File("cells.h5ad", "a") as file:
        before = file["obs"].name
        file.move("obs", "mine")
        file[before] = h5py.ExternalLink("other.h5", "/")
    with pytest.raises(DataError, match=r"cells.h5ad: .*'obs'"):
        load()
    with h5py.File("cells.h5ad", "a") as file:
        del file["obs"], file["X"]
        file.move("mine", "obs")
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "shape": (10**9, 10**9)})
        for part in ("data", "indices", "indptr"):
            group[part] = np.zeros(3, int)
    with pytest.raises(DataError, match=r"cells.h5ad: .*'X'"):
        load()
