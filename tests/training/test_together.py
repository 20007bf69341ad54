"""Many runs as one program, and captured steps, against the same runs trained alone."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pyro
import pyro.distributions as dist
import pytest
import torch
from click.testing import CliRunner
from distributed_job import StopAt
from models import Replayed, tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import override
from pyro_mfcvae.errors import ConfigError, RunError, TrainingError
from pyro_mfcvae.guides import GUIDES, EnumerateGuide, register_guide
from pyro_mfcvae.inference.noise import Noise
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.together import resume_together, train_together
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.studies.many_runs import seeds_and_settings
from pyro_mfcvae.testing.values import relative_error
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training import state as training_state
from pyro_mfcvae.training.begin import initialise, prepare
from pyro_mfcvae.training.devices.captured import N_WARM_UP, Captured, CudaGraphs
from pyro_mfcvae.training.devices.functional import GivenNoise
from pyro_mfcvae.training.devices.launch import check_one_process
from pyro_mfcvae.training.devices.lockstep import take_steps_together
from pyro_mfcvae.training.devices.stepping import stepper_of_all
from pyro_mfcvae.training.devices.together import Together, check_alike
from pyro_mfcvae.training.loop import products_in
from pyro_mfcvae.training.optimizer import is_captured
from pyro_mfcvae.training.state import Eager

N_STEPS = 20


@pytest.fixture(autouse=True)
def _in_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def double(**replaced: str):
    return tiny_config(**{"training.dtype": "float64"} | replaced)


def begun(config):
    """A state before its first step, and the mixtures placed."""
    _, state = prepare(config)
    initialise(state, lambda _: None)
    state.model.train()
    return state


def same(alone, together):
    """Whether two states hold the same numbers, optimiser and sums of terms included.

    The tolerance leaves room for Adam, which divides the rounding errors of gradients near 0 by
    their own size; a run with another seed is off by 1e-2.
    """
    theirs = together.model.state_dict()
    for name, a in alone.model.state_dict().items():
        torch.testing.assert_close(theirs[name], a, rtol=1e-5, atol=1e-6)
    moments = [state.optimizer.state_dict()["state"] for state in (alone, together)]
    assert moments[0].keys() == moments[1].keys()
    for key, entry in moments[0].items():
        for name, a in entry.items():
            atol = 1e-6 * float(a.abs().max())
            torch.testing.assert_close(moments[1][key][name], a, rtol=1e-5, atol=atol)
    assert together.take_means() == pytest.approx(alone.take_means(), rel=1e-7)
    assert (together.step, together.last_fade) == (alone.step, alone.last_fade)
    return True


def trained_as_alone(configs, n_steps=N_STEPS):
    """States trained together, once they have proved to be those of runs trained alone."""
    alone, runs = ([begun(config) for config in configs] for _ in range(2))
    together = Together(runs)
    for _ in range(n_steps):
        together.step()
        for state in alone:
            Eager(state).step()
    assert all(same(a, b) for a, b in zip(alone, runs, strict=True))
    return runs


SETTINGS = [
    {},
    {"guide.name": "enumerate"},
    {"guide.name": "vade-analytic", "guide.n_samples": "3"},
    {"model.encoder.options.batch_norm": "true", "model.decoder.options.batch_norm": "true"},
    {"training.kl_floor": "0.2", "model.encoder.options.fade": "true"},
    {"model.facets.0.covariance": "full", "model.facets.0.learn_weights": "false"},
    {"model.likelihood.options.learn_scale": "true"},
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_each_run_takes_the_steps_that_it_takes_alone(settings):
    configs = [double(seed=str(seed), **settings) for seed in (0, 5, 7)]
    runs = trained_as_alone(configs)
    assert relative_error(runs[0].model.facets[1].loc, runs[1].model.facets[1].loc) > 0.01


@pytest.mark.parametrize(
    ("setting", "values", "updates"),
    [
        ("seed", ("0", "1"), [2, 1, 1]),
        ("training.learning_rate", ("1e-3", "2e-3"), [2, 2, 2]),
        ("training.max_gradient_norm", ("1.0", "1.0"), [2, 2, 2]),
    ],
)
def test_one_optimiser_updates_runs_without_limits_of_their_own(
    setting, values, updates, monkeypatch
):
    runs = [begun(double(**{setting: value})) for value in values]
    together, seen, plain = Together(runs), [], torch.optim.Adam.step

    def step(adam, *args, **kwargs):
        seen.append(adam)
        return plain(adam, *args, **kwargs)

    monkeypatch.setattr(torch.optim.Adam, "step", step)
    counts = []
    for _ in updates:
        seen.clear()
        together.step()
        counts.append(len(seen))
    assert counts == updates


def test_a_convolutional_network_with_weight_norm():
    settings = {
        "model.encoder": '{"name": "conv-ladder"}',
        "model.decoder": '{"name": "conv-ladder"}',
    }
    changes = [f"{path}={value}" for path, value in settings.items()]
    configs = [override(double(seed=str(seed)), changes) for seed in (0, 1)]
    trained_as_alone(configs, 6)


def test_settings_of_equal_shapes_may_differ():
    configs = [
        double(
            **{
                "training.learning_rate": rate,
                "model.facets.1.initial_variance": variance,
                "model.likelihood.options.scale": scale,
            }
        )
        for rate, variance, scale in (("1e-3", "0.01", "0.3"), ("4e-3", "0.2", "0.5"))
    ]
    trained_as_alone(configs)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"training.batch_size": "24"}, r"training\.batch_size \(20 and 24\)"),
        ({"guide.name": "enumerate"}, "guide.name"),
        ({"model.facets.0.n_clusters": "7"}, r"model\.facets\.0\.n_clusters"),
    ],
)
def test_other_differences_are_refused(setting, message):
    with pytest.raises(ConfigError, match=f"cannot differ in {message}"):
        check_alike([tiny_config(), tiny_config(**setting)])


def test_runs_at_different_steps_are_refused():
    states = [begun(tiny_config(seed=str(seed))) for seed in (0, 1)]
    Eager(states[0]).step()
    with pytest.raises(ConfigError, match="must be at one step, got 1, 0"):
        Together(states)


def test_a_guide_with_other_distributions_is_refused(monkeypatch):
    @register_guide("laplace")
    class Laplace(EnumerateGuide):
        def latent(self, j, posterior):
            normal = posterior.base_dist
            return pyro.sample(f"z_{j}", dist.Laplace(normal.loc, normal.scale).to_event(1))

    try:
        states = [begun(tiny_config(seed=str(s), **{"guide.name": "laplace"})) for s in (0, 1)]
        Eager(states[0]).step()  # alone it trains
        with pytest.raises(
            ConfigError, match="guide Laplace samples 'z_1' from Laplace; .*one run at a"
        ):
            Together([begun(state.config) for state in states]).step()
        monkeypatch.setattr(training_state, "is_captured", lambda *_: True)
        with pytest.raises(ConfigError, match="with training.cuda_graph=false"):
            prepare(states[0].config)  # before anything long has begun
    finally:
        del GUIDES["laplace"]


def test_runs_that_cannot_be_one_program_are_refused_before_any_folder(monkeypatch, tmp_path):
    class Laplace(EnumerateGuide):
        def latent(self, j, posterior):
            normal = posterior.base_dist
            return pyro.sample(f"z_{j}", dist.Laplace(normal.loc, normal.scale).to_event(1))

    monkeypatch.setitem(GUIDES, "laplace", Laplace)
    monkeypatch.setattr("pyro_mfcvae.training.devices.stepping._is_one_program", lambda _: True)
    configs = seeds_and_settings(tiny_config(**{"guide.name": "laplace"}), 2)
    with pytest.raises(ConfigError, match="guide Laplace samples 'z_1' from Laplace; only normal"):
        train_together(configs, tmp_path / "runs")
    assert not list(tmp_path.iterdir())


def test_small_runs_are_one_program_on_a_cpu_and_large_or_other_ones_take_turns(monkeypatch):
    class Laplace(EnumerateGuide):
        def latent(self, j, posterior):
            normal = posterior.base_dist
            return pyro.sample(f"z_{j}", dist.Laplace(normal.loc, normal.scale).to_event(1))

    def steps(**replaced):
        configs = seeds_and_settings(tiny_config(**replaced), 2)
        return stepper_of_all([begun(config) for config in configs.values()])

    monkeypatch.setitem(GUIDES, "laplace", Laplace)
    assert isinstance(steps().__self__, Together)
    assert not hasattr(steps(**{"guide.name": "laplace"}), "__self__")
    monkeypatch.setattr("pyro_mfcvae.training.devices.stepping._SMALL", 1)
    assert not hasattr(steps(), "__self__")


@pytest.mark.parametrize(
    ("device", "n_processes", "cuda_graph", "captured"),
    [
        ("cuda", 1, "true", True),
        ("cuda", 2, "true", False),
        ("cuda", 1, "false", False),
        ("cpu", 1, "true", False),
    ],
)
def test_which_steps_are_captured(device, n_processes, cuda_graph, captured):
    training = tiny_config(**{"training.cuda_graph": cuda_graph}).training
    assert is_captured(training, torch.device(device), n_processes) == captured


@pytest.mark.parametrize("n_runs", [1, 2])
def test_captured_steps_read_what_changes_from_tensors_that_stay(n_runs):
    settings = {"training.learning_rate_schedule": "cosine"}
    configs = [double(seed=str(seed), **settings) for seed in range(n_runs)]
    alone, runs = ([begun(config) for config in configs] for _ in range(2))
    for state in runs:
        for group in state.optimizer.param_groups:
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
    graphs = Replayed()
    captured = Captured(Together(runs) if n_runs > 1 else GivenNoise(runs[0]), graphs)
    for _ in range(alone[0].n_steps):
        captured.step()
        for state in alone:
            Eager(state).step()
    assert all(same(a, b) for a, b in zip(alone, runs, strict=True))
    # 77 training scenes in batches of 20: three whole ones and a short one in each of 6 epochs
    assert (graphs.n_captured, graphs.n_warm_up) == (2, 2 * N_WARM_UP)
    assert graphs.n_replayed == 24 - 2 * N_WARM_UP


def test_runs_in_folders_equal_runs_trained_alone():
    configs = seeds_and_settings(double(), 2, {"training.learning_rate": ["0.001", "0.003"]})
    assert list(configs) == [
        "learning_rate-0.001-seed-0",
        "learning_rate-0.001-seed-1",
        "learning_rate-0.003-seed-0",
        "learning_rate-0.003-seed-1",
    ]
    runs, states, _ = train_together(configs, "all")
    assert [run.path for run in runs] == [Path("all") / name for name in configs]
    single, state, _ = train(configs["learning_rate-0.003-seed-1"], "single")
    last = runs[-1]
    assert {p.name for p in last.path.rglob("*")} == {p.name for p in single.path.rglob("*")}
    assert last.config == single.config
    for ours, theirs in zip(last.metrics(), single.metrics(), strict=True):
        assert (ours["step"], ours["split"]) == (theirs["step"], theirs["split"])
        assert ours["values"] == pytest.approx(theirs["values"], rel=1e-9)
    for a, b in zip(state.model.parameters(), states[-1].model.parameters(), strict=True):
        torch.testing.assert_close(a, b)


def test_an_existing_folder_is_left_alone():
    Path("mine").mkdir()
    with pytest.raises(ConfigError, match="mine exists already; choose a new folder"):
        train_together({"seed-0": double()}, "mine")
    assert not list(Path("mine").iterdir())


def test_interrupted_runs_go_on_together_and_alone():
    configs = {f"seed-{seed}": double(seed=str(seed)) for seed in (0, 1)}
    whole, _, _ = train_together(configs, "whole")
    runs, states, _ = train_together(configs, "parts", [StopAt(9)])
    assert [state.step for state in states] == [9, 9]
    with pytest.raises(ConfigError, match="was given twice; give each once"):
        resume_together([*runs, Run("parts/seed-0")])
    runs, states, _ = resume_together(runs, [StopAt(14)])
    assert [run.step() for run in runs] == [14, 14]
    resume(runs[0], [StopAt(16)])
    with pytest.raises(ConfigError, match="must be at one step, got 16, 14"):
        resume_together(runs)
    resume(runs[0])
    resume_together(runs[1:])
    for ours, theirs in zip(runs, whole, strict=True):
        assert len(ours.metrics()) == len(theirs.metrics())
        a, b = ours.model().state_dict(), theirs.model().state_dict()
        assert all(torch.allclose(a[name], b[name], rtol=1e-9) for name in a)
    with pytest.raises(RunError, match="is finished; leave it out"):
        resume_together(runs)


def test_a_run_that_breaks_down_ends_alone():
    class Spoil(Callback):
        def on_step(self, state):
            if state.step == 7:
                with torch.no_grad():
                    state.model.facets[0].loc.fill_(math.nan)

    states = [begun(tiny_config(seed=str(seed))) for seed in (0, 1)]
    ended = []

    class Watch(Callback):
        def on_log(self, state, metrics):
            if not all(map(math.isfinite, metrics.values())):
                raise TrainingError(f"seed {state.config.seed} broke down")

        def on_end(self, state):
            ended.append((state.config.seed, state.step, state.failed))

    with pytest.raises(TrainingError, match="seed 0 broke down"):
        take_steps_together(states, [[Spoil(), Watch()], [Watch()]])
    assert sorted(ended) == [(0, 24, True), (1, 24, False)]
    assert all(bool(p.isfinite().all()) for p in states[1].model.parameters())


def test_a_step_that_cannot_be_captured_says_what_to_do():
    class Refusing(Replayed):
        def capture(self, compute):
            raise RuntimeError("operation not permitted when stream is capturing")

    captured = Captured(GivenNoise(begun(tiny_config())), Refusing())
    for _ in range(N_WARM_UP + 1):  # three whole batches and a short one
        captured.step()
    message = r"training\.cuda_graph=false \(operation not permitted"
    with pytest.raises(TrainingError, match=message):
        captured.step()


def test_nonsense_stays_in_its_own_run():
    alone, *runs = [begun(double(seed=seed)) for seed in ("1", "0", "1")]
    with torch.no_grad():
        runs[0].model.facets[1].loc.fill_(math.nan)
    together = Together(runs)
    for _ in range(6):
        together.step()
        Eager(alone).step()
    assert not math.isfinite(runs[0].take_means()["elbo"])
    assert same(alone, runs[1])


class Ending(Callback):
    """Notes which runs have begun and ended; some fail on the way."""

    def __init__(self, notes, begins=True, ends=True):
        self.notes, self.begins, self.ends = notes, begins, ends

    def on_start(self, state):
        if not self.begins:
            raise OSError("no space left")
        self.notes.append(("begun", state.config.seed))

    def on_step(self, state):
        state.interrupted = state.step == 2

    def on_end(self, state):
        self.notes.append(("ended", state.config.seed, state.failed))
        if not self.ends:
            raise TrainingError("no longer finite")


def test_a_run_that_cannot_be_saved_leaves_the_others_alone():
    states, notes = [begun(tiny_config(seed=str(seed))) for seed in (0, 1, 2)], []
    callbacks = [[Ending(notes)], [Ending(notes, ends=False)], [Ending(notes)]]
    with pytest.raises(TrainingError, match="no longer finite"):
        take_steps_together(states, callbacks)
    assert notes[3:] == [("ended", seed, False) for seed in (0, 1, 2)]
    assert [state.failed for state in states] == [False, True, False]


def test_what_has_not_begun_does_not_end():
    states, notes = [begun(tiny_config(seed=str(seed))) for seed in (0, 1, 2)], []
    callbacks = [[Ending(notes)], [Ending(notes, begins=False), Ending(notes)], [Ending(notes)]]
    with pytest.raises(OSError, match="no space left"):
        take_steps_together(states, callbacks)
    assert notes == [("begun", 0), ("ended", 0, True)]


def test_the_message_names_the_run_that_broke_down_and_those_that_did_not():
    class Spoil(Callback):
        def on_step(self, state):
            with torch.no_grad():
                state.model.facets[1].loc.fill_(math.nan)

    configs = {f"seed-{seed}": tiny_config(seed=str(seed)) for seed in (0, 1)}
    with pytest.raises(
        TrainingError, match="^all/seed-0: .* Saved are all/seed-1: see mfcvae eval"
    ):
        train_together(configs, "all", [Spoil()])
    assert [Run(f"all/seed-{seed}").step() for seed in (0, 1)] == [0, 24]


def test_seeds_may_be_listed_and_no_run_is_trained_twice():
    configs = seeds_and_settings(tiny_config(), 1, {"seed": ["3", "8"]})
    assert {name: config.seed for name, config in configs.items()} == {"seed-3": 3, "seed-8": 8}
    assert list(seeds_and_settings(tiny_config(), 2, {"seed": ["4"]})) == ["seed-4", "seed-5"]
    for twice in ({"seed": ["3", "3"]}, {"training.learning_rate": ["0.001", "1e-3"]}):
        with pytest.raises(ConfigError, match="would be trained twice; give each value once"):
            seeds_and_settings(tiny_config(), 1, twice)


def test_runs_under_torchrun_are_refused(monkeypatch):
    variables = {"TORCHELASTIC_RUN_ID": "1", "LOCAL_WORLD_SIZE": "2", "WORLD_SIZE": "4"}
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    message = "torchrun has started 4 processes; give the command without it"
    with pytest.raises(ConfigError, match=message):
        train_together({"only": tiny_config()})
    with pytest.raises(ConfigError, match=message):
        resume_together([])
    done = CliRunner().invoke(main, ["train", "--runs", "2"])
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())
    assert not any(Path().iterdir())
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    check_one_process()


def test_from_the_terminal():
    options = json.dumps(tiny_config().data.options)
    done = CliRunner().invoke(
        main,
        [
            "train",
            "--runs",
            "2",
            "--set",
            f"data.options={options}",
            "--facets",
            "3:6,2:5",
            "--set",
            "training.epochs_per_step=[1,1]",
            "--set",
            "training.device=cpu",
        ],
    )
    assert done.exit_code == 0, done.output
    assert "seed-0" in done.output
    assert "seed-1" in done.output
    assert "mfcvae report runs/shapes-001 runs/shapes-002" in done.output
    assert Run("runs/shapes-002").config.seed == 1
    assert (Path("runs/shapes-002") / "figures").is_dir()
    wrong = CliRunner().invoke(main, ["train", "--vary", "training.learning_rate"])
    assert wrong.exit_code == 2
    assert "expected --vary PATH=VALUE,VALUE" in wrong.output
    both = CliRunner().invoke(main, ["train", "--resume", "runs/shapes-001", "--runs", "2"])
    assert "--resume goes on with the run's own settings" in both.output


def test_precision_of_the_networks():
    x = torch.rand(8, 3, 8, 8)
    full, less = (begun(tiny_config(**{"training.precision": p})) for p in ("full", "bf16"))
    with Noise(0):
        terms = full.model(x)
    with Noise(0):
        rounded = less.model(x)
        posterior = less.model.encode(x)[0]
    assert rounded.elbo.dtype == posterior.mean.dtype == torch.float32
    relative = relative_error(rounded.reconstruction, terms.reconstruction)
    assert 0 < relative < 2**-6  # a few of the 8 bits of a product
    with Noise(0), less.model.evaluating():
        assert torch.equal(less.model(x).kl_c, full.model.eval()(x).kl_c)  # not while evaluating
    for _ in range(4):
        Eager(less).step()
    assert all(p.dtype == torch.float32 for p in less.model.parameters())


def test_tf32_is_allowed_within_a_run_only():
    backends = torch.backends.cuda.matmul, torch.backends.cudnn
    before = [backend.allow_tf32 for backend in backends]
    for precision in ("full", "tf32"):
        with products_in(precision):
            assert [b.allow_tf32 for b in backends] == [precision == "tf32"] * 2
    assert [backend.allow_tf32 for backend in backends] == before


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("n_runs", [1, 3])
def test_cuda_graphs_take_the_same_steps(n_runs):
    configs = [double(seed=str(seed), **{"training.device": "cuda"}) for seed in range(n_runs)]
    off = {"training.device": "cuda", "training.cuda_graph": "false"}
    alone = [begun(double(seed=str(seed), **off)) for seed in range(n_runs)]
    runs = [begun(config) for config in configs]
    steps = Together(runs) if n_runs > 1 else GivenNoise(runs[0])
    captured = Captured(steps, CudaGraphs(runs[0].fade.device))
    for _ in range(N_STEPS):
        captured.step()
        for state in alone:
            Eager(state).step()
    assert all(same(a, b) for a, b in zip(alone, runs, strict=True))


@pytest.mark.cuda
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_cuda_graphs_on_another_device_than_the_current_one():
    config = double(**{"training.device": "cuda:1"})
    alone, state = begun(config), begun(config)
    captured = Captured(GivenNoise(state), CudaGraphs(state.fade.device))
    for _ in range(N_STEPS):
        captured.step()
        Eager(alone).step()
    assert same(alone, state)
