"""What is wrong with a model is found while it trains and afterwards, and nothing else is."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from distributed_job import StopAt
from models import tiny_config

from pyro_mfcvae import FacetClustering
from pyro_mfcvae.config import override
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.evaluation import HealthWatch, Vitals, evaluate, examine, find_illnesses
from pyro_mfcvae.evaluation.health import examine_elbo
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.presets.auto import auto_config
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.testing.case import SHARED, ModelCase
from pyro_mfcvae.training import fit
from pyro_mfcvae.training.callbacks import HEALTH, MetricsLog

AT_ONCE = ["training.kl_start=1", "training.kl_warm_up=[0,0]", "training.refit_mixtures=[]"]
FROM_RANDOM = {  # facets that begin as subspaces do not fall ill so
    "model.initialisation": "data-dependent",
    "model.mixture_initialisation": "gmm",
    "model.encoder": {"name": "ladder", "options": {"backbone": 16, "activation": "tanh"}},
    "model.decoder": {
        "name": "ladder",
        "options": {"backbone": 16, "rungs": 16, "activation": "tanh"},
    },
    "training.learning_rate": 5e-3,
    "training.learning_rate_warm_up": 0,
    "model.facets.0.weight_concentration": None,
}
LATENTS = {1: [2], 2: [1, 1]}
WELL = Vitals()


def _rows(n_kinds: tuple[int, ...], noise: float) -> Dataset:
    """400 standardised rows, with four columns for each factor."""
    draw = torch.Generator().manual_seed(0)
    parts = [
        (4 * torch.randn(k, 4, generator=draw))[torch.randint(k, (400,), generator=draw)]
        for k in n_kinds
    ]
    x = torch.cat(parts, 1)
    x += noise * torch.randn(x.shape, generator=draw)
    rows = torch.arange(400)
    return Dataset("rows", (x - x.mean(0)) / x.std(0), train=rows[:320], test=rows[320:])


def _train(dataset, clusters, *changes, latents=None, n_steps=300):
    """The trained model, the log of what is wrong, and what was said."""
    config = auto_config(dataset, clusters, latents, max_steps=n_steps).config
    config = override(config, ["training.device=cpu", "training.log_every=10", *changes])
    log, said = MetricsLog(), []
    fitted = fit(config, dataset, [HealthWatch(dataset.x, log, said.append)])
    return fitted, log.records, said


CASES = {
    "dead": ((2, 2), ["training.kl_weight=10"], {("dead", (0,)), ("dead", (1,))}),
    "same": ((2, 2), ["training.kl_weight=0.001"], {("same", (0, 1))}),
    "empty": ((40,), [], {("empty", (0,))}),
    "variances": (
        (2,),
        ["model.facets.0.initial_variance=1e5"],
        {("exploding", (0,)), ("collapsed", (0,))},
    ),
    "noise": (
        (2,),
        ["training.learning_rate=1e-4", "model.likelihood.options.scale=50"],
        {("exploding", ())},
    ),
}


@pytest.mark.parametrize(("clusters", "changes", "expected"), CASES.values(), ids=CASES)
def test_an_illness_is_found_while_training(clusters, changes, expected):
    dataset = _rows((2,), 0.02)
    start = [f"{path}={json.dumps(value)}" for path, value in FROM_RANDOM.items()]
    latents = LATENTS[len(clusters)]
    fitted, records, said = _train(dataset, clusters, *AT_ONCE, *start, *changes, latents=latents)
    assert {(f.kind, f.facets) for f in examine(fitted.model, dataset.x)} == expected
    found = [f for record in records for f in record["findings"]]
    assert {(f["kind"], tuple(f["facets"])) for f in found} >= expected
    assert {record["split"] for record in records} == {HEALTH}
    assert min(record["step"] for record in records) >= 200
    assert [text.partition(": ")[2] for text in said] == [f["sentence"] for f in found]
    assert {(f.kind, f.facets) for f in evaluate(fitted.model, dataset).health} == expected


def test_a_healthy_run_says_nothing_and_is_the_same_without_the_watch():
    dataset = _rows((3, 2), 0.5)
    fitted, records, said = _train(dataset, (3, 2), n_steps=600)
    assert (records, said, examine(fitted.model, dataset.x)) == ([], [], [])
    alone = fit(fitted.state.config, dataset).model.state_dict()
    for name, value in fitted.model.state_dict().items():
        assert torch.equal(value, alone[name]), name


def test_a_finding_is_said_when_it_appears():
    """Again only if it went away and came back; a run that goes on knows what was said."""
    illness = find_illnesses([replace(WELL, information=0.0)], np.eye(1))
    told = iter([illness, illness, [], illness, illness])
    config = auto_config(_rows((2,), 0.5), (2,), max_steps=400).config
    config = override(config, [*AT_ONCE, "training.device=cpu", "training.log_every=20"])
    log, said = MetricsLog(), []
    watch = HealthWatch(_rows((2,), 0.5).x, log, said.append)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyro_mfcvae.evaluation.watching.examine", lambda *_: next(told, illness))
        fitted = fit(config, _rows((2,), 0.5), [watch])
        assert [len(record["findings"]) for record in log.records] == [1, 0, 1]
        assert [text.partition(": ")[2] for text in said] == [illness[0].sentence] * 2
        watch.on_start(fitted.state)
        watch.on_log(fitted.state, {})
        assert len(said) == 2


def test_a_run_folder_has_it_and_a_run_that_goes_on_knows(tmp_path, monkeypatch):
    illness = find_illnesses([replace(WELL, information=0.0)], np.eye(1))
    monkeypatch.setattr("pyro_mfcvae.evaluation.watching.examine", lambda *_: illness)
    monkeypatch.setattr("pyro_mfcvae.evaluation.watching._FAIR", 1)
    monkeypatch.chdir(tmp_path)
    said = []
    whole, _, _ = train(tiny_config(), "whole", say=said.append)
    halted, _, _ = train(tiny_config(), "halted", [StopAt(20)])
    resume(halted)
    assert whole.metrics() == halted.metrics()
    (record,) = (record for record in whole.metrics() if record["split"] == HEALTH)
    assert record["findings"][0]["kind"] == "dead"
    assert f"step {record['step']}: {illness[0].sentence}" in said
    assert record["step"] < 20


def test_the_evaluation_and_its_file_have_it():
    dataset = _rows((2,), 0.02)
    fitted, *_ = _train(dataset, (2,), n_steps=10)
    found = evaluate(fitted.model, dataset)
    ill = replace(found, health=tuple(find_illnesses([replace(WELL, n_used=1)], np.eye(1))))
    assert Evaluation.from_dict(ill.to_dict()) == ill
    for health in (None, ()):
        values = json.loads(json.dumps(written := replace(ill, health=health).to_dict()))
        assert values == written
        assert Evaluation.from_dict(values).health == health


@pytest.mark.parametrize(("largest", "remedy"), [(1e8, "1e\\+08; leave"), (1.0, "learning_rate")])
def test_an_elbo_that_is_no_number_is_told_with_its_part_and_cause(largest, remedy):
    x = torch.zeros(4, 2)
    x[0, 0] = largest
    observation = Dataset("rows", x, train=torch.arange(3), test=torch.tensor([3])).observation
    assert examine_elbo({"train": -3.0, "test": -2.0}, observation) == []
    (found,) = examine_elbo({"train": -3.0, "test": float("nan")}, observation)
    assert found.kind == "not finite"
    assert "nan of the test part" in found.sentence
    assert re.search(remedy, found.sentence)


def test_an_estimator_has_it():
    x = _rows((2,), 0.02).x.numpy()
    settings = {"training.kl_weight": 10, "training.kl_start": 1, "training.kl_warm_up": [0, 0]}
    settings |= {"training.refit_mixtures": [], **FROM_RANDOM}
    few = {"latent_dim": LATENTS[1], "max_steps": 200, "n_init": 1, "random_state": 0}
    (sentence,) = FacetClustering((2,), settings=settings, **few).fit(x).health_
    assert "dead" in sentence


CASES_OF_MODELS = {
    "vlac": {"guides": ("amortized",)},
    "gmvae": {"facets": "2:3,1:1", "networks": SHARED},
    "ugvae": {"facets": "2:3,1:1", "networks": SHARED, "options": {"group_size": 16}},
}


@pytest.mark.parametrize("name", CASES_OF_MODELS)
def test_every_model_is_examined_as_it_is(name, monkeypatch):
    """In evaluation mode; afterwards it trains on, with the buffers that it had."""
    case = type("Case", (ModelCase,), {"name": name, **CASES_OF_MODELS[name]})()
    model = case.build().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    modes, assign = [], model.assign
    monkeypatch.setattr(model, "assign", lambda *a: (modes.append(model.training), assign(*a))[1])
    x = case.observations(30)
    random_state = torch.get_rng_state()
    examine(model, x)
    assert (modes, model.training) == ([False], True)
    assert torch.equal(torch.get_rng_state(), random_state)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


SAME = np.full((2, 2), 0.9)
APART = np.eye(2)


@pytest.mark.parametrize(
    ("facets", "redundancy", "noise", "expected"),
    [
        ([WELL, WELL], APART, 1.0, []),
        ([WELL, WELL], SAME, 0.0, [("same", (0, 1))]),
        ([WELL, replace(WELL, fade=0.5)], SAME, 0.0, []),
        ([replace(WELL, information=0.05), WELL], SAME, 0.0, [("dead", (0,))]),
        ([replace(WELL, information=0.0, fade=0.0), WELL], SAME, 0.0, []),
        ([replace(WELL, information=0.0, has_clusters=False), WELL], SAME, 0.0, []),
        ([replace(WELL, n_used=1, largest=1.0), WELL], SAME, 0.0, [("collapsed", (0,))]),
        ([replace(WELL, largest=0.97), WELL], APART, 0.0, [("collapsed", (0,))]),
        ([replace(WELL, n_clusters=20, n_used=3), WELL], APART, 0.0, [("empty", (0,))]),
        ([replace(WELL, n_clusters=20, n_used=9), WELL], APART, 0.0, []),
        ([replace(WELL, n_clusters=20, n_used=3, may_be_empty=True), WELL], APART, 0.0, []),
        ([WELL, replace(WELL, sureness=0.6)], APART, 0.0, [("unsure", (1,))]),
        ([WELL, replace(WELL, sureness=0.6, n_clusters=4, n_used=4)], APART, 0.0, []),
        ([WELL, replace(WELL, scale=200.0)], APART, 0.0, [("exploding", (1,))]),
        ([WELL, replace(WELL, scale=200.0, has_clusters=False)], APART, 0.0, [("exploding", (1,))]),
        ([WELL, WELL], APART, 5.0, [("exploding", ())]),
        ([WELL, replace(WELL, sureness=np.nan)], APART, 0.0, [("not finite", ())]),
        ([WELL, replace(WELL, scale=np.inf)], APART, 0.0, [("not finite", ())]),
        ([WELL, WELL], APART, np.nan, [("not finite", ())]),
    ],
)
def test_what_numbers_mean(facets, redundancy, noise, expected):
    found = find_illnesses(facets, redundancy, noise)
    assert [(f.kind, f.facets) for f in found] == expected
    for finding in found:
        assert all(str(j) in finding.sentence for j in finding.facets)


def test_what_a_latent_tells_at_most():
    """Of normal latents it is what they tell, in closed form."""
    from pyro_mfcvae.evaluation.health import _information

    draw = torch.Generator().manual_seed(0)
    means = torch.randn(50_000, 2, generator=draw) * torch.tensor([3.0, 0.0])
    variances = torch.tensor([[0.5, 2.0]]).expand(50_000, 2)
    expected = 0.5 * np.log(1 + 9 / 0.5)
    assert _information(means, variances) == pytest.approx(expected, abs=5 * (2 / 50_000) ** 0.5)
