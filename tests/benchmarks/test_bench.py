"""The benchmark: what it measures, records and shows. No test here judges a time."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from models import tiny_config

from benchmarks import Request, imports, memory, run, run_bench, scans, streaming
from benchmarks.candidates import BY_HAND, FIT, NETWORKS, TRACED, training_steps
from benchmarks.density import OURS, TORCH, bench_density
from benchmarks.figure import bench_figure
from benchmarks.memory import bench_memory, peak_bytes
from benchmarks.scans import MIXTURES, ROWS, SCANS, bench_scans, resized, write_rows
from benchmarks.steps import bench_steps
from benchmarks.streaming import IN_MEMORY
from benchmarks.targets import judge
from benchmarks.workload import TABLE, missing_shape, workload
from pyro_mfcvae.cli import main
from pyro_mfcvae.config import Component, config_to_dict
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES, Guide
from pyro_mfcvae.models import VaDE
from pyro_mfcvae.presets import get_preset

CPU = torch.device("cpu")


def test_missing_data_are_made_up(tmp_path, monkeypatch):
    monkeypatch.setenv("MFCVAE_DATA", str(tmp_path))
    shapes = {
        name: missing_shape(get_preset(name).config.data)
        for name in ("mnist", "svhn", "shapes3d-1", "shapes")
    }
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
    assert load.dataset.labels["class"].unique().tolist() == list(range(10))
    assert not workload(tiny_config(), CPU).made_up


def test_a_table_takes_a_preset_s_place():
    config = Request(presets=[TABLE], assignments=["training.step=auto"]).configs()[TABLE]
    assert config.training.step == "eager"
    load = workload(config, CPU)
    assert load.x.shape == (3600, 10)
    assert not load.made_up
    assert 10_000 < sum(p.numel() for p in load.model().parameters()) < 30_000


def test_files_that_are_there_are_read(mnist_folder):
    options = {"data_dir": str(mnist_folder)}
    assert missing_shape(Component(name="mnist", options=options)) is None


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
    [("n_clusters", 7, "3:7,2:7"), ("latent_dim", 7, "7:6,7:5"), ("n_facets", 3, "3:6,3:6,3:6")],
)
def test_facets_are_resized(name, value, shown):
    facets = resized(tiny_config(), name, value).model.facets
    assert ",".join(f"{f.latent_dim}:{f.n_clusters}" for f in facets) == shown


def test_mixtures_are_resized_and_have_full_covariances():
    facets = resized(tiny_config(), MIXTURES, "3x7x2").model.facets
    assert [(f.n_clusters, f.latent_dim, f.covariance) for f in facets] == [(7, 2, "full")] * 3


def test_rows_of_a_file_are_those_of_the_workload(tmp_path, monkeypatch):
    load = workload(tiny_config(), CPU)
    n = len(load.x)
    rows = np.load(write_rows(tmp_path / "x.npy", load.x, 2 * n + 3))
    assert rows.shape == (2 * n + 3, *load.x.shape[1:])
    for start in (0, n):
        assert np.array_equal(rows[start : start + n], load.x)
    assert np.array_equal(rows[-3:], load.x[:3])
    monkeypatch.setattr(scans, "_LARGEST_FILE", load.x[0].nbytes * 100)
    results = bench_scans(load, 1, 0.0, {ROWS: (50, 101)}, whole_buffers=False)
    assert list(results[ROWS]["candidates"]) == ["50"]


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


def test_streamed_steps_take_the_observations_of_the_workload(tmp_path):
    load = workload(tiny_config(), CPU)
    streaming.write(tmp_path / "x.h5", load.x, "gzip")
    dataset = load_dataset(
        Component(name="h5", options={"path": str(tmp_path / "x.h5"), "memory": "stream"})
    )
    x = dataset.split("train")[0]
    assert x.dtype == load.x.dtype
    assert torch.equal(x[torch.arange(len(x))], load.x)


def test_promises_of_streaming_and_of_runs_at_once():
    candidates = {"in memory": {"ratio": 1.0}, "streamed": {"ratio": 1.3}}
    runs = {"n_runs": {"candidates": {"1": {"ratio": 1.0}, "10": {"ratio": 2.0}}}}
    presets = {"mnist": {"streaming": {"candidates": candidates}, "scans": runs}}
    judged = {
        device: [
            (t["measured"], t["limit"], t["passed"])
            for t in judge({"machine": {"device": device}, "presets": presets})
        ]
        for device in ("cpu", "cuda:1")
    }
    assert judged == {"cpu": [(1.3, 1.2, False)], "cuda:1": [(2.0, 2.5, True)]}


def test_peak_memory_of_a_step():
    mebibyte = 2**18  # numbers with 32 bits

    def one_by_one() -> None:
        for _ in range(2):
            torch.empty(mebibyte)

    def both() -> None:
        _ = torch.empty(mebibyte), torch.empty(mebibyte)

    assert peak_bytes(one_by_one, CPU) == 2**20
    assert peak_bytes(both, CPU) == 2**21


def test_no_step_is_captured_while_its_memory_is_measured(monkeypatch):
    asked = []
    monkeypatch.setattr(memory, "peak_bytes", lambda step, device: 0)
    monkeypatch.setattr(memory, "training_steps", lambda load, names: asked.append(load) or {})
    load = workload(tiny_config(), CPU)
    assert load.config.training.cuda_graph
    bench_memory(load)
    assert len(asked) == len(GUIDES)
    assert not any(load.config.training.cuda_graph for load in asked)


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


def test_the_command_is_recorded_without_folders():
    request = Request(
        presets=["mnist"],
        parts=["steps"],
        device="cpu",
        n_threads=1,
        clock="cpu",
        quick=True,
        assignments=["guide.name=vade"],
        data_dir=Path("/somewhere"),
    )
    assert request.command() == (
        "mfcvae bench mnist --device cpu --threads 1 --clock cpu --quick --only steps "
        "--set guide.name=vade"
    )


def _mfcvae(*arguments: str):
    return CliRunner().invoke(main, ["bench", *arguments], prog_name="mfcvae")


def test_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Request, "turn_seconds", 0.0)
    tiny = config_to_dict(tiny_config())
    settings = [f"{part}={json.dumps(tiny[part])}" for part in ("data", "model", "training")]
    changed = [word for setting in settings for word in ("--set", setting)]
    parts = (
        "--only",
        "steps, scans,streaming,memory,density",
        "--quick",
        "--rounds",
        "1",
        "--threads",
        "1",
    )
    threads = torch.get_num_threads()
    result = _mfcvae("shapes", "--device", "cpu", *parts, *changed)
    assert result.exit_code == 0, result.output
    assert torch.get_num_threads() == threads
    for text in (
        "by hand",
        "vade-analytic",
        "over n_samples",
        "peak memory",
        "promises",
        "shapes: checkpoints and held-out measurements",
    ):
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
    assert set(shapes["steps"]["candidates"]) == {NETWORKS, BY_HAND, TRACED, FIT, *GUIDES}
    assert set(shapes["scans"]) == set(SCANS)
    assert set(shapes["streaming"]["candidates"]) == {IN_MEMORY, "streamed", "streamed, gzip"}
    assert set(shapes["memory"]["candidates"]) == {NETWORKS, BY_HAND, *GUIDES}
    assert all(n_bytes > 0 for n_bytes in shapes["memory"]["candidates"].values())
    assert shapes["n_steps"] == 24
    seconds = shapes["steps"]["end_to_end"]["seconds_per_step"]
    whole = shapes["steps"]["end_to_end"]["full_length"]
    assert whole == pytest.approx(24 * sum(seconds.values()))
    assert len(record["targets"]) == len(GUIDES) + 4
    with pytest.raises(ValueError, match="neither steps nor scans"):
        bench_figure(record | {"presets": {}})


def test_without_the_source_code_one_message_says_where_benchmarks_are(tmp_path, monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.cli.bench._BENCHMARKS", tmp_path / "benchmarks")
    result = _mfcvae()
    assert result.exit_code == 1
    assert "pip install -e" in result.output


def test_a_whole_run_is_measured():
    warped = tiny_config(**{"training.warp": "{}"})
    load, said = workload(warped, CPU), []
    results = bench_steps(load, 1, 0.0, full=True, say=said.append)
    assert results["end_to_end"]["measured_full_length"] > 0
    assert (results["device"], results["left_out"]) == (None, ["training.warp"])
    first, rare, about, *steps = said
    assert first == "traced: the first step"
    assert rare == "checkpoints and held-out measurements"
    assert about.startswith("a whole run, of about ")
    assert steps == [f"step {n} of 24" for n in (3, 5, 8, 10, 12, 15, 17, 20, 22, 24)]


def test_an_interrupted_run_is_not_measured():
    def say(text: str) -> None:
        if text.startswith("step"):
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        bench_steps(workload(tiny_config(), CPU), 1, 0.0, full=True, say=say)


def test_the_record_is_kept_after_every_part(monkeypatch):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    kept = []
    monkeypatch.setattr(run, "bench_density", lambda *_: {"candidates": {OURS: {"ratio": 0.4}}})
    monkeypatch.setattr(run, "bench_imports", interrupted)
    request = Request(parts=["density", "imports"], device="cpu")
    with pytest.raises(KeyboardInterrupt):
        run_bench(request, keep=lambda record: kept.append(dict(record)))
    (record,) = kept
    assert "imports" not in record
    assert [target["measured"] for target in record["targets"]] == [0.4]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("svhm",), "unknown preset 'svhm'"),
        (
            ("--only", "steps,speed"),
            "unknown part 'speed'; choose one of steps, scans, streaming, memory",
        ),
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
