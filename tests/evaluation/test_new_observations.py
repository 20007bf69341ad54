"""What ``predict`` takes, and labels of which some are missing."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import observations, small_model

from pyro_mfcvae import evaluation, predict
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.evaluation.held_out import held_out_metrics
from pyro_mfcvae.figures.registry import get_figure
from pyro_mfcvae.figures.seen import Seen


@pytest.mark.parametrize("dtype", [np.uint8, np.bool_, np.float64, np.uint16])
def test_arrays_are_read_as_those_in_a_file(dtype):
    model = small_model()
    x = (np.random.default_rng(0).uniform(size=(12, 4, 4)) * 255).astype(np.uint8)
    fractions = torch.from_numpy(x).double()[:, None] / 255
    array = {
        np.uint8: x,
        np.bool_: x > 127,
        np.float64: x / 255,
        np.uint16: x.astype(np.uint16) * 257,
    }[dtype]
    expected = predict(model, (fractions * 255 > 127).double() if dtype == np.bool_ else fractions)
    for given in (array, array[:, None], array[..., None], torch.from_numpy(array)):
        found = predict(model, given)
        for a, b in zip(found.responsibilities, expected.responsibilities, strict=True):
            np.testing.assert_allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.full((3, 1, 4, 4), np.nan), "3 of 3 .* x .*nan"),
        (torch.full((3, 1, 4, 4), torch.inf), "3 of 3 .* x .*inf"),
        (255 * np.random.default_rng(0).uniform(size=(3, 4, 4)), "x has values .* trained on 0 to"),
        (np.full((3, 4, 4), 1.5), "Bernoulli"),
        (np.zeros((3, 5, 4)), r"x must have observations of shape \(1, 4, 4\)"),
        (np.zeros((3, 16)), r"\(1, 4, 4\), got shape \(3, 16\)"),
        (np.array([["a"] * 16] * 3), "x must hold numbers"),
    ],
)
def test_what_training_cannot_have_seen_is_refused(x, message):
    with pytest.raises(DataError, match=message):
        predict(small_model(), x)


@pytest.fixture
def partly():
    """The same 60 observations with all labels, and with a third of them missing."""
    x, kind = observations(60).float(), torch.arange(60) % 4
    order = torch.arange(60)
    missing = torch.where(order % 3 == 1, -1, kind)
    return [Dataset("mine", x, order[:40], order[40:], {"kind": y}) for y in (kind, missing)]


def test_measures_leave_out_what_has_no_label(partly):
    model = small_model().float()
    whole, some = partly
    labelled = torch.arange(60) % 3 != 1
    parts = [rows[labelled[rows]] for rows in (whole.train, whole.test)]
    expected = evaluation.evaluate(model, Dataset("few", whole.x, *parts, whole.labels))
    found = evaluation.evaluate(model, some)
    assert found.n_observations == {"train": 40, "test": 20}
    for facet, other in zip(found.facets, expected.facets, strict=True):
        assert facet.factors == other.factors
    logged = held_out_metrics(model, some)
    clusters = predict(model, some.x[some.test]).clusters[0]
    kept = labelled[some.test].numpy()
    labels = whole.labels["kind"][some.test].numpy()[kept]
    accuracy = evaluation.majority_accuracy(labels, clusters[kept])
    assert accuracy in logged.values()
    assert evaluation.probe(model, some).most_frequent_class.keys() == {"kind"}
    assert len(evaluation.values_of(some, "kind")) == 4


def test_figures_leave_out_what_has_no_label(partly):
    seen = Seen.of(small_model().float(), partly[1], 1.0)
    confused = get_figure("confusion")
    figure = confused.draw(confused.compute(seen, 0))
    rows = [text.get_text() for axes in figure.axes for text in axes.get_yticklabels()]
    assert sum(int(row.split("n ")[1]) for row in rows if "n " in row) == 13
    latents = get_figure("latents")
    space = latents.compute(seen, 0)
    colors = latents.draw(space).axes[0].collections[0].get_facecolors()
    assert (np.abs(colors[:, :3] - 0.8).max(1) < 1e-6).sum() == 7


def test_labels_of_a_data_set(partly):
    x, order = partly[0].x, torch.arange(60)
    unsigned = torch.from_numpy((np.arange(60) % 2).astype(np.uint64))
    assert Dataset("m", x, order[:40], order[40:], {"kind": unsigned}).labels["kind"].max() == 1
    for wrong in (torch.rand(60), order - 2):
        with pytest.raises(DataError, match="labels 'kind'"):
            Dataset("m", x, order[:40], order[40:], {"kind": wrong})
    with pytest.raises(ValueError, match=r"labels must be below 2\*\*63"):
        evaluation.majority_accuracy(np.array([0, 2**64 - 1], np.uint64), [0, 1])
    labels = np.array([0, 1, 1, 2], np.uint64)
    assert evaluation.majority_accuracy(labels, labels) == 1
    assert evaluation.exemplar_accuracy(labels, np.eye(3)[labels]) == 1
