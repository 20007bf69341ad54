"""The command line, in a process of its own where signals matter."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from models import tiny_config

import pyro_mfcvae
from pyro_mfcvae.cli import main
from pyro_mfcvae.cli.main import COMMANDS
from pyro_mfcvae.config import config_to_dict
from pyro_mfcvae.runs.run import Run

TINY = config_to_dict(tiny_config())


def _tiny(*parts: str) -> list[str]:
    """Options that turn the default preset into the tiny one."""
    return [
        argument
        for part in parts or ("data", "model", "training")
        for argument in ("--set", f"{part}={json.dumps(TINY[part])}")
    ]


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def _mfcvae(*arguments: str):
    return CliRunner().invoke(main, arguments, prog_name="mfcvae")


def test_train_evaluate_and_draw():
    result = _mfcvae("train", *_tiny())
    assert result.exit_code == 0, result.output
    line = r"step 24/24  ELBO .* log p\(x\|z\) .* KL z .* KL c .* fade 1.00/1.00"
    assert re.search(line, result.output)
    assert re.search(r"floor_hue \(4\) .*\d+\.\d .*\d+\.\d .*\d+\.\d .*-?\d+\.\d", result.output)
    run = Path("runs/shapes-001")
    assert len(list((run / "figures").glob("*.png"))) == 20
    before = (run / "evaluation.json").read_text()
    evaluated = _mfcvae("evaluate", str(run))
    assert evaluated.exit_code == 0
    assert "majority" in evaluated.output
    assert (run / "evaluation.json").read_text() == before
    more = _mfcvae("evaluate", str(run), "--probe", "--bound", "8")
    assert more.exit_code == 0, more.output
    assert re.search(r"bound on log p\(x\), 8 samples", more.output)
    assert re.search(r"held out +19 +-?\d+\.\d\d +-?\d+\.\d\d", more.output)
    assert re.search(r"0 and 1 +0\.\d{3} +0\.\d{3}", more.output)
    assert re.search(r"nothing +\d+\.\d +\d+\.\d", more.output)
    results = Run(run).evaluation()
    assert set(results.probe.facets[1]) == set(results.facets[1].factors)
    assert results.importance_weighted_bound.n_samples == 8
    nmi = results.measures["redundancy"]["test"]
    assert nmi[0][1] == pytest.approx(nmi[1][0])
    drawn = _mfcvae("figures", str(run))
    assert drawn.exit_code == 0
    assert "curves.png" in drawn.output


def test_compare_and_export():
    assert _mfcvae("train", *_tiny(), "--out", "mine").exit_code == 0
    arguments = ("--guides", "vade", "--samples", "4,1", "--n-draws", "2", "--n-observations", "5")
    result = _mfcvae("compare", "mine", *arguments)
    assert result.exit_code == 0, result.output
    assert re.search(r"4 +enumerate +-?\d+\.\d\d ± \d+\.\d\d +0\.0000", result.output)
    assert re.search(r"vade +-?\d+\.\d\d +-?\d+\.\d\d/\S+ +\d+\.\d\d/\S+", result.output)
    assert max(map(len, result.output.splitlines())) <= 100
    rows = json.loads(Path("mine/comparison.json").read_text())["guides"]
    assert [(row["n_samples"], row["guide"]) for row in rows] == [
        (1, "enumerate"),
        (1, "vade"),
        (4, "enumerate"),
        (4, "vade"),
    ]
    figure = Path("mine/figures/guides.png")
    drawn = figure.read_bytes()
    figure.unlink()
    assert str(figure) in _mfcvae("figures", "mine").output
    assert figure.read_bytes() == drawn
    unknown = _mfcvae("compare", "mine", "--guides", "oracle")
    assert unknown.exit_code == 2
    assert "unknown guide 'oracle'" in unknown.output

    assert _mfcvae("export", "mine", "mine").exit_code == 2
    assert _mfcvae("export", "mine", "copy").exit_code == 0
    assert not list(Path("copy").rglob("optimizer*"))
    evaluation = Path("mine/evaluation.json").read_text()
    assert Path("copy/evaluation.json").read_text() == evaluation
    assert _mfcvae("evaluate", "copy").exit_code == 0
    assert Path("copy/evaluation.json").read_text() == evaluation
    assert _mfcvae("figures", "copy").exit_code == 0
    assert "is finished" in _mfcvae("train", "--resume", "copy").output
    assert _mfcvae("export", "mine", "half", "--half").exit_code == 0
    sizes = [next(Path(run).rglob("model*")).stat().st_size for run in ("copy", "half")]
    assert sizes[1] < 0.7 * sizes[0]
    full, half = (Run(run).model().state_dict() for run in ("copy", "half"))
    for name, value in full.items():
        torch.testing.assert_close(half[name], value, rtol=1e-3, atol=1e-6)


def test_data_of_one_s_own():
    generator = np.random.default_rng(0)
    kind = generator.integers(3, size=80)
    x = kind[:, None] + 0.1 * generator.normal(size=(80, 5))
    np.savez("mine.npz", x=x.astype(np.float32), kind=kind, **{"[/b]": kind})
    options = "--data mine.npz --facets 2:4 --guide enumerate --seed 3 --out mine"
    epochs = ("--set", "training.epochs_per_step=[2]")
    result = _mfcvae("train", *options.split(), *epochs)
    assert result.exit_code == 0, result.output
    assert "kind (3)" in result.output
    config = Run("mine").config
    assert config.guide.name == "enumerate"
    assert config.seed == 3
    assert config.data.options["path"] == str(Path("mine.npz").resolve())
    np.savez("unlabelled.npz", x=x.astype(np.float32))
    result = _mfcvae("train", "--data", "unlabelled.npz", "--facets", "2:4", *epochs)
    assert result.exit_code == 0, result.output
    assert Path("runs/unlabelled-001/evaluation.json").exists()


@pytest.mark.parametrize(
    ("command", "status", "message"),
    [
        ("train cifar", 2, "unknown preset 'cifar'; choose one of"),
        ("train --colour 3", 2, "No such option"),
        ("train --set training.rate=1", 2, "unknown setting 'training.rate'"),
        ("train --set model.encoder.options.depth=3", 2, "unknown option depth of encoder"),
        ("train --set data.options.colour=3", 2, "unknown option colour of data set"),
        ("train --facets 2:3:4", 2, "D:K,D:K"),
        ("train --facets 0:3", 2, "D:K,D:K"),
        ("train --facets 2:5000", 2, "5000 clusters but there are only 3840 training"),
        ("train --set training.batch_size=-1", 2, "greater than or equal to 1, got -1"),
        ("train --seed -1", 2, "--seed"),
        ("train --set model.encoder.options.batch_norm=no", 2, "valid boolean, got 'no'"),
        ("train --set model.likelihood.options.scale=true", 2, "valid number, got True"),
        (
            "train --set model.encoder=conv-ladder "
            """--set 'model.encoder.options={"channels": 0}'""",
            2,
            "channels must be positive",
        ),
        ("train --set data.options.test_fraction=abc", 2, "valid number, got 'abc'"),
        ("train --set 'data.options.factors.shape=[7]'", 2, "from 0 to 3"),
        ("train --set data.options.factors=5", 2, "factors of data set"),
        ("train --device tpu", 2, "device 'tpu' cannot be used here"),
        ("train --guide oracle", 2, "unknown guide 'oracle'"),
        ("train --data nowhere.npz", 1, "no such file"),
        ("train --data nothing", 2, "unknown data set 'nothing'"),
        (
            "train --data wide.npz --set model.likelihood=bernoulli",
            1,
            r"needs values in \[0, 1\], got \[0, 9\]",
        ),
        ("train --data flat.npz", 1, r"got shape \(5,\)"),
        ("train --out taken", 2, "taken exists already"),
        ("train --out taken/mine.txt/run", 2, "mine.txt is no folder to write in"),
        ("train --resume taken", 1, "no run folder"),
        ("train --resume taken --seed 3", 2, "only --data-dir, --device, --devices"),
        ("evaluate nowhere", 1, "no run folder"),
        ("evaluate", 2, "Missing argument"),
        ("figures taken", 1, "no run folder"),
        ("presets cifar", 2, "unknown preset"),
        ("compare taken", 1, "no run folder"),
        ("compare taken --samples 1,0", 2, "--samples.*from 1 on"),
        ("compare taken --n-draws 1", 2, "--n-draws"),
        ("export taken copy", 1, "no run folder"),
        ("pretrained cifar", 2, "unknown pretrained model 'cifar'; choose one of mnist"),
        ("pretrained mnist --out taken", 2, "taken exists already"),
        ("fly", 2, "No such command"),
    ],
)
def test_one_clear_message_and_nothing_overwritten(command, status, message):
    Path("taken").mkdir()
    Path("taken/mine.txt").write_text("mine")
    x = np.zeros((10, 4), np.float32)
    x[0, 0] = 9
    np.savez("wide.npz", x=np.repeat(x, 30, axis=0))
    np.savez("flat.npz", x=np.zeros(5))
    result = _mfcvae(*shlex.split(command))
    assert result.exit_code == status, result.output
    assert re.search(message, result.output), result.output
    assert "Traceback" not in result.output
    assert Path("taken/mine.txt").read_text() == "mine"
    assert [p.name for p in Path("taken").iterdir()] == ["mine.txt"]
    assert not Path("runs").exists()


def test_the_unforeseen_is_one_message_too(monkeypatch):
    def broken(*_, **__):
        raise ZeroDivisionError("by zero")

    monkeypatch.setattr("pyro_mfcvae.runs.train.train", broken)
    result = _mfcvae("train")
    assert result.exit_code == 1
    assert "ZeroDivisionError: by zero" in result.output
    assert "mfcvae --debug" in result.output


@pytest.mark.parametrize("facets", ["3:4", "3:4,2:2,2:2"])
def test_published_settings_with_other_facets(facets):
    from pyro_mfcvae.config import with_facets
    from pyro_mfcvae.plugins import build_model
    from pyro_mfcvae.presets import get_preset

    config = with_facets(get_preset("mnist").config, facets)
    model = build_model(config.model, pyro_mfcvae.models.base.ObservationSpec((1, 28, 28)))
    assert model.n_facets == len(config.training.epochs_per_step) == facets.count(":")


def test_debug_shows_the_traceback():
    result = _mfcvae("--debug", "evaluate", "nowhere")
    assert isinstance(result.exception, ValueError)


def test_help_presets_and_version():
    assert pyro_mfcvae.__version__ in _mfcvae("--version").output
    assert "shapes: rendered scenes" in _mfcvae("presets").output
    assert json.loads(_mfcvae("presets", "mnist").output)["preset"] == "mnist"
    assert "mnist:" in _mfcvae("pretrained").output
    for command in COMMANDS:
        result = _mfcvae(command.name, "--help")
        assert result.exit_code == 0
        examples = result.output.split("Example")[1].splitlines()[1:]
        assert examples[0].strip().startswith(f"mfcvae {command.name}")
        assert "\\b" not in result.output


@pytest.fixture
def start_training():
    """Starts trainings in processes of their own, none of which outlives the test."""
    with contextlib.ExitStack() as stack:

        def start(*arguments: str) -> subprocess.Popen:
            process = subprocess.Popen(
                [sys.executable, "-m", "pyro_mfcvae", "train", *arguments],
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            stack.enter_context(process)
            stack.callback(process.kill)
            return process

        yield start


def _wait_for_log(run: Path, n_lines: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    log = run / "metrics.jsonl"
    while not (log.exists() and len(log.read_text().splitlines()) >= n_lines):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.01)


LONG = ("--set", "training.epochs_per_step=[10,50]")  # 240 steps


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The run that nobody interrupted."""
    out = tmp_path_factory.mktemp("uninterrupted") / "whole"
    result = _mfcvae("train", *_tiny(), *LONG, "--out", str(out))
    assert result.exit_code == 0, result.output
    return Run(out)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_process_can_go_on_bit_for_bit(number, whole, start_training):
    process = start_training(*_tiny(), *LONG, "--out", "halted")
    _wait_for_log(Path("halted"), 10, process)
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 128 + number, output
    assert "mfcvae train --resume halted" in output
    assert "Traceback" not in output
    halted = Run("halted")
    assert halted.metrics()[-1]["step"] < 240
    resumed = _mfcvae("train", "--resume", "halted")
    assert resumed.exit_code == 0, resumed.output
    states = [run.model().state_dict() for run in (whole, halted)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert whole.metrics() == halted.metrics()
    assert whole.metrics()[-1]["step"] == 240
    assert whole.evaluation() == halted.evaluation()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "wait_for", "hint"),
    [
        (["train", "--runs", "2", "--out", "out"], "out/*/metrics.jsonl", "--resume out/seed-0"),
        (["sweep", "spec.json", "--out", "out"], "out/runs/*/metrics.jsonl", "sweep spec.json"),
        (
            ["sweep", "spec.json", "--out", "out", "--jobs", "2"],
            "out/runs/*/metrics.jsonl",
            "--jobs 2",
        ),
        (["train", "--set", "training.step=compiled", "--out", "out"], "out/.lock", "--resume out"),
    ],
)
def test_a_cluster_s_signal_ends_every_training_in_ten_seconds(words, wait_for, hint):
    long = [*_tiny(), "--set", "training.epochs_per_step=[20,8000]"]
    made = _mfcvae("train", *_tiny(), "--set", "training.epochs_per_step=[1,1]", "--out", "short")
    assert made.exit_code == 0, made.output
    spec = {"base": "short/config.json", "set": {"training.epochs_per_step": [20, 8000]}}
    Path("spec.json").write_text(json.dumps(spec | {"seeds": 2}))
    given = words + long * (words[0] == "train")
    with subprocess.Popen(
        [sys.executable, "-m", "pyro_mfcvae", *given],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        deadline = time.monotonic() + 120
        while not list(Path().glob(wait_for)):
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        time.sleep(1)
        process.terminate()
        began = time.monotonic()
        output, _ = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert process.returncode == 128 + signal.SIGTERM, output
    assert hint in output
    assert "Traceback" not in output
