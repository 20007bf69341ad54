"""How often a model draws each cluster, as its Pyro program has it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import small_model
from variants import random_model

from pyro_mfcvae.data import as_float
from pyro_mfcvae.evaluation.prior_weights import prior_weights
from pyro_mfcvae.figures import Seen, draw_figure, get_figure


def _held_out(model) -> Seen:
    x = torch.randn(20, *model.observation.shape, generator=torch.Generator().manual_seed(0))
    return Seen(model, 1.0, as_float(x), {}, {})


def test_weights_of_independent_facets_are_exact():
    model = small_model(3)
    before = torch.get_rng_state()
    weights = prior_weights(model)
    assert torch.equal(torch.get_rng_state(), before)
    assert sorted(weights) == [0, 1, 2]
    for j, facet in enumerate(model.facets):
        expected = facet.log_weights.exp().detach().numpy()
        np.testing.assert_allclose(weights[j], expected, rtol=1e-6)


def test_a_facet_that_depends_on_another_has_its_margin():
    """Of examples/hierarchical_facets.py, within 5 standard errors of 5000 draws."""
    model = random_model("hierarchical_facets")
    with torch.no_grad():
        table = model.pairs().log_table.exp()
        rows = model.rows.softmax(-1)
    weights = prior_weights(model)
    np.testing.assert_allclose(weights[0], table.sum(1), rtol=1e-12)
    margin = table.sum(0)
    deviation = (table.sum(1) @ (rows - margin).square()).sqrt()
    assert (np.abs(weights[1] - margin.numpy()) < 5 * deviation.numpy() / 5000**0.5).all()
    own = model.facets[1].log_weights.exp().detach()  # which the model does not use
    assert ((own - margin).abs() > 10 * deviation / 5000**0.5).any()
    assert not np.array_equal(weights[1], prior_weights(model, seed=1)[1])


def test_the_figure_shows_what_the_model_uses():
    model = random_model("hierarchical_facets").float()
    figure = draw_figure("weights", _held_out(model))
    for j, axes in enumerate(figure.axes):
        order = [int(text.get_text()) for text in axes.get_xticklabels()]
        dots = axes.lines[0].get_ydata()
        np.testing.assert_allclose(dots, prior_weights(model)[j][order], rtol=1e-6)


def test_a_model_without_such_a_site_says_why():
    model = small_model(2)
    model.model = lambda x: None
    assert get_figure("weights").fits(_held_out(model)) == "the model draws no site c_0, c_1"


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_weights_on_a_gpu():
    weights = prior_weights(small_model(2).cuda())
    assert all(w.sum() == pytest.approx(1) for w in weights.values())
