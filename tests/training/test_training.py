"""Training: noise and order as functions of the seed, checkpoints, resuming, nonsense."""

from __future__ import annotations

import json
import math
import os
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import numpy
import pytest
import torch
from models import tiny_config

from pyro_mfcvae.config import config_to_json, override
from pyro_mfcvae.data.observations import as_float
from pyro_mfcvae.errors import (
    ConfigError,
    DamagedCheckpointWarning,
    DataError,
    OtherDataWarning,
    RunError,
    TrainingError,
)
from pyro_mfcvae.evaluation import elbo_means, predict, reconstruct
from pyro_mfcvae.inference.elbo import ElboTerms, Weights, term_means
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.priors.mixture import MixturePrior
from pyro_mfcvae.runs import train as experiment
from pyro_mfcvae.runs.draw import draw_run
from pyro_mfcvae.runs.measure import compare_run, evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.training import Callback, fit, preflight, take_steps
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.callbacks import describe
from pyro_mfcvae.training.checkpoints import save_model_only
from pyro_mfcvae.training.loop import cpu_threads
from pyro_mfcvae.training.start.initialise import (
    initialise_mixtures,
    initialise_networks,
    posterior_means,
)
from pyro_mfcvae.training.state import Eager


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, state):
        if state.step == self.step:
            state.interrupted = True


def _parameters(model: FacetModel) -> torch.Tensor:
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def test_a_run_is_a_function_of_its_seed():
    models = []
    for seed in (0, 0, 1):
        torch.manual_seed(len(models))  # the global state must not matter
        _, state = prepare(tiny_config(seed=str(seed)))
        models.append(_parameters(take_steps(state).model))
    assert torch.equal(models[0], models[1])
    assert not torch.equal(models[0], models[2])


@pytest.mark.parametrize("guide", ["vade", "enumerate"])
@pytest.mark.parametrize("step", [4, 10])
def test_resuming_goes_on_bit_for_bit(guide, step):
    """Step 4 is within an epoch and between log points; 10 is the end of an epoch."""
    config = tiny_config(**{"guide.name": guide})
    whole, state, _ = train(config, "whole")
    assert state.step == state.n_steps == 24
    halted, state, _ = train(config, "halted", [StopAt(step)])
    assert state.interrupted
    assert state.step == step
    state, _ = resume(halted)
    assert not state.interrupted
    assert torch.equal(_parameters(whole.model()), _parameters(halted.model()))
    assert whole.metrics() == halted.metrics()
    with pytest.raises(RunError, match="no run folder"):
        Run("nowhere")


def test_metrics_of_a_killed_run_are_cut_back_to_its_checkpoint():
    config = tiny_config(**{"training.checkpoint_every": "2"})
    whole, _, _ = train(config, "whole")
    halted, _, _ = train(config, "halted", [StopAt(11)])
    (halted.checkpoints / "00000011").rename("gone")  # as if killed at step 11, saved at step 8
    assert halted.metrics()[-1]["step"] == 9
    resume(halted)
    assert whole.metrics() == halted.metrics()
    assert torch.equal(_parameters(whole.model()), _parameters(halted.model()))


def test_the_last_good_checkpoint_is_found_and_a_damaged_one_written_again():
    run, _, _ = train(tiny_config(), "run")
    expected = _parameters(run.model())
    newest, older = sorted(run.checkpoints.iterdir(), reverse=True)
    tensors = newest / "model.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:-1] + b"x")
    with pytest.warns(DamagedCheckpointWarning, match=f"{newest.name}.*taking .*{older.name}"):
        assert not torch.equal(_parameters(run.model()), expected)
    with pytest.warns(DamagedCheckpointWarning):
        resume(Run("run"))
    assert torch.equal(_parameters(run.model()), expected)
    for path in run.checkpoints.iterdir():
        (path / "state.json").write_text("{")
    with pytest.raises(RunError, match=f"no checkpoint that can be used.*{older.name}"):
        Run("run").model()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", b"\xff", "config.json cannot be used"),
        ("config.json", b"[" * 100_000, "config.json cannot be used"),
        ("config.json", b"{}", "config.json cannot be used"),
    ],
)
def test_damaged_settings_of_a_run(name, content, message):
    run, _, _ = train(tiny_config(**{"training.epochs_per_step": "[1,1]"}), "run")
    (run.path / name).write_bytes(content)
    with pytest.raises(RunError, match=message):
        Run("run")


def test_a_log_that_a_full_disk_cut_short():
    config = tiny_config()
    whole, _, _ = train(config, "whole")
    halted, _, _ = train(config, "halted", [StopAt(10)])
    with halted.metrics_path.open("ab") as file:
        file.write(b'{"step": 12, "val\xff')
    resume(halted)
    assert whole.metrics() == halted.metrics()


def test_evaluating_on_the_way_leaves_the_mode_as_it_was():
    modes = []

    class Evaluate(Callback):
        def on_epoch(self, state, metrics):
            predict(state.model, state.batches.x)
            modes.append(state.model.training)

    train(tiny_config(), "run", [Evaluate()])
    assert modes == [True] * 6


@pytest.mark.parametrize("n", [5, 6])
def test_a_handful_of_observations(n):
    numpy.savez("few.npz", x=numpy.random.default_rng(0).normal(size=(n, 4)))
    settings = {
        "data": '{"name": "file", "options": {"path": "few.npz"}}',
        "model.facets.0.n_clusters": "2",
        "model.facets.1.n_clusters": "1",
    }
    run, _, dataset = train(tiny_config(**settings), "run")
    evaluate_run(run, dataset)
    assert len(draw_run(run, dataset)) == 10  # of the facet with one cluster no clusters


def test_a_checkpoint_of_another_model_is_refused():
    run, _, _ = train(tiny_config(**{"training.epochs_per_step": "[1,1]"}), "run")
    other = {"training.epochs_per_step": "[1,1]", "model.facets.0.n_clusters": "7"}
    foreign, _, _ = train(tiny_config(**other), "foreign")
    shutil.rmtree(run.checkpoints)
    shutil.copytree(foreign.checkpoints, run.checkpoints)
    for use in (Run.model, resume, evaluate_run):
        with pytest.raises(RunError, match="n_clusters from 7 to 6"):
            use(run)
    copy = run.path / "checkpoints-without-settings"
    foreign.export(copy)
    shutil.rmtree(run.checkpoints)
    shutil.copytree(copy / "checkpoints", run.checkpoints)
    with pytest.raises(RunError, match="does not fit config.json"):
        run.model()


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("training.batch_size=10", "training.batch_size from 20 to 10"),
        ("model.facets.0.softplus_beta=5", "model.facets.0.softplus_beta from 1.0 to 5.0"),
        ("data.options.split_seed=1", "data.options.split_seed from None to 1"),
        ("seed=1", "seed from 0 to 1"),
    ],
)
def test_resuming_under_changed_settings_is_refused(assignment, message):
    run, _, _ = train(tiny_config(), "run", [StopAt(10)])
    settings = run.path / "config.json"
    before = settings.read_text()
    settings.write_text(config_to_json(override(run.config, [assignment])))
    with pytest.raises(RunError, match=f"config.json has changed since.*{message}; put it back"):
        resume(Run("run"))
    settings.write_text(before)
    state, _ = resume(Run("run"))
    assert state.step == 24


@pytest.mark.parametrize(
    "assignment",
    [
        "training.n_threads=2",
        "training.checkpoint_every=0",
        "training.evaluate_every=2",
        "training.device=auto",
        "sampling_temperature=0.5",
        "preset=mine",
    ],
)
def test_resuming_under_settings_that_may_change(assignment):
    whole, _, _ = train(tiny_config(), "whole")
    run, _, _ = train(tiny_config(), "run", [StopAt(10)])
    changed = override(run.config, [assignment])
    (run.path / "config.json").write_text(config_to_json(changed))
    state, _ = resume(Run("run"))
    assert state.step == 24
    torch.testing.assert_close(_parameters(whole.model()), _parameters(Run("run").model()))


def test_data_may_move_but_not_change():
    x = numpy.random.default_rng(0).normal(size=(60, 4))
    numpy.savez("mine.npz", x=x)
    settings = {"data": '{"name": "file", "options": {"path": "mine.npz"}}'}
    run, _, _ = train(tiny_config(**settings), "run", [StopAt(4)])
    before = (run.path / "config.json").read_bytes()
    Path("there").mkdir()
    Path("mine.npz").unlink()
    for folder in ("there", None):
        with pytest.raises(DataError, match="mine.npz: there is no such file"):
            resume(run, data_dir=folder)
    numpy.savez("there/mine.npz", x=x + 1)
    with pytest.raises(RunError, match="the data have changed since checkpoint"):
        resume(run, data_dir="there")
    with pytest.warns(OtherDataWarning, match="not the data that run was trained on"):
        evaluate_run(run, run.dataset("there"))
    numpy.savez("there/mine.npz", x=x)
    with pytest.raises(ConfigError, match="device 'tpu' cannot be used here"):
        resume(run, data_dir="there", device="tpu")
    assert (run.path / "config.json").read_bytes() == before
    state, _ = resume(run, data_dir="there")
    assert state.step == state.n_steps
    moved = Run("run")
    assert moved.config.data.options["path"] == str(Path("there/mine.npz").resolve())
    assert evaluate_run(moved).step == state.n_steps


def test_places_that_do_not_fit_leave_a_run_as_it_was():
    run, _, _ = train(tiny_config(), "run", [StopAt(10)])
    before = (run.path / "config.json").read_bytes()
    with pytest.raises(ConfigError, match="'shapes' reads no files; leave the data folder out"):
        resume(run, data_dir="there")
    with pytest.raises(ConfigError, match="device 'nope'"):
        resume(run, device="nope")
    with experiment.lock(run), pytest.raises(RunError, match="another process"):
        resume(run, device="cpu:0")
    assert (run.path / "config.json").read_bytes() == before
    resume(run, device="cpu:0")
    assert Run("run").config.training.device == "cpu:0"


def test_settings_of_a_finished_run_are_checked_before_anything_is_replaced():
    run, _, _ = train(tiny_config(), "run")
    evaluate_run(run)
    before = (run.path / "evaluation.json").read_text()
    changed = config_to_json(override(run.config, ["model.likelihood.options.scale=0.5"]))
    (run.path / "config.json").write_text(changed)
    for use in (resume, evaluate_run, draw_run):
        with pytest.raises(RunError, match="scale from 0.12 to 0.5; put it back"):
            use(Run("run"))
    assert (run.path / "evaluation.json").read_text() == before


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("step", 12, "state.json has changed since"),
        ("fade", [0.5, 1.0], "state.json has changed since"),
        ("step", "x", "damaged .step"),
        ("observation", {}, "damaged .observation"),
        ("fade", "abc", "damaged .fade"),
        ("term_names", 5, "damaged .term_names"),
        ("checksums", {}, "state.json has changed since"),
        ("colour", 3, "damaged .colour"),
    ],
)
def test_a_tampered_record_is_a_damaged_checkpoint(key, value, message):
    run, _, _ = train(tiny_config(), "run", [StopAt(10)])
    for path in run.checkpoints.iterdir():
        record = json.loads((path / "state.json").read_text())
        (path / "state.json").write_text(json.dumps(record | {key: value}))
    with pytest.raises(RunError, match=f"no checkpoint that can be used.*{message}"):
        run.model()


def test_a_checkpoint_under_another_name_is_refused():
    run, _, _ = train(tiny_config(), "run", [StopAt(10)])
    (run.checkpoints / "00000010").rename(run.checkpoints / "00000011")
    with pytest.warns(DamagedCheckpointWarning, match="is that of another checkpoint"):
        assert run.step() == 8


def test_a_run_that_died_at_once_can_go_on():
    class Die(Callback):
        def on_step(self, state):
            if state.step == 3:
                raise ZeroDivisionError

    whole, _, _ = train(tiny_config(), "whole")
    with pytest.raises(ZeroDivisionError):
        train(tiny_config(), "run", [Die()])
    run = Run("run")
    assert run.step() == 0
    resume(run)
    assert torch.equal(_parameters(whole.model()), _parameters(run.model()))
    assert run.metrics() == whole.metrics()
    assert not (run.checkpoints / "00000000").exists()


def test_two_processes_cannot_train_one_run():
    run, _, _ = train(tiny_config(), "run", [StopAt(10)])

    class Again(Callback):
        def on_step(self, state):
            if state.step == 11:
                with pytest.raises(RunError, match="another process is training run"):
                    resume(Run("run"))

    resume(run, [Again()])
    assert run.step() == 24
    assert [record["step"] for record in run.metrics() if record["split"] == "train"] == [
        *range(3, 25, 3)
    ]


def _fading_run():
    """A run halted while facet 0 fades in, with every option that uses the weights."""
    settings = {
        "training.kl_floor": "0.2",
        "training.fade_in_shape": "cosine",
        "training.n_fade_in_batches": "8",
        "training.evaluate_every": "3",
        "training.log_every": "1",
        "model.encoder.options.fade": "true",
    }
    run, _, dataset = train(tiny_config(**settings), "run", [StopAt(12)])
    return run, dataset


def test_the_weights_of_the_last_step_are_logged_and_used_everywhere():
    run, dataset = _fading_run()
    alpha = 0.5 * (1 - math.cos(math.pi * 3 / 8))  # the fourth batch of the second stage
    assert run.fade() == (pytest.approx(alpha), 1)
    train_log, test_log = run.metrics()[-2:]
    for record in (train_log, test_log):
        values = record["values"]
        assert record["step"] == 12
        assert values["fade_0"] == pytest.approx(alpha)
        assert values["kl_weight_0"] == pytest.approx(0.2 + 0.8 * alpha)
        assert values["kl_weight_1"] == 1
        kl = sum(
            values[f"kl_weight_{j}"] * (values[f"kl_z_{j}"] + values[f"kl_c_{j}"]) for j in (0, 1)
        )
        assert values["elbo"] == pytest.approx(values["reconstruction"] - kl, rel=1e-5)
    first = run.metrics()[0]["values"]
    assert (first["fade_0"], first["kl_weight_0"]) == (0, pytest.approx(0.2))

    model, x = run.model(), dataset.split("test")[0]
    expected = elbo_means(model, x, weights=Weights(model.fade, 0.2))
    assert test_log["values"]["elbo"] == pytest.approx(expected["elbo"], rel=1e-6)
    assert evaluate_run(run).elbo["test"] == expected
    compared = compare_run(run, guides=["vade"], n_samples=(2,), n_draws=2)
    assert compared.fade == pytest.approx(run.fade())
    assert compared.guides[1].gap_mismatch < 1e-3


def test_an_encoder_that_fades_is_used_as_it_was_trained():
    run, dataset = _fading_run()
    model, x = run.model(), dataset.split("test")[0]
    assert model.fade.tolist() == pytest.approx(run.fade())
    faded = predict(model, x)
    with torch.no_grad():
        expected = model.encode(as_float(x))[0].mean
        reconstruction = model.decode([q.mean for q in model.encode(as_float(x))])
    drawn = reconstruct(model, x)
    model.fade.fill_(1.0)
    plain = predict(model, x)
    numpy.testing.assert_allclose(faded.z_mean[0], expected, rtol=1e-5, atol=1e-6)
    assert not numpy.allclose(faded.z_mean[0], plain.z_mean[0], atol=1e-3)
    numpy.testing.assert_allclose(drawn, reconstruction.mean, rtol=1e-4, atol=1e-5)


def test_slow_measurements_are_kept_while_the_model_is_the_same():
    run, _, dataset = train(tiny_config(), "run", [StopAt(10)])
    first = evaluate_run(run, dataset, {"probe": True, "importance_weighted_bound": 4})
    again = evaluate_run(run, dataset)
    assert again == first
    assert run.evaluation() == first
    resume(run)
    assert not evaluate_run(run, dataset).slow


def test_a_probe_without_labels_is_refused_before_anything_is_measured():
    numpy.savez("few.npz", x=numpy.random.default_rng(0).normal(size=(40, 4)))
    settings = {"data": '{"name": "file", "options": {"path": "few.npz"}}'}
    run, _, dataset = train(tiny_config(**settings), "run")
    said = []
    with pytest.raises(DataError, match="a probe needs labels"):
        evaluate_run(run, dataset, {"probe": True, "importance_weighted_bound": 4}, said.append)
    assert not said
    assert evaluate_run(run, dataset, {"importance_weighted_bound": 4}).importance_weighted_bound


def test_half_precision_that_loses_numbers_is_refused():
    run, _, _ = train(tiny_config(), "run")
    state = run.model().state_dict()
    state["facets.0.loc"] += 1e6
    path = run.checkpoint().path
    model = run.model()
    model.load_state_dict(state)
    shutil.rmtree(run.checkpoints)
    save_model_only(model, run.checkpoints, int(path.name), (1.0, 1.0))
    with pytest.raises(RunError, match=r"facets\.0\.loc: numbers too large for 16 bits"):
        run.export("half", half=True)
    assert not Path("half").exists()
    assert run.export("whole").model().facets[0].loc.min() > 1e5


@pytest.mark.parametrize("content", ["5", "{", ""])
@pytest.mark.parametrize("name", ["comparison.json", "evaluation.json"])
def test_damaged_results_say_what_to_do(name, content):
    run, _, dataset = train(tiny_config(**{"training.epochs_per_step": "[1,1]"}), "run")
    (run.path / name).write_text(content)
    use = draw_run if name == "comparison.json" else evaluate_run
    with pytest.raises(RunError, match=f"{name} .*; remove it and measure again"):
        use(run, dataset)


def test_every_callback_ends_even_if_one_fails():
    ended = []

    class End(Callback):
        def on_end(self, state):
            ended.append(1)

    class Fail(Callback):
        def on_end(self, state):
            raise OSError(28, "No space left on device")

    _, state = prepare(tiny_config())
    with pytest.raises(OSError, match="No space left"):
        take_steps(state, [End(), Fail(), End()])
    assert ended == [1, 1]
    assert not state.model.training


def test_a_damaged_checkpoint_takes_no_place():
    run, _, _ = train(tiny_config(), "run", [StopAt(14)])
    newest = run.checkpoint().path
    (newest / "model.safetensors").write_bytes(b"")
    with pytest.warns(DamagedCheckpointWarning):
        resume(run, [StopAt(13)])
    assert sorted(int(path.name) for path in run.checkpoints.iterdir()) == [12, 13]


def test_figures_sample_at_the_settings_temperature(monkeypatch):
    from pyro_mfcvae import evaluation

    run, _, dataset = train(tiny_config(sampling_temperature="0.3"), "run")
    seen = []
    original = evaluation.sample_clusters

    def spy(model, facet, clusters, n_samples, temperature, seed):
        seen.append(temperature)
        return original(model, facet, clusters, n_samples, temperature, seed)

    monkeypatch.setattr(evaluation, "sample_clusters", spy)
    draw_run(run, dataset)
    assert seen == [0.3, 0.3]


def test_a_model_without_its_optimiser_is_not_trained_further():
    run, _, _ = train(tiny_config(), "run", [StopAt(10)])
    copy = run.export("copy")
    with pytest.raises(RunError, match="a model without its optimiser"):
        resume(copy)
    assert evaluate_run(copy).step == 10
    assert copy.fade() == run.fade()
    (run.checkpoints / "00000010/optimizer.safetensors").unlink()
    with pytest.warns(DamagedCheckpointWarning, match="00000010 is damaged"):
        assert run.step() == 8


def test_held_out_measurements_leave_the_run_as_it_is():
    plain, _, dataset = train(tiny_config(**{"training.evaluate_every": "0"}), "plain")
    config = tiny_config(**{"training.evaluate_every": "2"})
    watched, _, _ = train(config, "watched")
    assert torch.equal(_parameters(plain.model()), _parameters(watched.model()))
    records = [record for record in watched.metrics() if record["split"] == "test"]
    assert [record["epoch"] for record in records] == [2, 4, 6]
    results = evaluate_run(watched, dataset)
    last = records[-1]["values"]
    shape = results.facets[0].factors["shape"].test
    assert last["majority_accuracy_0_shape"] == shape["majority_accuracy"]
    assert last["nmi_0_shape"] == shape["nmi"]
    assert last["elbo"] == pytest.approx(results.value("elbo"), rel=1e-6)
    halted, _, _ = train(config, "halted", [StopAt(18)])
    resume(halted)
    assert halted.metrics() == watched.metrics()


def test_run_folders():
    config = tiny_config(**{"training.epochs_per_step": "[1,1]"})
    names = [train(config)[0].path.name for _ in range(2)]
    assert names == ["shapes-001", "shapes-002"]
    with pytest.raises(ConfigError, match="exists already"):
        train(config, "runs/shapes-001")
    run = Run("runs/shapes-001")
    assert run.config == config
    environment = json.loads((run.path / "environment.json").read_text())
    assert environment["packages"]["torch"] == version("torch")
    results = evaluate_run(run)
    assert run.evaluation() == results
    files = {path.name for path in draw_run(run)}
    assert files == {
        "agreement.png",
        "clusters-facet-0.png",
        "clusters-facet-1.png",
        "confusion-facet-0.png",
        "confusion-facet-1.png",
        "curves.png",
        "interpolation.png",
        "latents-facet-0.png",
        "latents-facet-1.png",
        "means-facet-0.png",
        "means-facet-1.png",
        "means-facets-0-1.png",
        "reconstructions.png",
        "samples-facet-0.png",
        "samples-facet-1.png",
        "swaps-facet-0.png",
        "swaps-facet-1.png",
        "traversal-facet-0.png",
        "traversal-facet-1.png",
        "weights.png",
    }


def test_fading_in_during_training():
    fades = []

    class Watch(Callback):
        def on_step(self, state):
            fades.append(state.fade.tolist())

    train(tiny_config(), "run", [Watch()])
    assert fades[:9] == [[0.0, 1.0]] * 9  # two epochs of four batches, then the first batch
    torch.testing.assert_close(torch.tensor(fades[9:14])[:, 0], torch.arange(1, 6) / 5)
    assert fades[14:] == [[1.0, 1.0]] * 10


def test_a_run_too_short_to_fade_in_is_warned_of():
    said = []
    train(tiny_config(**{"training.n_fade_in_batches": "50"}), "run", say=said.append)
    assert any("facet 0 will have a fade weight of 0.30 at the end" in text for text in said)
    said.clear()
    train(tiny_config(), "other", say=said.append)
    assert not any("warning" in text for text in said)


@pytest.mark.parametrize(("precision", "times"), [("bf16", 3.0), ("bf16", 0.5), ("full", 3.0)])
def test_products_that_are_slower_in_fewer_bits_are_said(precision, times, monkeypatch):
    monkeypatch.setattr(
        preflight, "product_time", lambda x: times if x.dtype == torch.bfloat16 else 1.0
    )
    said = []
    config = override(tiny_config(), [f"training.precision={precision}"])
    preflight.check(prepare(config)[1], said.append)
    assert any("3.0 times" in text for text in said) == (precision == "bf16" and times > 1)


@pytest.mark.parametrize(("largest", "is_told"), [(90.0, False), (3500.0, True)])
def test_values_far_from_one_are_warned_of(monkeypatch, largest, is_told):
    x = numpy.random.default_rng(0).uniform(size=(40, 4))
    x[30] = -largest  # far down
    numpy.savez("raw.npz", x=x)
    settings = {"data": '{"name": "file", "options": {"path": "raw.npz"}}'}
    said = []
    monkeypatch.setattr(preflight, "check_objective_once", lambda _: 1 / 0)  # it ends here
    with pytest.raises(ZeroDivisionError):
        train(tiny_config(**settings), "run", say=said.append)
    warning = "values of x go up to 3,500; training may diverge: standardise them"
    assert is_told == any(warning in text for text in said)


@pytest.mark.parametrize("largest", [155, 1e6])
def test_the_cause_is_told_before_the_remedy(largest):
    numpy.savez("raw.npz", x=numpy.random.default_rng(0).uniform(high=largest, size=(40, 4)))
    settings = {"data": '{"name": "file", "options": {"path": "raw.npz"}}'}
    with pytest.raises(DataError, match=r"values of x go up to .*standardise"):
        train(tiny_config(**settings), "run")


def test_a_finished_run_is_not_trained_further():
    said = []
    run, state, _ = train(tiny_config(), "run")
    state, _ = resume(Run("run"), say=said.append)
    assert any("is finished" in text for text in said)
    assert state.step == run.step() == 24
    results = evaluate_run(run)
    assert (results.step, results.n_steps) == (24, 24)


def test_one_step_for_all_facets_trains_them_at_once():
    _, state = prepare(tiny_config(**{"training.epochs_per_step": "[3]"}))
    assert state.n_steps == 12
    assert state.schedule(0) == (1, 1)


def test_an_untouched_facet_stays_as_it_was():
    _, state = prepare(tiny_config(**{"training.epochs_per_step": "[1,1]"}))
    before = {name: p.detach().clone() for name, p in state.model.named_parameters()}
    state.model.train()
    for _ in range(5):  # up to and including the first batch of the second stage
        Eager(state).step()
    hidden = ("facets.0.", "heads.0.", "decoder.rungs.0.")
    for name, parameter in state.model.named_parameters():
        same = torch.equal(parameter, before[name])
        assert same == (name.startswith(hidden) or not parameter.requires_grad), name


@pytest.mark.parametrize(("step", "log_every"), [(9, 20), (9, 3), (12, 4), (12, 20), (24, 20)])
def test_nonsense_ends_the_run_and_keeps_the_last_good_checkpoint(step, log_every):
    """Whether it is seen first at a log point or, as with 12 and 24, before a checkpoint."""

    class Spoil(Callback):
        def on_step(self, state):
            if state.step == step:
                next(state.model.parameters()).data.fill_(math.nan)

    settings = {"training.log_every": str(log_every), "training.evaluate_every": "0"}
    with pytest.raises(TrainingError, match="no longer finite at step.*lower") as caught:
        train(tiny_config(**settings), "run", [Spoil()])
    run = Run("run")
    kept = {9: 8, 12: 8, 24: 20}[step]
    assert run.step() == kept
    assert str(caught.value).endswith(f"is kept: run at step {kept}")
    assert _parameters(run.model()).isfinite().all()


@pytest.mark.parametrize("facet", [0, 1])
def test_the_term_that_broke_first_is_named_with_its_step(facet):
    """Later ones follow, as all parameters are spoilt by then."""

    class Spoil(Callback):
        def on_step(self, state):
            if state.step == 13:
                state.model.facets[facet].loc.data.fill_(1e30)

    settings = {"training.log_every": "10", "training.checkpoint_every": "0"}
    with pytest.raises(TrainingError) as caught:
        fit(tiny_config(**settings), callbacks=[Spoil()])
    wrong, _, step = str(caught.value).partition(" is no longer finite at step ")
    assert step.startswith("14; ")
    assert f"kl_z_{facet}" in wrong
    assert f"kl_z_{1 - facet}" not in wrong
    assert "reconstruction" not in wrong
    assert "elbo" not in wrong.split(", ")


def test_mixtures_start_at_clusters_of_the_encoder_s_means():
    _, state = prepare(tiny_config())
    x = state.batches.x
    variances = [facet.scale_tril.detach().clone() for facet in state.model.facets]
    initialise_mixtures(state.model, x, "gmm", seed=0)
    first = [facet.loc.detach().clone() for facet in state.model.facets]
    for facet, z, variance in zip(
        state.model.facets, posterior_means(state.model, x), variances, strict=True
    ):
        within = torch.cdist(z, facet.loc.detach()).min(1).values.square().mean()
        assert within < 0.6 * z.var(0).sum()
        torch.testing.assert_close(facet.scale_tril, variance)
    initialise_mixtures(state.model, x, "gmm", seed=0)
    assert all(torch.equal(a, f.loc) for a, f in zip(first, state.model.facets, strict=True))
    initialise_mixtures(state.model, x, "gmm", seed=0, max_observations=40)
    assert not torch.equal(first[0], state.model.facets[0].loc)


def test_glorot_initialisation_of_the_mixtures():
    config = tiny_config(**{"model.mixture_initialisation": "glorot"})
    _, state = prepare(config)
    facet = MixturePrior(n_clusters=300, latent_dim=100)
    state.model.facets[1] = facet
    variance = facet.scale.square().detach().clone()
    initialise_mixtures(state.model, state.batches.x, "glorot", seed=0)
    n = facet.loc.numel()
    expected = math.sqrt(2 / 400)
    assert facet.loc.std().item() == pytest.approx(expected, rel=5 / math.sqrt(2 * n))
    assert facet.loc.mean().abs().item() < 5 * expected / math.sqrt(n)
    torch.testing.assert_close(facet.scale.square(), variance)
    again = facet.loc.detach().clone()
    initialise_mixtures(state.model, state.batches.x, "glorot", seed=0)
    assert torch.equal(facet.loc, again)
    run, _, _ = train(config, "run")
    assert run.step() == 24


def test_data_dependent_initialisation_looks_at_all_of_sorted_data():
    config = tiny_config(**{"model.initialisation": "data-dependent"})
    _, state = prepare(config)
    x = state.batches.x.float() / 255
    x = torch.cat([*[x - 10] * 14, *[x] * 14])  # more than it takes, sorted
    initialise_networks(state.model, x, "data-dependent")
    for z in posterior_means(state.model, x):
        torch.testing.assert_close(z.mean(0), torch.zeros(z.shape[1]), atol=0.1, rtol=0)
        torch.testing.assert_close(z.std(0), torch.ones(z.shape[1]), atol=0.1, rtol=0)


def test_the_progress_line_shows_costs_of_no_single_facet():
    """Its parts make up the ELBO, those under a weight of the KL terms, too."""
    one = torch.ones(2, dtype=torch.float64)
    terms = ElboTerms(
        reconstruction=-7 * one,
        kl_z=torch.tensor([[1.0, 2.0]] * 2).double(),
        kl_c=torch.zeros(2, 2).double(),
        other={"c_0,c_1,z_0,z_1": 3 * one},
        shared={"pi_0": 0.5 * one[0]},
    )
    means = term_means(terms, Weights(one, scale=0.5 * one[0]))
    metrics = {name: value.item() for name, value in means.items()}
    line = describe(metrics)
    assert "  c_0,c_1,z_0,z_1 1.50  pi_0 0.25  " in line
    assert line.startswith("ELBO -10.25  log p(x|z) -7.00  KL z 0.50/1.00  KL c 0.00/0.00  ")
    plain = term_means(replace(terms, other={}, shared={}), Weights(one))
    assert describe({name: value.item() for name, value in plain.items()}).count("  ") == 4


def test_kls_that_weigh_nothing_are_recorded_as_zero():
    one = torch.ones(3, dtype=torch.float64)
    kl = torch.tensor([[5.0, 2.0]] * 3, dtype=torch.float64)
    terms = ElboTerms(one, kl, 2 * kl)
    fade = torch.tensor([0.0, 1.0], dtype=torch.float64)
    means = term_means(terms, Weights(fade))
    assert [means[f"kl_{name}"] for name in ("z_0", "c_0", "z_1", "c_1")] == [0, 0, 2, 4]
    floor = term_means(terms, Weights(fade, floor=0.1))
    assert [floor[f"kl_{name}"] for name in ("z_0", "c_0")] == [5, 10]


def test_learning_rates():
    _, state = prepare(
        tiny_config(
            **{
                "training.learning_rate": "1e-3",
                "training.mixture_learning_rate": "3e-3",
                "training.learning_rate_schedule": "cosine",
            }
        )
    )
    networks, mixtures = state.optimizer.param_groups
    assert {id(p) for p in mixtures["params"]} == {
        id(p) for p in state.model.facets.parameters() if p.requires_grad
    }
    for step, decay in ((0, 1.0), (12, 0.5), (23, 0.5 * (1 + math.cos(math.pi * 23 / 24)))):
        state.step = step
        Eager(state).step()
        assert networks["lr"] == pytest.approx(1e-3 * decay)
        assert mixtures["lr"] == pytest.approx(3e-3 * decay)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"training.device": "tpu"}, "device 'tpu' cannot be used here"),
        ({"training.device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
        ({"training.device": "meta"}, "holds no numbers"),
        (
            {"guide.name": "oracle"},
            "unknown guide 'oracle'; choose one of amortized, amortized-analytic, enum",
        ),
        ({"model.name": "gan"}, "unknown model 'gan'; choose one of"),
        ({"model.facets.0.n_clusters": "78"}, "78 clusters but there are only 77 training"),
        ({"training.batch_size": "19", "model.encoder.options.batch_norm": "true"}, "batch norm"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(tmp_path, settings, message):
    with pytest.raises(ConfigError, match=message):
        train(tiny_config(**settings), "run")
    assert not list(tmp_path.iterdir())


def test_every_stretch_of_training_is_timed(tmp_path):
    config = tiny_config()
    run, _, _ = train(config, tmp_path / "run", [StopAt(7)])
    first = run.training_seconds()
    assert first > 0
    resume(run)
    stretches = json.loads(run.timings_path.read_text())
    assert [(s["first_step"], s["last_step"]) for s in stretches] == [(0, 7), (7, 24)]
    assert run.training_seconds() == sum(s["seconds"] for s in stretches) > first
    run.timings_path.write_text(json.dumps(stretches[1:]))
    assert run.training_seconds() is None
    run.timings_path.write_text("{")
    with pytest.raises(RunError, match=r"timings\.json is damaged"):
        run.training_seconds()
    assert "commit" in run.environment()


def test_no_more_threads_compute_than_there_are_cpus():
    before = torch.get_num_threads()
    with cpu_threads(4096):
        assert torch.get_num_threads() == os.cpu_count()
    assert torch.get_num_threads() == before
    with pytest.raises(ConfigError, match="training.n_threads"):
        tiny_config(**{"training.n_threads": "100000"})


def test_latents_that_no_mixture_fits_are_told_of():
    state = prepare(tiny_config())[1]
    state.model.heads[0].bias.data.fill_(math.nan)
    with pytest.raises(TrainingError, match="nan.*model.mixture_initialisation"):
        initialise_mixtures(state.model, state.batches.x, "gmm", seed=0)
