"""Figures: what is drawn, read back from the figure."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_mfcvae import figures


def _images(figure):
    return [axes.images[0].get_array() for axes in figure.axes]


def _labels(figure):
    return [text.get_text() for text in figure.texts]


def test_cluster_examples_are_sorted_by_probability():
    x = np.arange(5, dtype=float).reshape(5, 1, 1, 1) / 10
    responsibilities = np.array(
        [[0.6, 0.4, 0.0], [0.1, 0.9, 0.0], [0.9, 0.1, 0.0], [0.2, 0.8, 0.0], [0.7, 0.3, 0.0]]
    )
    figure = figures.cluster_examples(x, responsibilities, n_examples=2)
    # Cluster 1 has mean 0.85, cluster 0 0.73; cluster 2 is empty.
    assert _labels(figure)[:2] == ["1  p 0.85  n 2", "0  p 0.73  n 3"]
    assert [image.item() for image in _images(figure)] == [0.1, 0.3, 0.2, 0.4]
    assert figures.cluster_order(responsibilities) == [1, 0]


def test_reconstructions_stand_below_their_inputs():
    x = np.linspace(0, 1, 5).reshape(5, 1, 1, 1)
    figure = figures.reconstructions(x, x / 2, n_columns=3)
    values = [image.item() for image in _images(figure)]
    np.testing.assert_allclose(values[:3], x[:3].ravel())
    np.testing.assert_allclose(values[3:6], x[:3].ravel() / 2)
    assert len(values) == 10


@pytest.mark.parametrize("shape", [(3, 4, 5), (1, 4, 5), (7,)])
def test_any_kind_of_observation_can_be_drawn(shape, tmp_path):
    pictures = np.random.default_rng(0).normal(size=(2, 3, *shape))
    figure = figures.cluster_samples(pictures, [4, 2], title="samples")
    figure.savefig(tmp_path / "figure.png")
    assert len(figure.axes) == 6
    assert _labels(figure)[:2] == ["cluster 4", "cluster 2"]
    expected = (1, 7, 3) if len(shape) == 1 else (4, 5, 3) if shape[0] == 3 else (4, 5)
    for image in _images(figure):
        assert image.shape == expected
        assert image.min() >= 0
        assert image.max() <= 1


def test_curves_show_what_is_weighed():
    records = [
        {"step": step, "values": {"elbo": -2.0, "reconstruction": -1.0, "kl_z_0": 8.0,
                                  "kl_c_0": 2.0, "fade_0": fade}}
        for step, fade in ((1, 0.0), (2, 0.5), (3, 1.0))
    ]  # fmt: skip
    figure = figures.training_curves(records)
    top, middle, bottom = figure.axes
    assert [line.get_label() for line in top.lines] == ["ELBO", "log p(x | z)"]
    np.testing.assert_allclose(middle.lines[0].get_ydata(), [0, 4, 8])
    np.testing.assert_allclose(middle.lines[1].get_ydata(), [0, 1, 2])
    np.testing.assert_allclose(bottom.lines[0].get_ydata(), [0, 0.5, 1])
    with pytest.raises(ValueError, match="no log points"):
        figures.training_curves([])
