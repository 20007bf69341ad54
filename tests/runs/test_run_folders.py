"""Run folders from strangers, on full or read-only disks, and after kills."""

from __future__ import annotations

import functools
import json
import os
import re
import resource
import shutil
import signal
import threading
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest
import torch
from click.testing import CliRunner
from models import tiny_config
from recorded import recorded
from rich.console import Console
from safetensors.torch import load_file, save_file

from benchmarks.kills import contents
from pyro_mfcvae.cli import main
from pyro_mfcvae.config import Component
from pyro_mfcvae.data import as_it_is, load_dataset
from pyro_mfcvae.errors import DataError, NotSavedWarning, RunError, TrainingError
from pyro_mfcvae.report import write_report
from pyro_mfcvae.runs.complete import complete, is_drawn
from pyro_mfcvae.runs.draw import draw_run
from pyro_mfcvae.runs.measure import evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.training import Callback, checkpoints
from pyro_mfcvae.training.callbacks import ProgressBar


class Stop(Callback):
    def on_step(self, state):
        state.interrupted = state.step == 10


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A tiny run, interrupted at step 10 of 24."""
    return train(tiny_config(), tmp_path_factory.mktemp("runs") / "tiny", [Stop()])[0].path


@pytest.fixture
def run(trained, tmp_path, monkeypatch) -> Run:
    """A copy of it in the current folder."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")
    return Run("run")


@pytest.fixture
def home(tmp_path) -> Path:
    """A person's own folder beside it."""
    (tmp_path / "home").mkdir()
    (tmp_path / "home/precious").write_text("precious")
    return tmp_path / "home"


def _link(path: Path, target: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    path.unlink(missing_ok=True)
    path.symlink_to(target)


@pytest.mark.parametrize("name", ["checkpoints", "figures", "metrics.jsonl", "timings.json"])
@pytest.mark.parametrize("target", [".", "precious", "new"])
def test_training_goes_on_through_no_link(run, home, name, target):
    _link(run.path / name, (home / target).resolve())
    with pytest.raises(RunError, match=name):
        resume(run)
    assert [path.name for path in home.iterdir()] == ["precious"]
    assert (home / "precious").read_text() == "precious"


@pytest.mark.parametrize("use", [draw_run, lambda run: write_report([run.path])])
def test_figures_are_not_written_through_a_link(run, home, use):
    _link(run.path / "figures", home)
    with pytest.raises(RunError, match="figures"):
        use(run)
    assert [path.name for path in home.iterdir()] == ["precious"]


def test_a_checkpoint_that_is_a_link_is_not_taken(run, home):
    newest = run.checkpoint().path
    shutil.move(newest, home / newest.name)
    newest.symlink_to(home / newest.name)
    with pytest.warns(UserWarning, match=newest.name):
        assert run.step() == 8
    with pytest.warns(UserWarning, match=newest.name):
        resume(run)
    assert (home / newest.name / "state.json").is_file()


def test_only_a_checkpoint_s_own_files_have_checksums(run):
    for folder in run.checkpoints.iterdir():
        record = json.loads((folder / "state.json").read_text())
        del record["checksum"]
        record["checksums"]["/dev/zero"] = "0"
        record["checksum"] = checkpoints._digest(record)
        (folder / "state.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="checksums./dev/zero"):
        run.checkpoint()


def _sign(folder: Path) -> None:
    record = json.loads((folder / "state.json").read_text())
    del record["checksum"]
    record["checksums"] = {n: checkpoints._checksum(folder / n) for n in record["checksums"]}
    record["checksum"] = checkpoints._digest(record)
    (folder / "state.json").write_text(json.dumps(record))


@pytest.mark.parametrize(
    "change",
    [
        {"x.step": torch.zeros(())},
        {"99.exp_avg": torch.zeros(3)},
        {"0.exp_avg": None},
        {"0.step": None, "0.exp_avg": None, "0.exp_avg_sq": None},
        {"0.exp_avg_sq": torch.zeros(7, 7)},
        {"0.step": torch.zeros(2)},
        {"log.totals": torch.zeros(3)},
        {"log.totals": None},
    ],
)
def test_an_optimiser_s_state_of_another_shape_is_refused(run, change):
    path = run.checkpoint().path / "optimizer.safetensors"
    tensors = load_file(path)
    assert "log.totals" in tensors  # step 10 lies between two log points
    tensors = {name: value for name, value in (tensors | change).items() if value is not None}
    save_file(tensors, path)
    _sign(path.parent)
    with pytest.raises(RunError, match=r"optimizer\.safetensors"):
        resume(run)


def test_a_model_that_holds_no_numbers_is_refused(run):
    path = run.checkpoint().path / "model.safetensors"
    tensors = load_file(path)
    name = next(name for name in tensors if name.endswith("weight"))
    tensors[name].fill_(torch.nan)
    save_file(tensors, path)
    _sign(path.parent)
    with pytest.raises(RunError, match=name):
        evaluate_run(run)


@pytest.mark.parametrize(
    "line", ['{"step": "one", "epoch": 0, "split": "train", "values": {}}', "[3]", "[" * 100_000]
)
def test_a_line_that_is_no_log_point_is_named(run, line):
    text = run.metrics_path.read_text()
    run.metrics_path.write_text(f"{text}{line}\n")
    with pytest.raises(RunError, match=rf"line {len(text.splitlines()) + 1} of .*metrics\.jsonl"):
        resume(run)


@pytest.mark.parametrize("content", ["{", "[3]", '[{"first_step": null}]', "[" * 100_000])
def test_damaged_timings_are_told_of_before_any_step(run, content):
    run.timings_path.write_text(content)
    with pytest.raises(RunError, match=r"timings\.json"):
        resume(run)
    assert run.step() == 10


def test_what_kills_left_behind_is_removed(run):
    left = [".evaluation.json-12", "figures/.curves.png-12", "checkpoints/.00000012-12"]
    run.figures.mkdir()
    for name in left:
        (run.path / name).write_text("{")
    shutil.copytree(run.checkpoint().path, run.checkpoints / "00000004")
    (run.checkpoints / "00000004/model.safetensors").unlink()  # half removed
    resume(run)
    assert not [name for name in left if (run.path / name).exists()]
    assert [path.name for path in checkpoints.checkpoints(run.checkpoints)] == [
        "00000024",
        "00000020",
    ]
    shutil.copytree(run.checkpoint().path, run.checkpoints / "00000004")  # of another step
    resume(run)  # which is finished
    assert not (run.checkpoints / "00000004").exists()


def test_a_checkpoint_is_on_the_disk_before_an_older_one_goes(run, monkeypatch):
    calls = recorded(monkeypatch)
    resume(run)
    for new in [f".{step:08d}-{os.getpid()}" for step in (12, 16, 20, 24)]:
        at = calls.index(("rename", new))
        before = calls[at - 6 : at]
        names = ["model.safetensors", "optimizer.safetensors", "state.json", new]
        assert sorted(before[-4:]) == sorted(("fsync", name) for name in names)
        assert ("fsync", "metrics.jsonl") in before
        assert calls[at + 1 : at + 3] == [("fsync", "checkpoints"), ("fsync", "run")]
        assert calls[at + 3][0] == "rename"  # the one that is removed
        assert calls[at + 4][0] == "rmtree"


class Trouble(Callback):
    """From step 14 on something is amiss, as long as a test lasts that far."""

    def __init__(self, begin):
        self.begin = begin

    def on_step(self, state):
        if state.step == 14:
            self.begin()


def _limit(patch, kind: int, soft: int) -> None:
    before = resource.getrlimit(kind)
    patch.callback(resource.setrlimit, kind, before)
    resource.setrlimit(kind, (soft, before[1]))


def _read_only(patch) -> None:
    def fail(path, mode="r", *more, own=Path.open, **named):
        if set(mode) & set("awx"):
            raise OSError(30, "Read-only file system")
        return own(path, mode, *more, **named)

    patch.enter_context(mock.patch.object(Path, "open", fail))


TROUBLES = {
    "too large": lambda patch: _limit(patch, resource.RLIMIT_FSIZE, 1000),
    "too many open": lambda patch: _limit(patch, resource.RLIMIT_NOFILE, 3),
    "read-only": _read_only,
    "allocate": lambda patch: torch.empty(2**55),
}


@pytest.mark.parametrize("told", TROUBLES)
def test_after_trouble_the_run_goes_on_from_the_last_good_checkpoint(run, trained, told):
    with ExitStack() as patch:
        begin = functools.partial(TROUBLES[told], patch)
        with pytest.raises((TrainingError, RuntimeError)) as caught:
            resume(run, [Trouble(begin)])
    message = " ".join([str(caught.value), *getattr(caught.value, "__notes__", ())])
    assert re.search(told, message.lower())
    assert message.count("go on with mfcvae train --resume run") == 1
    assert run.step() == 12
    assert not list(run.path.rglob(".*-*"))
    resume(run)
    shutil.copytree(trained, "whole/run")
    resume(Run("whole/run"))
    assert contents(run.path) == contents(Path("whole/run"))


def test_a_run_whose_folder_is_removed_does_not_come_back_as_half_of_one(run):
    with pytest.raises(TrainingError, match="removed") as caught:
        resume(run, [Trouble(lambda: shutil.rmtree(run.path))])
    assert "--resume" not in str(caught.value)
    assert not run.path.exists()


def test_too_little_memory_is_told_in_one_message(run, monkeypatch):
    def fail(*_):
        torch.empty(2**55)

    monkeypatch.setattr("pyro_mfcvae.training.checkpoints.Checkpoints.on_epoch", fail)
    result = CliRunner().invoke(main, ["train", "--resume", "run"])
    assert result.exit_code == 1
    assert re.search("not enough memory.*batch_size.*--resume run", result.output, re.DOTALL)
    assert "Traceback" not in result.output


def test_a_full_disk_leaves_the_last_checkpoint(run, monkeypatch):
    def fail(*_):
        raise checkpoints.SafetensorError("I/O error: No space left on device (os error 28)")

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints, "save_file", fail)
        with pytest.raises(TrainingError, match="00000012.*No space left.*--resume run"):
            resume(run)
    assert run.step() == 10
    assert not list(run.checkpoints.glob(".*"))
    resume(run)
    assert run.step() == 24


def test_results_that_cannot_be_saved_are_returned(run, monkeypatch):
    def fail(path, content):
        raise OSError(30, "Read-only file system", str(path))

    monkeypatch.setattr("pyro_mfcvae.runs.run.write_whole", fail)
    with pytest.warns(NotSavedWarning, match=r"evaluation\.json"):
        found = complete(run, draw=False)
    assert found.step == 10
    assert run.evaluation() is None


def test_a_checkpoint_removed_in_the_moment_of_reading_is_no_damage(run, recwarn, monkeypatch):
    """While this process reads the newest one, another goes on and prunes."""
    newest, read = run.checkpoint().path, checkpoints.read_checkpoint

    def prune(path):
        if newest.exists():
            shutil.rmtree(run.checkpoints / "00000008")
            record = json.loads((newest / "state.json").read_text())
            del record["checksum"]
            record["step"] = 12
            record["checksum"] = checkpoints._digest(record)
            (newest / "state.json").write_text(json.dumps(record))
            newest.rename(run.checkpoints / "00000012")
        return read(path)

    monkeypatch.setattr(checkpoints, "read_checkpoint", prune)
    assert run.step() == 12
    assert not recwarn.list


def test_a_new_run_has_its_name_only_once_it_is_complete(run, monkeypatch):
    seen = []

    def fail(model, folder, *_):
        seen.append(sorted(path.name for path in Path().iterdir()))
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("pyro_mfcvae.runs.run.save_model_only", fail)
        with pytest.raises(KeyboardInterrupt):
            run.export("copy")
    assert seen == [[f".copy-{os.getpid()}", "run"]]
    assert [path.name for path in Path().iterdir()] == ["run"]
    Path(".copy-12").mkdir()  # of a process that was killed
    assert run.export("copy").step() == 10
    assert sorted(path.name for path in Path().iterdir()) == ["copy", "run"]


def test_runs_are_numbered_on(run):
    Path("runs/tiny-007").mkdir(parents=True)
    made = [Run.create(run.config, name="tiny").path.name for _ in range(2)]
    assert made == ["tiny-008", "tiny-009"]
    assert not list(Path("runs").glob(".*"))


def test_figures_that_a_kill_kept_from_being_drawn_are_missed(run, monkeypatch):
    draw_run(run)
    assert is_drawn(run)
    (run.figures / "curves.png").unlink()
    assert not is_drawn(run)


def test_opening_a_run_makes_no_folders(tmp_path, monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.data.vision._download", lambda *_: pytest.fail("downloads"))
    place = str(tmp_path / "made")
    digits = Component(name="mnist", options={"data_dir": place})
    both = {part: {"name": "mnist", "options": {"data_dir": place}} for part in ("first", "second")}
    for settings in (digits, Component(name="mixed", options=both)):
        with pytest.raises(DataError, match="--data-dir"):
            load_dataset(as_it_is(settings))
    assert not list(tmp_path.iterdir())


class Hang(Callback):
    def on_step(self, state):
        if state.step == 12:
            os.kill(os.getpid(), signal.SIGHUP)


@pytest.mark.skipif(
    threading.current_thread() is not threading.main_thread(), reason="signals need the main thread"
)
@pytest.mark.parametrize("ignored", [False, True])
def test_a_terminal_that_closes_saves_unless_nohup_says_otherwise(run, ignored):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN if ignored else signal.SIG_DFL)
    try:
        state, _ = resume(run, [Hang()])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert run.step() == state.step == (24 if ignored else 12)


class Gone:
    """A stream whose reader has gone away."""

    encoding = "utf-8"

    def write(self, text):
        raise BrokenPipeError(32, "Broken pipe")

    def flush(self):
        pass


@pytest.mark.parametrize("error", [BrokenPipeError, SystemExit])  # of older and newer consoles
def test_nobody_who_reads_the_progress_interrupts_the_run(run, monkeypatch, error):
    def fail(_):
        raise error(1)

    console = Console(file=Gone(), force_terminal=False)
    monkeypatch.setattr(Console, "on_broken_pipe", fail, raising=False)
    state, _ = resume(run, [ProgressBar(console, seconds_per_line=0)])
    assert state.interrupted
    assert run.step() == state.step == 12


@pytest.mark.parametrize(
    "path",
    [
        ("elbo", "test"),
        ("elbo", "train", "elbo"),
        ("facets", 0, "occupied_clusters"),
        ("facets", 0, "factors", "shape", "test", "majority_accuracy_training_map"),
    ],
)
def test_results_that_lack_what_pages_show_are_refused(run, path):
    evaluate_run(run)
    values = json.loads((run.path / "evaluation.json").read_text())
    part = values
    for key in path[:-1]:
        part = part[key]
    del part[path[-1]]
    (run.path / "evaluation.json").write_text(json.dumps(values))
    with pytest.raises(RunError, match=rf"evaluation\.json is damaged .*{path[-1]}"):
        run.evaluation()
