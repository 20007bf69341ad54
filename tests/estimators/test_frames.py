"""Data frames in, data frames out."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from pyro_mfcvae import FacetClustering
from pyro_mfcvae.errors import DataWarning
from pyro_mfcvae.evaluation.cluster_facts import facts_of, largest_values

pd = pytest.importorskip("pandas")

FEW = {"max_steps": 20, "n_init": 1, "random_state": 0}
NAMES = ["length", "depth", "mass"]
X = pd.DataFrame(
    np.random.default_rng(0).normal([5, 0, -3], [2, 1, 0.1], size=(60, 3)),
    columns=NAMES,
    index=[f"bird {i}" for i in range(60)],
)


@pytest.fixture
def facets():
    return FacetClustering((3, 2), **FEW).fit(X)


def test_names_are_kept(facets):
    assert list(facets.feature_names_in_) == NAMES
    assert facets.n_features_in_ == 3
    out = facets.set_output(transform="pandas").transform(X)
    assert list(out.columns) == list(facets.get_feature_names_out())
    assert list(out.index) == list(X.index)


def test_rows_are_assigned_on_their_own_index(facets):
    found = facets.assign(X)
    assert list(found) == ["facet_0", "facet_0_p", "facet_1", "facet_1_p"]
    assert list(found.index) == list(X.index)
    assert_array_equal(found[["facet_0", "facet_1"]], facets.labels_)
    proba = facets.predict_proba(X)
    assert_allclose(found["facet_1_p"], proba[:, 1].max(1))
    some = X.iloc[[5, 3]].assign(text="other")
    pd.testing.assert_frame_equal(found.loc[some.index], facets.assign(some))
    with pytest.raises(ValueError, match="depth"):
        facets.assign(X.drop(columns="depth"))
    assert len(facets.assign(X.to_numpy())) == 60


def test_polars_in_polars_out(facets):
    pl = pytest.importorskip("polars")
    frame = pl.DataFrame({name: X[name].to_numpy() for name in NAMES})
    found = facets.assign(frame)
    assert isinstance(found, pl.DataFrame)
    assert_array_equal(found["facet_0"].to_numpy(), facets.labels_[:, 0])
    fitted = FacetClustering((3, 2), **FEW).fit(frame.select(NAMES))
    assert_array_equal(fitted.labels_, facets.labels_)


def test_names_that_people_give(facets):
    used = int(facets.labels_[0, 1])
    facets.rename({1: "kind"}, {1: {used: "Adelie"}})
    found = facets.assign(X)
    assert list(found)[2:] == ["kind", "kind_p"]
    assert found["kind"].iloc[0] == "Adelie"
    assert "Adelie" in facets.cluster_info(1).index
    assert "kind" in facets.facet_info().index
    assert facets.crosstab(0, 1).columns.name == "kind"
    with pytest.raises(ValueError, match="facet from 0 to 1"):
        facets.rename({2: "other"})


def test_tables_of_facets_and_clusters(facets):
    info = facets.facet_info()
    assert_array_equal(info["clusters"], [3, 2])
    assert_array_equal(info["used"], [len(set(labels)) for labels in facets.labels_.T])
    clusters = facets.cluster_info(0)
    assert clusters["size"].sum() == 60
    assert clusters["size"].is_monotonic_decreasing
    assert_allclose(clusters["share"].sum(), 1)
    assert clusters["typical"].iloc[0][0] in X.index
    table = facets.crosstab(0, 1)
    assert table.to_numpy().sum() == 60
    k, c = int(table.index[0]), int(table.columns[0])
    assert table.loc[k, c] == ((facets.labels_ == [k, c]).all(1)).sum()


def test_what_sets_a_cluster_apart():
    values = np.c_[np.repeat([0.0, 10.0], 10), np.tile([0.0, 1.0], 10)]
    responsibilities = np.repeat([[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], 10, axis=0)
    facts = facts_of(responsibilities, values[:, :1], values, None)
    assert_array_equal(facts.sizes, [10, 10, 0])
    assert_allclose(facts.differences[:2], [[-1, 0], [1, 0]])
    assert_allclose(facts.told, [1, 0])
    assert_allclose(facts.sureness[:2], [0.9, 0.8])
    assert facts.sure == pytest.approx(0.85)
    assert facts.typical[2] == []


def test_a_column_that_all_rows_of_a_cluster_miss_does_not_set_it_apart():
    values = np.c_[np.repeat([0.0, 10.0], 10), np.repeat([1.0, np.nan], 10)]
    facts = facts_of(np.repeat(np.eye(2), 10, axis=0), values[:, :1], values, None)
    assert_allclose(facts.differences, [[-1, 0], [1, np.nan]])
    assert largest_values(facts.differences[1], ["a", "b"]) == [("a", 1.0)]


def test_pairs_of_clusters_are_drawn(facets):
    (axes,) = facets.plot_pairs(0, 1).axes
    rows, columns = (len(set(labels)) for labels in facets.labels_.T)
    (image,) = axes.images
    assert image.get_array().shape == (X.shape[1], rows * columns)
    lines = [label.get_text() for label in axes.get_yticklabels()]
    assert [line.split("  ")[0] for line in lines] == [*X.columns]
    low, high = map(float, lines[0].split("  ")[1].split(" to "))
    assert X.iloc[:, 0].min() < low < high < X.iloc[:, 0].max()


def test_of_many_columns_those_are_drawn_that_facets_tell_of():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(60, 40)) / 3
    values[:, [3, 17]] += 6 * (np.arange(60) % 2)[:, None]
    facets = FacetClustering((2, 2), **FEW).fit(values)
    (axes,) = facets.plot_pairs(0, 1).axes
    drawn = [label.get_text().split()[0] for label in axes.get_yticklabels()]
    assert len(drawn) == 30
    assert {"x3", "x17"} < set(drawn)


def test_a_page_tells_of_facets_and_clusters(facets, tmp_path):
    facets.rename({0: "kind <of> bird"})
    page = facets.report(tmp_path / "page.html").read_text()
    assert "<of>" not in page
    assert all(text in page for text in ("kind &lt;of&gt; bird", "depth", "data:image"))
    facets.report(tmp_path / "page.html")
    (tmp_path / "mine.html").write_text("mine")
    with pytest.raises(ValueError, match="mine.html"):
        facets.report(tmp_path / "mine.html")
    loaded = pickle.loads(pickle.dumps(facets))
    with pytest.raises(ValueError, match="rows"):
        loaded.report(tmp_path / "page.html")
    loaded.report(tmp_path / "page.html", X)


def test_a_notebook_shows_estimators_and_figures(facets, capsys):
    shown = facets.rename({0: "<b>"})._repr_mimebundle_()["text/html"]
    assert "<th>&lt;b&gt;</th>" in shown
    assert "facet_1" not in FacetClustering()._repr_html_()
    assert facets.plot_pairs(0, 1)._repr_png_().startswith(b"\x89PNG")
    FacetClustering((2, 2), verbose=True, **FEW).fit(X)
    assert "20/20" in capsys.readouterr().err


def test_dates_and_infinite_values_are_named():
    with pytest.raises(ValueError, match="seen"):
        FacetClustering((2, 2), **FEW).fit(X.assign(seen=pd.Timestamp("2026-01-01")))
    wrong = X.copy()
    wrong.iloc[4, 1] = np.inf
    with pytest.raises(ValueError, match="row 4, column 'depth'"):
        FacetClustering((2, 2), **FEW).fit(wrong)


def test_columns_in_another_order_are_taken_by_their_names_and_that_is_said(facets):
    with pytest.warns(DataWarning, match="length, depth, mass"):
        found = facets.assign(X[["mass", "length", "depth"]])
    pd.testing.assert_frame_equal(found, facets.assign(X))


def test_rows_of_one_name_are_said(facets):
    twice = X.rename(index={"bird 4": "bird 3"})
    with pytest.warns(DataWarning, match="'bird 3'"):
        found = facets.assign(twice)
    assert_array_equal(found["facet_0"], facets.labels_[:, 0])
    with pytest.warns(DataWarning, match="'bird 3'"):
        FacetClustering((3, 2), **FEW).fit(twice)


def test_columns_with_one_value_only_are_said():
    with pytest.warns(DataWarning, match="'year'"):
        FacetClustering((3, 2), **FEW).fit(X.assign(year=2007.0))
