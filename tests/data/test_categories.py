"""Columns of text that are trained on: read the same from files, data frames and by estimators."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner
from models import tiny_config

from pyro_mfcvae import VaDEClustering
from pyro_mfcvae.cli import main
from pyro_mfcvae.config import Component, override
from pyro_mfcvae.data import dataset_of, load_dataset
from pyro_mfcvae.data.categories import largest_of_columns, with_indicators
from pyro_mfcvae.data.inspection import inspect_data
from pyro_mfcvae.data.rows import read_rows
from pyro_mfcvae.errors import ConfigError, DataError, DataWarning
from pyro_mfcvae.training import fit

N = 40
CITIES = [None if i % 9 == 3 else ["Rome", "Bern", "Oslo"][i // 2 % 3] for i in range(N)]

pytestmark = pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.DataWarning")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def table(**columns):
    age = np.random.default_rng(0).normal(40, 9, N).round(1)
    return pd.DataFrame({"age": age, "city": CITIES, "sort": ["a", "b"] * (N // 2)} | columns)


def settings(path, **options):
    return Component(name="file", options={"path": str(path), **options})


def load(path, **options):
    return load_dataset(settings(path, **options))


def codes(values):
    """Numbers of categories as pandas gives them, NaN for missing ones."""
    found = pd.Categorical(values).codes.astype(float)
    return np.where(found < 0, np.nan, found)


def test_files_data_frames_and_estimators_read_the_same():
    frame = table()
    frame.to_csv("mine.csv", index=False)
    frame.to_csv("mine.tsv", index=False, sep="\t")
    frame.to_parquet("mine.parquet")
    read = [load(f"mine.{s}", categories=["city"]) for s in ("csv", "tsv", "parquet")]
    for dataset in [*read, dataset_of(frame, categories=["city"])]:
        assert dataset.feature_names == ("age", "city")
        assert dataset.categories == {"city": ("Bern", "Oslo", "Rome")}
        assert dataset.n_categories == {1: 3}
        np.testing.assert_array_equal(dataset.x[:, 1], codes(CITIES))
        assert dataset.class_names == {"sort": ("a", "b")}
    model = VaDEClustering(2, n_init=1, random_state=0, max_steps=1).fit(frame[["age", "city"]])
    assert model.categories_ == {"city": ["Bern", "Oslo", "Rome"]}
    values = model.units_.values(model.observations(frame[["age", "city"]]).numpy())
    np.testing.assert_allclose(values, read[0].x, rtol=1e-6)


def test_whole_numbers_are_categories_as_they_are_written():
    postcode = ["01", "1", "9"] * 13 + ["01"]
    frame = table(postcode=postcode, year=[2007, 2008] * 20, kept=[True, False] * 20)
    frame.to_csv("mine.csv", index=False)
    dataset = load("mine.csv", categories=["postcode", "year", "kept"])
    assert dataset.categories == {
        "postcode": ("01", "1", "9"),
        "year": ("2007", "2008"),
        "kept": ("False", "True"),
    }
    frame.astype({"year": float}).mask(frame["year"] == 2009).to_parquet("mine.parquet")
    assert load("mine.parquet", categories=["year"]).categories == {"year": ("2007", "2008")}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"categories": ["town"]}, "'town' for categories.*age, city, sort"),
        ({"categories": ["citty"]}, "did you mean 'city'"),
        ({"categories": ["city"], "labels": ["city"]}, "both as labels.*'city'"),
        ({"categories": ["name"]}, "'name'.*40 values in 40 rows"),
        ({"categories": ["zip"]}, "'zip'.*1,050 categories"),
    ],
)
def test_columns_that_cannot_be_categories_are_named(options, words):
    frame = table(name=[f"row {i}" for i in range(N)])
    if "zip" in options["categories"]:
        frame = pd.concat([frame] * 60).assign(zip=[f"z{i % 1050}" for i in range(60 * N)])
    frame.to_csv("mine.csv", index=False)
    with pytest.raises(DataError, match=words):
        load("mine.csv", **options)
    with pytest.raises(DataError, match=words):
        dataset_of(frame.reset_index(drop=True), **options)


def test_numbers_with_fractions_are_no_categories_where_they_are_numbers():
    table().to_parquet("mine.parquet")
    with pytest.raises(DataError, match="'age'.*text or whole numbers"):
        load("mine.parquet", categories=["age"])


def test_one_category_is_left_out():
    table(land="It").to_csv("mine.csv", index=False)
    with pytest.warns(DataWarning, match="'land' is left out"):
        assert load("mine.csv", categories=["land"]).feature_names == ("age",)


def test_text_that_is_not_named_stays_a_label():
    table().to_csv("mine.csv", index=False)
    assert list(load("mine.csv").labels) == ["city", "sort"]
    assert list(load("mine.csv", categories=["sort"]).labels) == ["city"]
    found = {each.name: each for each in inspect_data(settings("mine.csv")).columns}
    assert "--categories" in found["city"].why
    given = settings("mine.csv", categories=["city"], labels=["sort"])
    found = {each.name: each for each in inspect_data(given).columns}
    assert (found["city"].use, found["sort"].use) == ("observations", "label")
    assert found["city"].why == "3 categories, 5 of 40 cells are missing, first in row 3"


def test_a_column_may_have_a_name_that_labels_cannot():
    table().rename(columns={"city": "labels"}).to_csv("mine.csv", index=False)
    assert load("mine.csv", categories=["labels"]).feature_names == ("age", "labels")


def test_rows_of_another_file_get_the_numbers_of_the_training():
    known = {"city": ["Bern", "Oslo", "Rome"]}
    table().iloc[:, ::-1].query("city == 'Rome'").to_csv("new.csv", index=False)
    rows = read_rows(settings("new.csv"), (2,), ("age", "city"), known)
    ((x, _),) = rows.pieces(100)
    assert (x[:, 1] == 2).all()
    table(city=["Bern", "Bonn"] * 20).to_csv("new.csv", index=False)
    with pytest.raises(DataError, match="'city' has 'Bonn' in row 1"):
        read_rows(settings("new.csv"), (2,), ("age", "city"), known)


def test_arrays_may_have_categories():
    x = np.stack([np.arange(6.0), [0, 1, 2, np.nan, 2, 1]], 1)
    pairs = [("size", "s"), ("size", "m"), ("size", "l")]
    arrays = {"x": x, "feature_names": ["mass", "size"], "category_names": pairs}
    np.savez("mine.npz", **arrays)
    assert load("mine.npz").categories == {"size": ("s", "m", "l")}
    for wrong, words in (
        ({"category_names": [("mess", "s")]}, "'mess'"),
        ({"category_names": [*pairs, pairs[0]]}, "'size'.*'s'"),
        ({"category_names": ["s", "m"]}, r"\(n, 2\)"),
        ({"category_names": pairs[:2]}, "'size'.* 2,"),
        ({"x": np.ones((6, 2), np.uint8)}, "float32"),
    ):
        np.savez("mine.npz", **arrays | wrong)
        with pytest.raises(DataError, match=words):
            load("mine.npz")


def test_formats_without_text_have_no_categories():
    np.savez("mine.npz", x=np.eye(20))
    result = CliRunner().invoke(main, ["inspect", "mine.npz", "--categories", "city"])
    assert result.exit_code == 1
    assert "categories" in result.output
    with pytest.raises(DataError, match="data frame"):
        dataset_of(np.eye(20), categories=["city"])


def test_indicators_are_those_of_pandas():
    frame = table()
    values = np.stack([frame["age"], codes(CITIES)], 1)
    known = {"city": ["Bern", "Oslo", "Rome"]}
    found = with_indicators(values, ["age", "city"], known)
    expected = pd.get_dummies(frame["city"]).astype(float)
    expected[frame["city"].isna()] = np.nan
    np.testing.assert_array_equal(found, np.column_stack([frame["age"], expected]))
    largest = largest_of_columns(np.array([1.0, 2, 5, 3]), ["age", "city"], known)
    assert largest.tolist() == [1, 5]


def test_a_likelihood_that_takes_categories_for_numbers_is_refused():
    dataset = dataset_of(table().fillna("none"), categories=["city", "sort"])
    config = override(tiny_config(), ["model.likelihood=gaussian"])
    with pytest.raises(ConfigError, match="'city' has 4 categories"):
        fit(config, dataset)
    kinds = '["real","categorical:3","categorical:2"]'
    own = ["model.likelihood=columns", f"model.likelihood.options.kinds={kinds}"]
    with pytest.raises(ConfigError, match="'city' has 4 categories"):
        fit(override(tiny_config(), own), dataset)
