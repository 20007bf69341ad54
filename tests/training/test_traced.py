"""Traced steps against the same steps as they are; the models' contract has the guides."""

from __future__ import annotations

import warnings

import pandas as pd
import pytest
import torch
from distributed_job import StopAt
from models import Replayed, tiny_config

from pyro_mfcvae import MFCVAE, VaDEClustering
from pyro_mfcvae.config import override
from pyro_mfcvae.errors import SlowStepWarning
from pyro_mfcvae.guides import GUIDES, VadeGuide
from pyro_mfcvae.models import MODELS
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.testing.case import first_state
from pyro_mfcvae.training import Callback, fit
from pyro_mfcvae.training.devices.captured import Captured
from pyro_mfcvae.training.devices.functional import GivenNoise
from pyro_mfcvae.training.devices.stepping import stepper
from pyro_mfcvae.training.devices.traced import MAX_GRAPHS, Traced
from pyro_mfcvae.training.engine import Engine
from pyro_mfcvae.training.fitted import fit_all

WARP = '{"rotation": 20, "shift": 1, "elastic": 0.7}'
CONV = '{"name": "conv-ladder", "options": {"batch_norm": true, "channels": 8}}'
SETTINGS = {
    "as it is": {},
    "recipe": {
        "training.warp": WARP,
        "training.kl_start": "0.1",
        "training.kl_warm_up": "[1,3]",
        "training.refit_mixtures": "[1,3]",
        "training.learning_rate_schedule": "cosine",
        "training.kl_floor": "0.2",
        "training.max_gradient_norm": "5.0",
    },
    "samples": {"guide.n_samples": "3", "training.min_information": "0.4"},
    "bernoulli": {"model.likelihood": '"bernoulli"', "model.facets.0.covariance": "full"},
    "convolutional": {
        "model.encoder": CONV,
        "model.decoder": CONV,
        "training.precision": "bf16",
        "training.epochs_per_step": "[1,1]",
    },
    "relaxed": {"guide.name": "relaxed", "model.likelihood.options.learn_scale": "true"},
}


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def config_of(settings, **more):
    changes = [f"{path}={value}" for path, value in (settings | more).items()]
    return override(tiny_config(), changes)


def equal(a, b):
    ours, theirs = a.objective.state_dict(), b.objective.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    return a.step == b.step


TRACED = {"training.step": "traced"}


@pytest.fixture
def graphs_without_facets(monkeypatch):
    """Have even short stretches without a facet their own graphs."""
    monkeypatch.setattr("pyro_mfcvae.training.devices.traced._WORTH_A_GRAPH", {False: 1, True: 1})


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_run_is_the_same_bit_for_bit(settings, graphs_without_facets):
    """With batches of two sizes, in float32."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", SlowStepWarning)
        eager, traced = (fit(config_of(settings, **more)) for more in ({}, TRACED))
    assert equal(eager.state, traced.state)
    assert eager.log == traced.log


def test_a_facet_whose_turn_has_not_come_costs_nothing(graphs_without_facets):
    state = first_state(config_of({}))
    steps = Traced(GivenNoise(state))
    products = []
    while state.step < state.n_steps:
        batch = steps.begin()
        products.append(sum("mm" in str(node.target) for node in _graph_of(steps, *batch)))
        steps.end(steps.advance(*batch))
    first, last = products[0], products[-1]
    begins = state.schedule.steps_per_stage[0]
    assert set(products[:begins]) == {first}
    assert set(products[begins:]) == {last}
    assert first < 0.8 * last


def test_a_captured_graph_without_a_facet_is_another_one(graphs_without_facets):
    state = first_state(config_of({}))
    captured = Captured(Traced(GivenNoise(state)), Replayed())
    while state.step < state.n_steps:
        captured.step()
    assert {off for (_, off) in captured._captured} == {(0,), ()}


def _graph_of(steps, x, noise):
    return steps._graph(x, noise).graph.nodes


def test_a_table_with_gaps_is_the_same_bit_for_bit_and_several_starts_to_rounding():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(90, 2, generator=generator).numpy()
    frame = pd.DataFrame({"a": x[:, 0], "b": (x[:, 1] > 0).astype(float), "c": list("xyz") * 30})
    frame.loc[frame.a > 1, "b"] = None

    def scores(n_init, settings):
        few = {"n_init": n_init, "random_state": 0, "max_steps": 30}
        return VaDEClustering(3, settings=settings, **few).fit(frame).scores_

    assert scores(1, {}) == scores(1, TRACED)
    assert scores(2, {}) == pytest.approx(scores(2, TRACED), rel=1e-9)


def test_nothing_that_changes_is_a_constant_of_the_graph():
    settings = SETTINGS["recipe"] | {"guide.name": "relaxed", "training.min_information": "9"}
    state = first_state(config_of(settings, **{"training.dtype": "float64"}))
    steps = Traced(GivenNoise(state))
    x, noise = steps.begin()
    state.fade.fill_(0.7)
    arguments = [tensor.detach().clone() for tensor in steps._arguments(x, noise)]
    graph, as_it_is = steps._graph(x, noise), steps._flat(list(noise))
    names = [*steps.steps.parameters, *steps.steps.buffers, "x", *noise]
    with torch.no_grad():
        first = graph(*arguments)
    without_effect, generator = set(), torch.Generator().manual_seed(0)
    for i, name in enumerate(names):
        changed = [tensor.clone() for tensor in arguments]
        if name == "min_information":  # its gradient depends on which side of the KL it is
            changed[i].zero_()
        changed[i] += 0.1 * torch.rand(changed[i].shape, generator=generator)
        with torch.no_grad():
            ours = graph(*(tensor.clone() for tensor in changed))
        theirs = as_it_is(*(tensor.clone() for tensor in changed))
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))
        if all(map(torch.equal, ours, first)):
            without_effect.add(name)
    assert {"x", "z_0", "c_1", "_warp"} <= {*names}
    assert without_effect == set()


def test_a_run_goes_on_where_it_was_whatever_computes_its_steps():
    settings = SETTINGS["recipe"]
    _, whole, _ = train(config_of(settings), "whole")
    run, _, _ = train(config_of(settings, **TRACED), "parts", [StopAt(9)])
    state, _ = resume(run)
    assert equal(whole, state)


class Own(MFCVAE):
    """A person's model; what its decoder does besides is a test's."""

    shift = 0.0

    def decode(self, zs):
        return super().decode([self.changed(z) for z in zs])

    def changed(self, z):
        return z + self.shift


def own_runs(monkeypatch, kind, callbacks=(), message=None):
    """Runs of a person's model, as it is and traced, which are to be the same."""
    monkeypatch.setitem(MODELS, "own", kind)
    settings = {"model.name": "own"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", SlowStepWarning)
        eager = fit(config_of(settings), callbacks=callbacks)
        if message is None:
            traced = fit(config_of(settings, **TRACED), callbacks=callbacks)
    if message is not None:
        with pytest.warns(SlowStepWarning, match=message):
            traced = fit(config_of(settings, **TRACED), callbacks=callbacks)
    assert equal(eager.state, traced.state)


def test_a_choice_by_values_is_named_with_its_line(monkeypatch):
    class Choosing(Own):
        def changed(self, z):
            return 2 * z if z.sum() > 0 else z  # the line

    own_runs(monkeypatch, Choosing, message=r"test_traced\.py:[0-9]+ \(return 2 \* z if z\.sum")


def test_values_that_leave_torch_are_named_with_their_line(monkeypatch):
    class Leaving(Own):
        def changed(self, z):
            return z * max(z.flatten().tolist())

    own_runs(monkeypatch, Leaving, message=r"test_traced\.py:[0-9]+ \(return z \* max")


def test_an_attribute_that_the_model_changes_itself_is_named(monkeypatch):
    class Counting(Own):
        def changed(self, z):
            self.shift = self.shift + 0.01
            return z + self.shift

    own_runs(monkeypatch, Counting, message="shift")


class _Shift(Callback):
    """Changes an attribute of the model now and then."""

    def __init__(self, every):
        self.every = every

    def on_step(self, state):
        if state.step % self.every == 0:
            state.model.shift = 0.01 * state.step

    def on_end(self, state):
        del state.model.shift


def test_an_attribute_that_a_callback_changes_is_followed(monkeypatch):
    own_runs(monkeypatch, Own, [_Shift(10)])


def test_an_attribute_that_changes_at_every_step_is_named(monkeypatch):
    assert tiny_config().training.epochs_per_step == (2, 4)  # 24 steps, 18 of them whole batches
    assert MAX_GRAPHS < 18
    own_runs(monkeypatch, Own, [_Shift(1)], message="shift")


class _Freeze(Callback):
    """Freezes the decoder half way through, and the statistics of the encoder's batch norm."""

    def on_step(self, state):
        if state.step == 12:
            state.model.decoder.requires_grad_(False)
            state.model.encoder.eval()


def test_what_a_callback_freezes_stays_as_it_is():
    settings = {"model.encoder.options.batch_norm": "true"}
    runs = [fit(config_of(settings, **more), callbacks=[_Freeze()]) for more in ({}, TRACED)]
    assert equal(*(run.state for run in runs))


@pytest.mark.parametrize("on", ["parameter", "module"])
def test_a_hook_is_named_and_called(on):
    called = []

    class Hook(Callback):
        def on_start(self, state):
            encoder = state.model.encoder
            if on == "module":
                encoder.register_forward_hook(lambda *_: called.append(1))
            else:
                next(encoder.parameters()).register_hook(lambda grad: called.append(1))

    with pytest.warns(SlowStepWarning, match=r"model\.encoder.* has a hook"):
        fit(config_of(TRACED), callbacks=[Hook(), StopAt(3)])
    assert len(called) >= 3


def test_a_buffer_that_is_replaced_is_followed(monkeypatch):
    class Replacing(Own):
        def __init__(self, *args, **kwargs):
            super().__init__(*args, **kwargs)
            self.register_buffer("mean", torch.zeros(()))

        def changed(self, z):
            self.mean = 0.9 * self.mean + 0.1 * z.detach().mean()
            return z - self.mean

    own_runs(monkeypatch, Replacing)


def test_a_random_state_of_the_model_s_own_is_followed(monkeypatch):
    class Dropping(Own):
        def changed(self, z):
            return torch.nn.functional.dropout(z, 0.1, self.training)

    monkeypatch.setitem(MODELS, "own", Dropping)
    states = []
    for more in ({}, TRACED):
        state = first_state(config_of({"model.name": "own"}, **more))
        step = stepper(state)
        torch.manual_seed(1)
        for _ in range(6):
            step()
        states.append(state)
    assert equal(*states)


def test_noise_that_is_not_normal_is_named(monkeypatch):
    import pyro

    class Laplace(VadeGuide):
        def latent(self, j, posterior):
            normal = posterior.base_dist
            laplace = pyro.distributions.Laplace(normal.loc, normal.scale)
            return pyro.sample(f"z_{j}", laplace.to_event(1))

    monkeypatch.setitem(GUIDES, "laplace", Laplace)
    settings = {"guide.name": "laplace"}
    eager = fit(config_of(settings))
    with pytest.warns(SlowStepWarning, match="Laplace samples 'z_1' from Laplace"):
        traced = fit(config_of(settings, **TRACED))
    assert equal(eager.state, traced.state)


def test_several_processes_take_their_steps_as_they_are():
    state = first_state(config_of(TRACED))
    state.engine = type("Two", (Engine,), {"n_processes": 2})()
    with pytest.warns(SlowStepWarning, match="several processes"):
        stepper(state)


def test_several_runs_are_traced_as_one_program():
    configs = [config_of({}, seed=seed) for seed in (0, 1)]
    dataset = fit(configs[0], callbacks=[StopAt(1)]).dataset
    eager = fit_all(configs, dataset)
    traced = fit_all([override(c, ["training.step=traced"]) for c in configs], dataset)
    assert all(equal(a.state, b.state) for a, b in zip(eager, traced, strict=True))
