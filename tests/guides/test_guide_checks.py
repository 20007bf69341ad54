"""What a guide of one's own is refused for, before anything is written."""

from __future__ import annotations

import re

import pyro
import pytest
import torch
from models import observations, small_model, tiny_config
from torch import nn

from pyro_mfcvae import MFCVAE, Noise
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation.compare import compare_guides
from pyro_mfcvae.guides import GUIDES, ClosedFormGuide, VadeGuide, enumerate_cluster, temperature_of
from pyro_mfcvae.guides.building import build_guide
from pyro_mfcvae.models.base import data_plate
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.training.begin import prepare


class Cooled(VadeGuide):
    """Calls something temperature."""

    given: object = None

    def __init__(self, model):
        super().__init__(model)
        if isinstance(self.given, torch.Tensor) and not isinstance(self.given, nn.Parameter):
            self.register_buffer("temperature", self.given)
        else:
            self.temperature = self.given


class Owner(VadeGuide):
    """Keeps the model as torch does by itself."""

    def __init__(self, model):
        super().__init__(model)
        self.model = model


class Failing(VadeGuide):
    """Cannot be made."""

    error: Exception = ValueError("no\nnetwork")

    def __init__(self, model):
        super().__init__(model)
        raise self.error


@pytest.fixture(autouse=True)
def _guides(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, guide in (("cooled", Cooled), ("owner", Owner), ("failing", Failing)):
        monkeypatch.setitem(GUIDES, name, guide)


@pytest.mark.parametrize(
    ("given", "came"),
    [
        (0.5, "float"),
        (nn.Parameter(torch.ones(())), "Parameter of shape ()"),
        (torch.ones(2), "buffer of torch.float32 of shape (2,)"),
        (torch.ones((), dtype=torch.long), "buffer of torch.int64 of shape ()"),
    ],
)
def test_another_temperature_than_training_sets_is_refused(given, came, monkeypatch, tmp_path):
    monkeypatch.setattr(Cooled, "given", given)
    with pytest.raises(ConfigError, match="guide 'cooled' has an attribute temp") as refused:
        train(tiny_config(**{"guide.name": "cooled"}), "run")
    assert f"expected a buffer of shape () of floating point, got {came}; " in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("given", [None, torch.full((), 7.0)])
def test_training_sets_a_temperature_that_is_a_buffer(given, monkeypatch):
    monkeypatch.setattr(Cooled, "given", given)
    _, state = prepare(tiny_config(**{"guide.name": "cooled", "guide.temperature": "[3,1]"}))
    state.begin_step()
    temperature = temperature_of(state.objective.guide)
    assert temperature is None if given is None else temperature.item() == 3


@pytest.mark.parametrize("error", [ConfigError("says how to go on"), MemoryError("none left")])
def test_errors_that_need_no_more_words_pass(error, monkeypatch):
    monkeypatch.setattr(Failing, "error", error)
    with pytest.raises(type(error)) as raised:
        build_guide("failing", small_model())
    assert raised.value is error


def test_relaxed_clusters_have_a_network_and_begin_at_temperature_1():
    guide = build_guide("relaxed", small_model())
    assert guide.cluster_networks == [guide.network]
    assert guide.state_dict()["temperature"].item() == 1


def _rows(log_responsibilities):
    return log_responsibilities.mean(0)[:, :1]


@pytest.mark.parametrize(
    ("over_samples", "came"),
    [
        (lambda _: None, "got NoneType"),
        (_rows, "got shape (6, 1)"),
        (lambda log_r: log_r, "got shape (1, 6, 5)"),
    ],
)
def test_what_over_samples_returns_is_checked(over_samples, came):
    class Wrong(ClosedFormGuide):
        def over_samples(self, log_responsibilities):
            return over_samples(log_responsibilities)

    model = small_model()
    expected = r"Wrong.over_samples must return .* of shape \(B, K\) = \(6, 5\), "
    with pytest.raises(ValueError, match=expected + re.escape(came)), Noise(0):
        model(observations(), guide=Wrong(model))


def test_a_guide_that_cannot_be_made_is_named(tmp_path):
    expected = "guide 'failing' cannot be made: its __init__ failed with ValueError: no network; "
    with pytest.raises(ConfigError, match=expected) as refused:
        train(tiny_config(**{"guide.name": "failing"}), "run")
    assert isinstance(refused.value.__cause__, ValueError)
    assert not list(tmp_path.iterdir())


def test_a_guide_does_not_own_the_model(tmp_path):
    with pytest.raises(ConfigError, match="guide 'owner' holds the model as a submodule, but"):
        train(tiny_config(**{"guide.name": "owner"}), "run")
    assert not list(tmp_path.iterdir())


class Chained(MFCVAE):
    """The cluster of facet 1 depends on that of facet 0."""

    def model(self, x):
        with data_plate(x):
            c_0 = enumerate_cluster(0, self.facets[0].log_weights)
            rows = torch.eye(self.facets[0].n_clusters, self.facets[1].n_clusters).to(x)
            c_1 = enumerate_cluster(1, rows[c_0])
            zs = [
                pyro.sample(f"z_{j}", self.facets[j].component(c), infer={"facet": j})
                for j, c in enumerate((c_0, c_1))
            ]
            pyro.sample("x", self.decode(zs), obs=x)


@pytest.mark.parametrize("name", ["vade", "vade-analytic", "expectation", "posterior"])
def test_clusters_that_depend_on_each_other_are_not_inferred_apart(name):
    model, x = Chained((1, 4, 4), "2:3,2:4"), torch.rand(3, 1, 4, 4)
    with pytest.raises(ConfigError, match="c_0, c_1 depend on each other.*'c_1'"):
        model(x, GUIDES[name](model))
    bounds = [model(x, GUIDES[other](model)).elbo for other in ("enumerate", "amortized")]
    assert all(bound.isfinite().all() for bound in bounds)
    fitting = compare_guides(model, x, ["enumerate", name], n_samples=[1], n_draws=2)
    assert "depend on each other" in fitting.left_out[name]
