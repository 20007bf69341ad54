"""Facets against factors: every cell is what the measure says, and the figure shows it."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from models import observations, small_model
from sklearn import metrics

from pyro_mfcvae import evaluation
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.evaluation.matrices import TITLES
from pyro_mfcvae.figures.agreement import Agreement, AgreementMatrices
from pyro_mfcvae.figures.names import readable

_PARTS = ("train", "test")


@pytest.fixture
def given():
    """Three facets and two factors; facet 1 is the first factor, facet 2 one cluster."""
    generator = np.random.default_rng(0)
    labels = {"hue": generator.integers(4, size=60), "shape": generator.integers(3, size=60)}
    return [generator.integers(6, size=60), labels["hue"] + 1, np.zeros(60, int)], labels


def test_every_cell_is_the_measure_of_its_facet_and_factor(given):
    clusters, labels = given
    matrices = evaluation.agreement_matrices(clusters, labels)
    references = {
        "nmi": metrics.normalized_mutual_info_score,
        "ari": metrics.adjusted_rand_score,
        "homogeneity": metrics.homogeneity_score,
        "majority_accuracy": lambda y, c: (
            metrics.cluster.contingency_matrix(y, c).max(0).sum() / 60
        ),
        "class_weighted_accuracy": evaluation.class_weighted_accuracy,
        "hungarian_accuracy": evaluation.hungarian_accuracy,
    }
    assert set(matrices) == set(references)
    for measure, reference in references.items():
        expected = [[reference(y, c) for y in labels.values()] for c in clusters]
        np.testing.assert_allclose(matrices[measure], expected, rtol=1e-12, atol=1e-15)
        assert matrices[measure][1, 0] == pytest.approx(1)


def test_maps_that_were_learnt_elsewhere(given):
    clusters, labels = given
    half = slice(30)
    maps = evaluation.majority_maps(
        [c[half] for c in clusters], {f: y[half] for f, y in labels.items()}, [6, 5, 1]
    )
    found = evaluation.agreement_matrices(clusters, labels, maps)["majority_accuracy_training_map"]
    for (j, f), value in np.ndenumerate(found):
        classes = list(labels.values())[f]
        guessed = [np.bincount(classes[half][clusters[j][half] == k]).argmax() for k in clusters[j]]
        assert value == pytest.approx((guessed == classes).mean())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda c, y: ([], y), "one facet and one factor, got 0 and 2"),
        (lambda c, y: (c, {}), "one facet and one factor, got 3 and 0"),
        (lambda c, y: ([*c, c[0][1:]], y), "of one length, got shapes"),
        (lambda c, y: ([c[0] - 1], y), "clusters must be whole numbers"),
        (lambda c, y: (c, y, [{}]), "maps for hue, shape of 3 facets"),
        (lambda c, y: (c[:1], y, [{"hue": 0, "colour": 0}]), r"1 facets, got \['hue, colour'\]"),
    ],
)
def test_bad_input_is_refused(given, arguments, message):
    with pytest.raises(ValueError, match=message):
        evaluation.agreement_matrices(*arguments(*given))


@pytest.fixture
def results():
    """An evaluation as it is stored, with a probe."""
    labels = {"side": torch.randint(3, (40,)), "other": torch.randint(2, (40,))}
    x = observations(40).float()
    dataset = Dataset("toy", x, torch.arange(30), torch.arange(30, 40), labels)
    model = small_model(2).float()
    found = evaluation.evaluate(model, dataset)
    found["probe"] = {"facets": [{"side": 0.1, "other": 0.2}, {"side": 0.3, "other": 0.4}]}
    return model, dataset, json.loads(json.dumps(found))


def test_a_stored_evaluation_gives_the_same(results):
    model, dataset, stored = results
    seen = {p: evaluation.predict(model, dataset.split(p)[0]) for p in _PARTS}
    predicted = {p: seen[p].clusters for p in _PARTS}
    labels = {p: {f: y.numpy() for f, y in dataset.split(p)[1].items()} for p in _PARTS}
    maps = evaluation.majority_maps(predicted["train"], labels["train"], [5, 4])
    assert evaluation.stored_factors(stored) == ["side", "other"]
    for part in _PARTS:
        expected = evaluation.agreement_matrices(
            predicted[part], labels[part], maps, seen[part].responsibilities
        )
        if part == "test":
            expected["probe_accuracy"] = np.array([[0.1, 0.2], [0.3, 0.4]])
        found = evaluation.stored_matrices(stored, part)
        assert set(found) == set(expected)
        assert list(found) == [measure for measure in TITLES if measure in found]
        for measure, values in expected.items():
            np.testing.assert_array_equal(found[measure], values)


def test_an_evaluation_by_an_earlier_version_has_fewer_measures(results):
    *_, stored = results
    del stored["facets"][1]["factors"]["side"]["test"]["homogeneity"]
    assert "homogeneity" not in evaluation.stored_matrices(stored, "test")
    assert "homogeneity" in evaluation.stored_matrices(stored, "train")


def test_what_is_no_evaluation_is_refused(results):
    *_, stored = results
    with pytest.raises(ValueError, match="part 'train' or 'test', got 'validation'"):
        evaluation.stored_matrices(stored, "validation")
    del stored["probe"]["facets"][1]
    broken = json.loads(json.dumps(stored))
    del broken["probe"], broken["facets"][1]["factors"]["other"]
    for bad in ({}, {"facets": []}, [], stored, broken):
        with pytest.raises(ValueError, match="no whole results of an evaluation; evaluate"):
            evaluation.stored_matrices(bad)
    for facet in stored["facets"]:
        facet["factors"] = {}
    assert evaluation.stored_matrices(stored) == {}


def _matrices(n_facets: int, n_factors: int) -> dict:
    generator = np.random.default_rng(3)
    return {measure: generator.uniform(-0.1, 1, (n_facets, n_factors)) for measure in TITLES}


@pytest.mark.parametrize(("n_facets", "n_factors"), [(3, 8), (1, 1), (2, 40)])
def test_the_figure_has_every_value_in_its_cell(n_facets, n_factors):
    matrices = _matrices(n_facets, n_factors)
    factors = [f"a_long_name_of_$factor_{i}" for i in range(n_factors)]
    factors[0] = "hue"
    clusters = [10 * (j + 1) for j in range(n_facets)]
    result = AgreementMatrices(matrices, factors, clusters, "held-out observations")
    figure = Agreement().draw(result)
    titles = [text.get_text() for text in figure.texts]
    assert titles == [*TITLES.values(), "held-out observations"]
    for axes, values in zip(figure.axes, matrices.values(), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), values)
        assert axes.images[0].get_clim() == (0, 1)
        rows = [text.get_text() for text in axes.get_yticklabels()]
        assert rows == [f"facet {j}, K = {n}" for j, n in enumerate(clusters)]
        columns = [text.get_text() for text in axes.get_xticklabels()]
        assert columns == [readable(factor) for factor in factors]
        written = {text.get_position()[::-1]: text for text in axes.texts}
        for cell, value in np.ndenumerate(values):
            assert written[cell].get_text() == f"{100 * value:z.1f}"
            assert to_rgb(written[cell].get_color()) == to_rgb("white" if value > 0.6 else "black")


@pytest.mark.parametrize(("n_facets", "n_factors"), [(3, 8), (1, 1), (2, 40)])
def test_nothing_in_the_figure_overlaps_or_is_cut_off(n_facets, n_factors):
    names = [f"attribute_number_{i}_W" for i in range(n_factors)]
    matrices, clusters = _matrices(n_facets, n_factors), [5000] * n_facets
    figure = Agreement().draw(AgreementMatrices(matrices, names, clusters, "held out"))
    figure.canvas.draw()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    boxes += [text.get_window_extent() for text in figure.texts]
    page = figure.bbox
    for i, box in enumerate(boxes):
        assert page.x0 <= box.x0 < box.x1 <= page.x1
        assert page.y0 <= box.y0 < box.y1 <= page.y1
        assert not any(box.overlaps(other) for other in boxes[:i])
