"""The benchmark: its own reference, its timer, what it records. No test here judges a time."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from models import SHAPE, observations, relative_error, small_model, tiny_config
from pyro_mfcvae.cli import main

from pyro_mfcvae import Noise
from pyro_mfcvae.bench import Request, candidates, imports, run, targets
from pyro_mfcvae.bench.candidates import BY_HAND, FIT, NETWORKS, deviation, training_steps
from pyro_mfcvae.bench.density import OURS, TORCH, bench_density
from pyro_mfcvae.bench.device import summed_durations
from pyro_mfcvae.bench.memory import peak_bytes
from pyro_mfcvae.bench.reference import HandWritten, HandWrittenMixture, HandWrittenTraining
from pyro_mfcvae.bench.scans import SCANS, bench_scans, resized
from pyro_mfcvae.bench.steps import bench_steps
from pyro_mfcvae.bench.timing import Timings, alternate, repeated
from pyro_mfcvae.bench.workload import missing_shape, workload
from pyro_mfcvae.config import Component, config_to_dict
from pyro_mfcvae.errors import ConfigError, TrainingError
from pyro_mfcvae.figures.bench import bench_figure
from pyro_mfcvae.guides import GUIDES, Guide
from pyro_mfcvae.models import VaDE
from pyro_mfcvae.presets import get_preset

CPU = torch.device("cpu")
EXACT = 1e-10  # of sums of some hundred terms in float64


def _gaussian(**options) -> Component:
    return Component(name="gaussian", options=options)


def _differences(model, guide: str, n_samples: int) -> list[float]:
    """Relative differences of loss and gradients between the library and the hand-written code."""
    x, hand = observations(), HandWritten(model)
    fade = torch.linspace(0.3, 1.0, model.n_facets, dtype=torch.float64)
    batch = (n_samples, len(x)) if n_samples > 1 else (len(x),)
    noise = [torch.randn(*batch, f.latent_dim, dtype=torch.float64) for f in model.facets]
    with Noise({f"z_{j}": eps for j, eps in enumerate(noise)}):
        theirs = model(x, fade, guide, n_samples).loss
    ours = hand(x, fade, n_samples, noise)
    pairs = zip(
        [ours, *candidates.gradients(hand, ours)],
        [theirs, *candidates.gradients(model, theirs)],
        strict=True,
    )
    return [relative_error(a, b) for a, b in pairs]


@pytest.mark.parametrize("covariance", ["diagonal", "full"])
@pytest.mark.parametrize("n_facets", [1, 2, 3])
@pytest.mark.parametrize(("guide", "n_samples"), [("enumerate", 1), ("enumerate", 3), ("vade", 1)])
def test_the_reference_is_the_objective(covariance, n_facets, guide, n_samples):
    model = small_model(n_facets, covariance)
    assert max(_differences(model, guide, n_samples)) < EXACT


@pytest.mark.parametrize(
    "likelihood",
    [_gaussian(scale=0.3), _gaussian(scale=0.3, learn_scale=True, output_activation="sigmoid")],
)
@pytest.mark.parametrize("learn_weights", [False, True])
def test_the_reference_knows_the_likelihoods(likelihood, learn_weights):
    model = small_model(likelihood=likelihood, learn_weights=learn_weights)
    assert max(_differences(model, "enumerate", 3)) < EXACT


def test_the_reference_refuses_another_likelihood():
    model = small_model()
    model.likelihood = torch.nn.Identity()
    with pytest.raises(ConfigError, match="bernoulli and gaussian, got Identity"):
        HandWritten(model)


def test_the_reference_takes_every_observation_once_an_epoch():
    model = small_model()
    x = torch.randint(0, 256, (10, *SHAPE), dtype=torch.uint8)
    hand, seen = HandWritten(model), []
    training = replace(tiny_config().training, batch_size=4)
    step = HandWrittenTraining(hand, x, training, torch.ones(2, dtype=torch.float64)).step
    hand.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    for _ in range(3):
        step()
    assert [len(batch) for batch in seen] == [4, 4, 2]
    rows = torch.cat(seen).mul(255).round().to(torch.uint8).flatten(1).tolist()
    assert sorted(rows) == sorted(x.flatten(1).tolist())


def test_the_reference_steps_as_adam_does():
    """The first step of Adam moves a parameter by the learning rate against its gradient's sign."""
    model, x = small_model(), observations(6).float().mul(255).to(torch.uint8)
    hand = HandWritten(model)
    before = [p.detach().clone() for p in hand.mixtures.parameters()]
    grads = []
    hand.mixtures[0].loc.register_hook(grads.append)
    training = replace(tiny_config().training, batch_size=6, learning_rate=1e-3)
    HandWrittenTraining(hand, x, training, torch.ones(2, dtype=torch.float64)).step()
    moved = hand.mixtures[0].loc.detach() - model.facets[0].loc.detach()
    torch.testing.assert_close(moved, -1e-3 * grads[0].sign(), rtol=1e-3, atol=0.0)
    assert all(p.grad is None for p in hand.parameters())
    assert len(before) == 6


class _Clock:
    """A clock that only candidates move."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def __call__(self) -> float:
        return self.now

    def candidate(self, name: str, seconds):
        def turn() -> None:
            self.calls.append(name)
            self.now += seconds(self.calls.count(name))

        return turn


def test_candidates_take_turns():
    clock, waits = _Clock(), []
    turns = {name: clock.candidate(name, lambda n: 1.0) for name in "abc"}
    timings = alternate(turns, 3, n_steps=4, wait=lambda: waits.append(len(clock.calls)),
                        clock=clock)  # fmt: skip
    assert "".join(clock.calls) == "abc" + "abc" + "acb" + "cab"
    assert waits == [n for turn in range(3, 12) for n in (turn, turn + 1)]
    assert timings.seconds == dict.fromkeys("abc", (0.25,) * 3)


def test_drift_cancels_in_the_ratio_of_rounds():
    clock = _Clock()
    drift = (1.0, 1.0, 7.0, 2.0, 30.0, 4.0)  # of the warm-up and of every round
    turns = {
        "ours": clock.candidate("ours", lambda n: 3.0 * drift[n - 1]),
        "theirs": clock.candidate("theirs", lambda n: 2.0 * drift[n - 1]),
    }
    timings = alternate(turns, 5, clock=clock)
    ratio = timings.ratio("ours", "theirs")
    assert ratio.median == pytest.approx(1.5)
    assert ratio.quartiles == pytest.approx((1.5, 1.5))
    assert timings.median("theirs") == pytest.approx(8.0)
    assert timings.difference("ours", "theirs") == pytest.approx(4.0)


def test_ratios_of_medians_and_medians_of_ratios():
    timings = Timings({"a": (1.0, 2.0, 6.0, 4.0, 5.0), "b": (1.0, 1.0, 2.0, 4.0, 10.0)})
    ratio = timings.ratio("a", "b")  # by round: 1, 2, 3, 1, 0.5
    assert (ratio.of_medians, ratio.median, ratio.quartiles) == (2.0, 1.0, (1.0, 2.0))
    record = timings.record("b")
    assert record["candidates"]["a"] == {
        "seconds": 4.0,
        "quartiles": (2.0, 5.0),
        "seconds_by_round": (1.0, 2.0, 6.0, 4.0, 5.0),
        "ratio": 1.0,
        "ratio_quartiles": (1.0, 2.0),
        "ratio_of_medians": 2.0,
        "difference": 0.0,
    }
    assert "ratio" not in timings.record()["candidates"]["a"]


def test_there_must_be_something_to_time():
    with pytest.raises(ValueError, match="got 0 and 3"):
        alternate({}, 3)
    with pytest.raises(ValueError, match="got 1 and 0"):
        alternate({"a": lambda: None}, 0)


def test_a_turn_repeats_its_step():
    calls = []
    repeated(lambda: calls.append(1), 5)()
    assert len(calls) == 5


def test_missing_data_are_made_up(tmp_path, monkeypatch):
    monkeypatch.setenv("MFCVAE_DATA", str(tmp_path))
    shapes = {name: missing_shape(get_preset(name).config.data)
              for name in ("mnist", "svhn", "shapes3d-1", "shapes")}  # fmt: skip
    assert shapes == {
        "mnist": ((1, 28, 28), 60_000, 10_000),
        "svhn": ((3, 32, 32), 73_257, 26_032),
        "shapes3d-1": ((3, 32, 32), 3_840, 960),
        "shapes": None,
    }
    colored = Component(name="colored-mnist", options={"n_train": 20, "n_test": 10})
    config = replace(tiny_config(), data=colored)
    load = workload(config, CPU)
    assert load.made_up
    assert load.dataset.x.shape == (30, 3, 28, 28)
    assert (len(load.dataset.train), len(load.dataset.test)) == (20, 10)
    assert not workload(tiny_config(), CPU).made_up


def test_files_that_are_there_are_read(mnist_folder):
    options = {"data_dir": str(mnist_folder)}
    assert missing_shape(Component(name="mnist", options=options)) is None


def test_the_reference_is_checked_before_it_is_timed(monkeypatch):
    load = workload(tiny_config(), CPU)
    assert deviation(load) < EXACT
    log_prob = HandWrittenMixture._full
    monkeypatch.setattr(HandWrittenMixture, "_full", lambda self, z: 1.001 * log_prob(self, z))
    assert deviation(load) > 1e-5
    with pytest.raises(TrainingError, match="is not the library's: relative difference"):
        bench_steps(load, 1, 0.0)


def test_guides_that_do_not_fit_are_left_out(monkeypatch):
    class Unfitting(Guide):
        def __init__(self, model):
            raise ConfigError("another model")

    monkeypatch.setitem(GUIDES, "unfitting", Unfitting)
    load = workload(tiny_config(**{"guide.name": "enumerate"}), CPU)
    names = list(training_steps(load))
    assert names[0] == "enumerate"
    assert set(names) == GUIDES.keys() - {"unfitting"}


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("n_clusters", 7, "3:7,2:7"),
        ("latent_dim", 7, "7:6,7:5"),
        ("n_facets", 3, "3:6,3:6,3:6"),
    ],
)
def test_facets_are_resized(name, value, shown):
    facets = resized(tiny_config(), name, value).model.facets
    assert ",".join(f"{f.latent_dim}:{f.n_clusters}" for f in facets) == shown


def test_other_sizes_are_resized():
    assert resized(tiny_config(), "n_samples", 7).guide.n_samples == 7
    assert resized(tiny_config(), "batch_size", 7).training.batch_size == 7
    with pytest.raises(ConfigError, match="unknown size 'width'; choose one of n_clusters"):
        resized(tiny_config(), "width", 7)


def test_sizes_that_a_model_cannot_have_are_left_out():
    config = tiny_config(**{"training.epochs_per_step": "2"})
    networks = {part: Component(name="shared") for part in ("encoder", "decoder")}
    facets = config.model.facets[:1]
    model = replace(config.model, name="vade", facets=facets, **networks)
    load = workload(replace(config, model=model), CPU)
    assert isinstance(load.model(), VaDE)
    results = bench_scans(load, 1, 0.0, {"n_facets": (1, 2)})
    assert list(results["n_facets"]["candidates"]) == ["1"]
    assert bench_scans(load, 1, 0.0, {"n_facets": (2,)}) == {}


def test_peak_memory_of_a_step():
    mebibyte = 2**18  # numbers with 32 bits

    def one_by_one() -> None:
        for _ in range(2):
            torch.empty(mebibyte)

    def both() -> None:
        _ = torch.empty(mebibyte), torch.empty(mebibyte)

    assert peak_bytes(one_by_one, CPU) == 2**20
    assert peak_bytes(both, CPU) == 2**21


def test_density_of_both_is_one():
    record = bench_density(CPU, 1, 0.0, n_clusters=4, latent_dim=3, batch_size=5)
    assert record["deviation"] < 1e-5  # in float32
    assert set(record["candidates"]) == {OURS, TORCH}


def test_imports_are_timed_in_processes(monkeypatch):
    for statement in imports.STATEMENTS.values():
        exec(statement, {})
    monkeypatch.setattr(
        imports, "STATEMENTS", {imports.BARE: "import asyncio", "ours": "import asyncio"}
    )
    for clock in ("wall", "cpu"):
        record = imports.bench_imports(1, clock)
        assert set(record["candidates"]) == {imports.BARE, "ours"}
        assert all(candidate["seconds"] > 0 for candidate in record["candidates"].values())
    monkeypatch.setattr(imports, "STATEMENTS", {imports.BARE: "import not_there_at_all"})
    with pytest.raises(subprocess.CalledProcessError):
        imports.bench_imports(1)


def test_work_on_a_device_is_summed_up():
    events = [
        {"cat": "kernel", "dur": 2.0},
        {"cat": "gpu_memcpy", "dur": 0.5},
        {"cat": "gpu_user_annotation", "dur": 100.0},
        {"cat": "cpu_op", "dur": 100.0},
        {"name": "without a category"},
    ]
    assert summed_durations(events) == pytest.approx(2.5e-6)


def _record(by_hand: float, ours: float, device: str = "cpu") -> dict:
    """A record of one preset with every part that is judged."""
    candidates = {
        NETWORKS: {"seconds": 1.0, "ratio": 9.0, "difference": 9.0},
        BY_HAND: {"seconds": by_hand, "ratio": 1.0, "difference": 0.0},
        "vade": {"seconds": ours, "ratio": ours / by_hand, "difference": ours - by_hand},
        FIT: {"seconds": 1.0, "ratio": 9.0, "difference": 9.0},
    }
    steps = {
        "guide": "vade",
        "candidates": candidates,
        "end_to_end": {"ratio": 1.07, "full_length": 41.0, "measured_full_length": 39.0},
        "device": {"waits": None, "kernel_seconds": ours / 1.2},
    }
    return {
        "machine": {"device": device},
        "presets": {"mnist": {"steps": steps}},
        "density": {"candidates": {OURS: {"ratio": 0.6}, TORCH: {"ratio": 1.0}}},
        "imports": {"candidates": {imports.BARE: {"ratio": 1.0}, "ours": {"ratio": 1.1}}},
    }


@pytest.mark.parametrize(
    ("by_hand", "ours", "measured", "unit", "passed"),
    [
        (0.100, 0.104, 1.04, "x", True),
        (0.100, 0.106, 1.06, "x", False),
        (0.099, 0.1035, 4.5, "ms", True),
        (0.010, 0.0155, 5.5, "ms", False),
    ],
)
def test_steps_are_judged_by_their_length(by_hand, ours, measured, unit, passed):
    first, *others = targets.judge(_record(by_hand, ours))
    assert first["measured"] == pytest.approx(measured)
    assert (first["unit"], first["passed"]) == (unit, passed)
    assert [target["passed"] for target in others] == [True, False, True]
    assert "fit with checkpoints" in others[0]["name"]


def test_a_device_is_judged_by_itself():
    record = _record(0.1, 0.2, "cuda")
    waits, kernels, extrapolated, measured, imported = targets.judge(record)
    assert kernels["measured"] == pytest.approx(1.2)
    assert (extrapolated["passed"], measured["passed"]) == (False, True)
    assert waits["passed"]
    assert kernels["passed"]
    assert "import" in imported["name"]
    record["presets"]["mnist"]["steps"]["device"]["waits"] = "called a synchronizing operation"
    assert not targets.judge(record)[0]["passed"]


def test_the_command_is_recorded_without_folders():
    request = Request(
        presets=["mnist"], parts=["steps"], device="cpu", n_threads=1, clock="cpu", quick=True,
        assignments=["guide.name=vade"], data_dir=Path("/somewhere"),
    )  # fmt: skip
    assert request.command() == (
        "mfcvae bench mnist --device cpu --threads 1 --clock cpu --quick --only steps "
        "--set guide.name=vade"
    )


def _mfcvae(*arguments: str):
    return CliRunner().invoke(main, ["bench", *arguments], prog_name="mfcvae")


def test_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny = config_to_dict(tiny_config())
    settings = [f"{part}={json.dumps(tiny[part])}" for part in ("data", "model", "training")]
    changed = [word for setting in settings for word in ("--set", setting)]
    parts = ("--only", "steps, scans,memory,density", "--quick", "--rounds", "1", "--threads", "1")
    threads = torch.get_num_threads()
    result = _mfcvae("shapes", "--device", "cpu", *parts, *changed)
    assert result.exit_code == 0, result.output
    assert torch.get_num_threads() == threads
    for text in ("by hand", "vade-analytic", "over n_samples", "peak memory", "promises"):
        assert text in result.output
    assert Path("bench/bench.png").stat().st_size > 10_000
    text = Path("bench/bench.json").read_text()
    assert str(tmp_path) not in text
    record = json.loads(text)
    assert set(record) == {
        "command",
        "clock",
        "memory_kept",
        "machine",
        "presets",
        "density",
        "targets",
    }
    assert record["machine"]["n_threads"] == 1
    shapes = record["presets"]["shapes"]
    assert set(shapes["steps"]["candidates"]) == {NETWORKS, BY_HAND, FIT, *GUIDES}
    assert set(shapes["scans"]) == set(SCANS)
    assert set(shapes["memory"]["candidates"]) == {NETWORKS, BY_HAND, *GUIDES}
    assert all(n_bytes > 0 for n_bytes in shapes["memory"]["candidates"].values())
    assert shapes["n_steps"] == 24
    seconds = shapes["steps"]["end_to_end"]["seconds_per_step"]
    whole = shapes["steps"]["end_to_end"]["full_length"]
    assert whole == pytest.approx(24 * sum(seconds.values()))
    assert len(record["targets"]) == len(GUIDES) + 2
    with pytest.raises(ValueError, match="neither steps nor scans"):
        bench_figure(record | {"presets": {}})


def test_a_whole_run_is_measured():
    load = workload(tiny_config(), CPU)
    results = bench_steps(load, 1, 0.0, full=True)
    assert results["end_to_end"]["measured_full_length"] > 0
    assert results["device"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("svhm",), "unknown preset 'svhm'"),
        (("--only", "steps,speed"), "unknown part speed; choose from steps, scans, memory"),
        (("shapes", "--set", "training.speed=1"), "unknown setting 'training.speed'"),
        (("shapes", "--device", "cuda:99"), "device 'cuda:99' cannot be used here"),
    ],
)
def test_what_cannot_be_measured_is_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = _mfcvae(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert not list(tmp_path.iterdir())


def test_too_few_rounds_and_unknown_clocks_are_refused():
    with pytest.raises(ConfigError, match="expected 1 or more rounds, got 0"):
        Request(n_rounds=0)
    with pytest.raises(ConfigError, match="unknown clock 'sun'; choose one of wall, cpu"):
        Request(clock="sun")


def test_a_clock_must_see_the_device(monkeypatch):
    monkeypatch.setattr(run, "resolve_device", lambda name: torch.device(name))
    with pytest.raises(ConfigError, match="the clock cpu does not see cuda; take wall"):
        Request(device="cuda", clock="cpu").check()


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_cuda_device():
    results = bench_steps(workload(tiny_config(), torch.device("cuda")), 2, 0.01)
    assert results["device"]["waits"] is None
    assert results["device"]["kernel_seconds"] > 0
