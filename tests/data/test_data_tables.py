"""Tables in files and in memory: which columns are observations, and which are labels."""

from __future__ import annotations

import sys
from pathlib import Path

import narwhals as nw
import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import Component
from pyro_mfcvae.data import dataset_of, load_dataset
from pyro_mfcvae.data.formats import find_format
from pyro_mfcvae.data.frames import arrays_of_columns
from pyro_mfcvae.data.inspection import inspect_data
from pyro_mfcvae.data.memory import observations_of
from pyro_mfcvae.errors import ConfigError, DataError, DataWarning

N = 30
SIZES = np.random.default_rng(0).normal(size=(N, 2)).round(3)


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(**columns):
    """Two columns of numbers, one of text with a few values, and others."""
    sizes = {"height": SIZES[:, 0], "width": SIZES[:, 1], "kind": ["a", "b", "c"] * 10}
    return pd.DataFrame(sizes | columns)


def load(path, **options):
    return load_dataset(Component(name="file", options={"path": str(path), **options}))


@pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.DataWarning")
def test_every_format_gives_the_same_data():
    frame = table(alive=[True, False] * 15, name=[f"row {i}" for i in range(N)])
    frame.to_csv("mine.csv", index=False)
    frame.to_csv("windows.CSV", index=False, encoding="utf-8-sig")
    frame.to_csv("mine.tsv", index=False, sep="\t")
    frame.to_parquet("mine.parquet")
    found = [load(p) for p in ("mine.csv", "windows.CSV", "mine.tsv", "mine.parquet")]
    for dataset in [*found, dataset_of(frame)]:
        assert dataset.feature_names == ("height", "width", "alive")
        assert dataset.row_names == tuple(frame["name"])
        np.testing.assert_allclose(dataset.x[:, :2], SIZES, rtol=1e-6)
        assert dataset.x[:2, 2].tolist() == [1, 0]
        assert dataset.labels["kind"].tolist() == [0, 1, 2] * 10
        assert dataset.class_names["kind"] == ("a", "b", "c")


def test_labels_by_name():
    frame = table(year=[2007, 2008, 2009] * 10, sex=["f", "m", None, "f", "m"] * 6)
    frame.to_csv("mine.csv", index=False)
    with pytest.warns(DataWarning) as told:
        dataset = load("mine.csv", labels=["sex", "year"])
    assert dataset.feature_names == ("height", "width")
    assert dataset.class_names == {"year": ("2007", "2008", "2009"), "sex": ("f", "m")}
    assert dataset.labels["sex"].tolist() == [0, 1, -1, 0, 1] * 6
    assert any("'sex' are missing in 6 of 30" in str(each.message) for each in told)
    assert any("'kind' is left out" in str(each.message) for each in told)
    with pytest.raises(DataError, match=r"mine.csv: .*'species'.* height, width"):
        load("mine.csv", labels=["species"])
    np.savez("mine.npz", x=SIZES, kind=np.arange(N) % 3, hue=np.arange(N) % 2)
    assert list(load("mine.npz", labels=["hue"]).labels) == ["hue"]
    with pytest.raises(DataError, match="'species', only kind, hue"):
        load("mine.npz", labels=["species"])


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"age": ["1.5", "2"] * 14 + ["3", "unknown"]}, ["'age'", "'unknown'", "row 29"]),
        ({"x": ["a", "b"] * 15}, ["'x'", "rename"]),
    ],
)
def test_columns_that_are_refused(columns, words):
    table(**columns).to_csv("mine.csv", index=False)
    with pytest.raises(DataError) as refused:
        load("mine.csv")
    assert all(word in str(refused.value) for word in ["mine.csv", *words])


@pytest.mark.filterwarnings("default::pyro_mfcvae.errors.DataWarning")
def test_missing_numbers_are_told_where_a_likelihood_needs_them():
    table(age=[1.5, None, None] + [2.5] * 27).to_csv("mine.csv", index=False)
    dataset = load("mine.csv")
    assert dataset.observation.missing
    with pytest.raises(DataError, match=r"mine.*2 of 30 .*row 1, column 2 \('age'\)"):
        dataset.check_complete()


@pytest.mark.parametrize(
    ("column", "why"),
    [
        ([7] * N, "all cells are 7"),
        ([None] * N, "all cells are missing"),
        (list(range(1, N + 1)), "counts the rows"),
        (pd.date_range("2026-01-01", periods=N), "neither numbers nor text"),
        (["2026-01-01", "2026-02-01 09:30"] * (N // 2), "dates"),
    ],
)
def test_columns_that_are_left_out(column, why):
    frame = table(other=column)
    with pytest.warns(DataWarning, match=rf"'other' (is left out|names the rows) \({why}"):
        dataset = dataset_of(frame)
    assert dataset.feature_names == ("height", "width")


def test_an_index_names_the_rows():
    frame = table().set_index(pd.Index([f"bird {i}" for i in range(N)]))
    frame.to_csv("mine.csv")
    frame.to_parquet("mine.parquet")
    with pytest.warns(DataWarning):
        found = [load("mine.csv"), load("mine.parquet"), dataset_of(frame)]
    assert all(dataset.row_names == tuple(frame.index) for dataset in found)
    frame.index = ["bird 0", *frame.index[:-1]]
    with pytest.warns(DataWarning), pytest.raises(DataError, match=r"'bird 0' in places 0 and 1"):
        dataset_of(frame)


def test_tables_without_numbers_and_tables_that_are_none():
    Path("empty.csv").write_text("a,b\n")
    Path("none.csv").write_text("")
    Path("latin.csv").write_bytes(b"a,b\n\xe9,1\n")
    Path("ragged.csv").write_text("a,b\n1,2,3,4\n1\n1,2\n1,2,3,4,5\n")
    Path("pointer.parquet").write_text("version https://git-lfs.github.com/spec/v1\n")
    Path("headless.csv").write_text("1,2.5,3\n" * 9)
    names = ("empty", "none", "latin", "ragged", "headless")
    names = [*(f"{name}.csv" for name in names), "pointer.parquet"]
    for name in names:
        with pytest.raises(DataError, match=name):
            load(name)


def test_a_table_of_few_bytes_that_claims_many(monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.data.formats._SMALL", 10**6)
    pd.DataFrame({"a": np.zeros(10**6), "b": np.ones(10**6)}).to_parquet("mine.parquet")
    with pytest.raises(DataError, match=r"mine.parquet: .*16 MB"):
        load("mine.parquet")


def test_tables_need_pandas(monkeypatch):
    table().to_csv("mine.csv", index=False)
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(DataError, match=r"pyro_mfcvae\[tables\]"):
        load("mine.csv")


def test_arrays_and_data_sets_of_torch_in_memory():
    pictures = np.random.default_rng(0).integers(0, 256, (N, 8, 8), dtype=np.uint8)
    kind = np.arange(N) % 3
    expected = torch.from_numpy(pictures)[:, None]
    pairs = torch.utils.data.TensorDataset(torch.from_numpy(pictures), torch.from_numpy(kind))
    for dataset in (dataset_of(pictures, {"label": kind}), dataset_of(pairs)):
        assert torch.equal(dataset.x, expected)
        assert dataset.labels["label"].tolist() == kind.tolist()
        assert len(dataset.test) == 6
    singles = torch.utils.data.StackDataset(torch.from_numpy(pictures))
    assert torch.equal(dataset_of([item[0] for item in singles]).x, expected)


def test_frames_of_all_types_in_memory():
    frame = table(
        count=pd.array([3, 1, 2] * 10, dtype="Int64"),
        hue=pd.Categorical(["r", "g", "b"] * 10),
        kind=pd.Series(["p", None, "q"] * 10, dtype=object),
    )
    with pytest.warns(DataWarning):
        dataset = dataset_of(frame)
    assert dataset.feature_names == ("height", "width", "count")
    assert dataset.class_names == {"kind": ("p", "q"), "hue": ("b", "g", "r")}
    assert dataset.labels["kind"].tolist() == [0, -1, 1] * 10
    assert dataset_of(pd.DataFrame(SIZES)).feature_names == ("0", "1")
    torch.testing.assert_close(observations_of(frame), dataset.x)
    with pytest.raises(DataError, match=r"\(30, 0\)"):
        observations_of(frame[["kind"]])
    frame["lists"] = [[1]] * N
    with pytest.warns(DataWarning, match=r"'lists' is left out"):
        dataset_of(frame)
    for columns in (["a", "a"], pd.MultiIndex.from_tuples([("a", 1), ("a", 2)])):
        with pytest.raises(DataError, match="names that differ"):
            dataset_of(pd.DataFrame(SIZES, columns=columns))
    with pytest.raises(DataError, match="no items"):
        dataset_of(torch.utils.data.TensorDataset(torch.zeros(0, 2)))


def mfcvae(*words):
    return CliRunner().invoke(main, list(words))


def test_inspect_says_what_is_done_with_every_column():
    frame = table(constant=[1] * N, sex=["f", "m", None] * 10)
    frame.to_csv("mine.csv", index=False)
    found = inspect_data(Component(name="file", options={"path": "mine.csv", "labels": ["sex"]}))
    uses = {each.name: each.use for each in found.columns}
    assert uses == {
        "height": "observations",
        "width": "observations",
        "kind": "left out",
        "constant": "left out",
        "sex": "label",
    }
    assert found.dataset.x.shape == (N, 2)
    assert any("'sex'" in note for note in found.notes)
    done = mfcvae("inspect", "mine.csv", "--labels", "sex")
    assert done.exit_code == 0, done.output
    assert all(word in done.output for word in [*uses, "all cells are 1", "24 observations (2,)"])
    frame.loc[4, "width"] = None
    frame.to_csv("mine.csv", index=False)
    done = mfcvae("inspect", "mine.csv")
    assert done.exit_code == 0, done.output
    assert "1 of 30 cells are missing, first in row 4" in " ".join(done.output.split())
    assert "x " in mfcvae("inspect", "arcs").output
    assert mfcvae("inspect", "arcs", "--labels", "arc").exit_code == 2


@pytest.mark.filterwarnings("default::pyro_mfcvae.errors.DataWarning")
def test_a_table_trains_from_the_command_line():
    table(sex=["f", "m", None] * 10).to_csv("mine.csv", index=False)
    given = ["--data", "mine.csv", "--labels", "kind,sex", "--facets", "2:3", "--out", "run"]
    given += ["--set", "training.epochs_per_step=[1]"]
    done = mfcvae("train", *given)
    assert done.exit_code == 0, done.output
    assert "sex (2)" in done.output
    assert "missing in 10 of 30" in done.output
    with pytest.raises(ConfigError, match="labels"):
        load("mine.csv", labels="kind")


@pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.DataWarning")
def test_an_index_of_lists_names_rows():
    frame = table()
    frame.index = pd.Index([np.array([i, 1]) for i in range(N)])
    assert dataset_of(frame).row_names[3] == "[3 1]"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n", "git lfs pull"),
        ("\n<!DOCTYPE html>\n<html><body>404, not found</body></html>\n", "web page"),
    ],
)
def test_what_often_takes_the_place_of_a_table_is_named(text, told, tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=told):
        find_format(path).read(path)


@pytest.mark.parametrize(
    ("names", "cell"),
    [(["a", "b"], "9" * 400), (["a" * 100_000, "b"], "1"), ([*"cdefg"] * 50, "1")],
)
def test_messages_are_short_whatever_names_and_cells_are(names, cell):
    columns = {f"{name}{i}": [cell, "no number" * 1000] for i, name in enumerate(names)}
    frame = nw.from_native(pd.DataFrame(columns), eager_only=True)
    with pytest.raises(DataError) as caught:
        arrays_of_columns(frame, ["a0", "b1"], "mine.csv")
    assert len(str(caught.value)) < 5000
