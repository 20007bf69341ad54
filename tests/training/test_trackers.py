"""Trackers are told what metrics.jsonl holds, and none of them stops a training."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from distributed_job import StopAt
from models import tiny_config

from pyro_mfcvae import FacetClustering
from pyro_mfcvae.cli import main
from pyro_mfcvae.errors import ConfigError, NotTrackedWarning, TrainingError
from pyro_mfcvae.findings import Finding
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.training import Callback, fit
from pyro_mfcvae.training.callbacks import MetricsLog
from pyro_mfcvae.training.trackers import TRACKERS, Tracker, Tracking
from pyro_mfcvae.training.trackers.tracking import read_names

FEWER_MESSAGES = {
    "MLFLOW_ALLOW_FILE_STORE": "true",  # which needs no database
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "WANDB_ERROR_REPORTING": "false",
    "WANDB_MODE": "offline",
    "WANDB_SILENT": "true",
}


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def trained(folder, names):
    """A run that was interrupted and went on, told to trackers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for name, value in FEWER_MESSAGES.items():
            patch.setenv(name, value)
        patch.setenv("MLFLOW_TRACKING_URI", (folder / "mlflow").as_uri())
        settings = {"training.track": json.dumps(names), "training.evaluate_every": "2"}
        run, _, dataset = train(tiny_config(**settings), folder / "run", [StopAt(7)])
        resume(run, dataset=dataset)
    return run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run that is tracked by everything that is installed and takes long to begin."""
    known = [name for name in ("mlflow", "wandb") if find_spec(name)]
    return trained(tmp_path_factory.mktemp("tracked"), known)


def logged(run):
    """Every number of ``metrics.jsonl`` by name and step."""
    return {
        (f"{record['split']}/{name}", record["step"]): value
        for record in run.metrics()
        for name, value in record["values"].items()
    }


def assert_are_those_logged(found, run):
    expected = logged(run)
    assert {step for _, step in expected} > {3, 24}
    assert found.keys() == expected.keys()
    np.testing.assert_allclose([found[key] for key in expected], [*expected.values()], rtol=1e-6)


def test_tensorboard_has_the_run_in_its_folder(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = trained(tmp_path, ["tensorboard"])
    read = events.EventAccumulator(str(run.path / "tensorboard")).Reload()
    found = {
        (name, scalar.step): scalar.value
        for name in read.Tags()["scalars"]
        for scalar in read.Scalars(name)
    }
    assert_are_those_logged(found, run)
    (text,) = read.Tensors("settings/text_summary")
    assert b"model.name" in text.tensor_proto.string_val[0]


@pytest.mark.slow
def test_mlflow_has_one_run_of_both_stretches(run, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    client = mlflow.MlflowClient((run.path.parent / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("pyro_mfcvae").experiment_id
    (found,) = client.search_runs([experiment])
    assert (found.info.run_name, found.info.status) == ("run", "FINISHED")
    assert found.data.params["model.name"] == "mfcvae"
    metrics = {
        (name, metric.step): metric.value
        for name in found.data.metrics
        for metric in client.get_metric_history(found.info.run_id, name)
    }
    assert_are_those_logged(metrics, run)


def records_of(file):
    """What a file of Weights & Biases holds: records in blocks of 32 KiB, as LevelDB's logs."""
    content, at, begun = file.read_bytes(), 7, b""
    while at + 7 <= len(content):
        if 32768 - at % 32768 < 7:  # no header fits into the rest of the block
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        begun += content[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield begun
            begun = b""


@pytest.mark.slow
def test_weights_and_biases_have_one_run_of_both_stretches(run):
    messages = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    found, ids = {}, set()
    files = sorted(run.path.parent.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    for file in files:
        for content in records_of(file):
            record = messages.Record.FromString(content)
            if record.HasField("run"):
                ids.add(record.run.run_id)
            if record.HasField("history"):
                items = {(item.key or item.nested_key[0]): item for item in record.history.item}
                step = record.history.step.num
                found |= {
                    (name, step): float(item.value_json)
                    for name, item in items.items()
                    if not name.startswith("_")
                }
    assert len(ids) == 1
    assert_are_those_logged(found, run)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("trackio") is None, reason="trackio is not installed")
def test_trackio_has_one_run_of_both_stretches(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))  # is read when it is imported
    run = trained(tmp_path, ["trackio"])
    assert capfd.readouterr().out == ""
    with closing(sqlite3.connect(tmp_path / "trackio" / "pyro_mfcvae.db")) as database:
        rows = database.execute("SELECT run_name, run_id, step, metrics FROM metrics").fetchall()
        ((name, config),) = database.execute("SELECT run_name, config FROM configs").fetchall()
    assert {row[:2] for row in rows} == {(name, rows[0][1])}
    assert name == read_names(run.path)["trackio"]
    assert json.loads(config)["model.name"] == "mfcvae"
    found = {
        (metric, step): value
        for *_, step, values in rows
        for metric, value in json.loads(values).items()
    }
    assert_are_those_logged(found, run)


class Recorder(Tracker):
    """Keeps what it is told, and fails where it is asked to."""

    package = "json"
    calls: list[tuple] = []  # noqa: RUF012  (one for each test)
    fails_at = ""

    def _note(self, what, *more):
        if what == self.fails_at:
            raise OSError(f"{what} failed")
        self.calls.append((what, *more))

    def begin(self, run, known):
        self._note("begin", run.step, known)
        return "its-name"

    def log(self, step, values):
        self._note("log", step, values)

    def tell(self, step, text):
        self._note("tell", step, text)

    def end(self, status):
        self._note("end", status)


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setitem(TRACKERS, "recorder", Recorder)
    monkeypatch.setattr(Recorder, "calls", [])
    return Recorder


@pytest.mark.parametrize(("fails_at", "n_calls"), [("begin", 0), ("log", 1), ("end", None)])
def test_a_tracker_that_fails_is_left_out_with_one_warning(
    recorder, monkeypatch, fails_at, n_calls
):
    config = tiny_config(**{"training.track": "recorder", "training.epochs_per_step": "[2]"})
    monkeypatch.setattr(recorder, "fails_at", fails_at)
    with pytest.warns(NotTrackedWarning, match="recorder") as warned:
        found = fit(config)
    assert len(warned) == 1
    assert [record["step"] for record in found.log] == [3, 6, 8]
    assert len(recorder.calls) == (len(found.log) + 1 if n_calls is None else n_calls)


class _Fails(Callback):
    def on_step(self, state):
        raise TrainingError("broken")


def test_a_tracker_knows_how_a_run_ended(recorder):
    config = tiny_config(**{"training.track": "recorder"})
    fit(config, callbacks=[StopAt(7)])
    with pytest.raises(TrainingError, match="broken"):
        fit(config, callbacks=[_Fails()])
    ends = [call for call in recorder.calls if call[0] in ("begin", "end")]
    assert ends == [
        ("begin", 0, None),
        ("end", "interrupted"),
        ("begin", 0, None),
        ("end", "failed"),
    ]


def test_a_resumed_run_goes_on_under_its_name(recorder):
    config = tiny_config(**{"training.track": "recorder"})
    run, _, dataset = train(config, "run", [StopAt(7)])
    resume(run, dataset=dataset)
    begun = [call for call in recorder.calls if call[0] == "begin"]
    assert begun == [("begin", 0, None), ("begin", 7, "its-name")]
    steps = [call[1] for call in recorder.calls if call[0] == "log"]
    assert steps == [record["step"] for record in run.metrics()]
    assert run.export("copy").config.training.track == ()
    assert not Path("copy/trackers.json").exists()


def test_what_is_wrong_with_a_model_is_told_in_sentences(recorder):
    config = tiny_config(**{"training.track": "recorder"})
    log = MetricsLog()
    fitted = fit(config, callbacks=[StopAt(1)])
    tracking = Tracking("recorder", log, "run")
    tracking.on_start(fitted.state)
    log.add_findings(fitted.state, [Finding("dead", (0,), "Facet 0 is dead.")])
    tracking.on_log(fitted.state, {})
    assert recorder.calls[-1] == ("tell", 1, "Facet 0 is dead.")


def test_trackers_are_checked_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(Recorder, "package", "no_such_package")
    monkeypatch.setitem(TRACKERS, "recorder", Recorder)
    with pytest.raises(ConfigError, match=r"no_such_package.*pyro_mfcvae\[track\]"):
        fit(tiny_config(**{"training.track": "recorder"}))
    told = CliRunner().invoke(main, ["train", "--track", "tensorbord"], prog_name="mfcvae")
    assert told.exit_code == 2
    assert "did you mean 'tensorboard'" in " ".join(told.output.split())
    assert not Path("runs").exists()


def test_every_start_of_an_estimator_is_tracked(recorder):
    x = np.random.default_rng(0).normal(size=(60, 4))
    settings = {"training.track": ["recorder"]}
    FacetClustering((2,), n_init=2, max_steps=20, random_state=0, settings=settings).fit(x)
    assert [call for call in recorder.calls if call[0] == "end"] == [("end", "finished")] * 2


def test_the_command_line_tracks(recorder, monkeypatch):
    found = []

    def stands_in(config, *_, **_more):
        found.append(config.training.track)
        raise TrainingError("far enough")

    monkeypatch.setattr("pyro_mfcvae.runs.train.train", stands_in)
    CliRunner().invoke(main, ["train", "--track", "recorder", "--track", "tensorboard"])
    assert found == [("recorder", "tensorboard")]
