"""Training on observations that stay in an HDF5 file: batches, memory, whole runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from distributed_job import StopAt
from hdf5_files import integers, load, numbered, write
from models import tiny_config

from pyro_mfcvae import evaluation
from pyro_mfcvae.config import override
from pyro_mfcvae.data import hdf5, load_dataset, select
from pyro_mfcvae.errors import DataError, OtherDataWarning, RunError
from pyro_mfcvae.runs.draw import draw_run
from pyro_mfcvae.runs.measure import compare_run, evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import resume, train
from pyro_mfcvae.training import batches, take_steps
from pyro_mfcvae.training.batches import Batches, StreamedBatches, batches_of
from pyro_mfcvae.training.begin import prepare

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of single chunks, and buffers of eight of them."""
    monkeypatch.setattr(hdf5, "_BLOCK", 1)
    monkeypatch.setattr(batches, "BUFFER", 1)


def _streamed_batches(n=1000, chunk=20, batch_size=32, seed=0, buffer_bytes=1, x=None):
    x = numbered(n, chunk) if x is None else x
    return StreamedBatches(x, batch_size, seed, torch.float32, CPU, buffer_bytes)


def _epoch(one, epoch=0):
    steps = range(epoch * one.per_epoch, (epoch + 1) * one.per_epoch)
    return [one(step).flatten().int().tolist() for step in steps]


@pytest.mark.parametrize(
    ("n", "chunk", "batch_size", "buffer_bytes"),
    [(1000, 20, 32, 1), (1000, 20, 32, 10**9), (997, 13, 50, 1200), (64, 7, 32, 1), (9, 2, 50, 1)],
)
def test_each_row_once_an_epoch_in_an_order_of_its_own(
    n, chunk, batch_size, buffer_bytes, small_blocks
):
    one = _streamed_batches(n, chunk, batch_size, buffer_bytes=buffer_bytes)
    assert one.per_epoch == -(-n // batch_size)
    epochs = [_epoch(one, epoch) for epoch in range(3)]
    for epoch in epochs:
        assert [len(batch) for batch in epoch[:-1]] == [batch_size] * (one.per_epoch - 1)
        assert len(epoch[-1]) == (n - 1) % batch_size + 1
        assert sorted(row for batch in epoch for row in batch) == list(range(n))
    assert epochs[0] != epochs[1] != epochs[2] != epochs[0]
    other = _streamed_batches(x=one.x, batch_size=batch_size, seed=1, buffer_bytes=buffer_bytes)
    assert _epoch(other) != epochs[0]


def test_a_batch_is_a_function_of_seed_and_step(small_blocks):
    one = _streamed_batches()
    assert 1 < one._buffers < one.per_epoch
    expected = [one(step) for step in range(3 * one.per_epoch)]
    for step in (40, 0, 95, 94, 5, 33):
        assert torch.equal(_streamed_batches(x=one.x)(step), expected[step])  # as after a restart
        assert torch.equal(one(step), expected[step])  # as where one goes back


def test_rows_are_from_all_over_the_file(small_blocks):
    """A buffer of eight blocks of 20 rows holds 5 batches of 32.

    A batch misses a given block with a probability below (7/8)^32 = 0.014, so that with a few
    exceptions it has rows of all eight; two are missed with a probability below 0.006.
    """
    one = _streamed_batches(seed=3)
    assert (one._batches, one._buffers) == (5, 7)
    epoch = _epoch(one)
    blocks = [{row // 20 for row in batch} for batch in epoch]
    assert all(len(found) >= 7 for found in blocks[:30])
    first = sorted(set.union(*blocks[:5]))
    assert len(first) in (8, 9)  # the last block of a buffer may go on in the next one
    assert first[-1] - first[0] > 10
    places = np.empty(1000)
    places[[row for batch in epoch for row in batch]] = np.arange(1000)
    assert abs(np.corrcoef(places, np.arange(1000))[0, 1]) < 0.6  # of 50 blocks: 4 / sqrt(50)
    assert np.abs(np.diff(places)).mean() > 40  # neighbours: a third of a buffer of 160


def test_the_largest_block_says_how_many_rows_a_buffer_holds(small_blocks):
    one = _streamed_batches(n=205, chunk=20, batch_size=8)  # the last block has 5
    assert one._batches == 8 * 20 // 8


def test_a_step_does_not_wait_for_the_buffer_after_its_own(small_blocks, monkeypatch):
    one = _streamed_batches()
    one(0)
    one._next[1].result()
    read, may_go_on = one.x.read, threading.Event()

    def slow(*arguments):
        assert may_go_on.wait(5)
        return read(*arguments)

    monkeypatch.setattr(one.x, "read", slow)
    one(one._batches)
    assert not one._next[1].done()
    may_go_on.set()
    assert len(one._next[1].result()) == 160


def test_a_part_of_the_file_and_rows_in_any_order(small_blocks):
    x = numbered(500, 10)
    rows = torch.randperm(500, generator=torch.Generator().manual_seed(0))[:321]
    shuffled, ordered = (_streamed_batches(x=select(x, r)) for r in (rows, rows.sort().values))
    found = _epoch(shuffled)
    assert sorted(row for batch in found for row in batch) == sorted(rows.tolist())
    assert found == _epoch(ordered)  # each block is read once all the same
    assert shuffled.x.block_bounds().tolist()[-1] == 321
    assert len(shuffled.x.block_bounds()) == 51


def test_one_factory_for_both():
    x = integers(40, 3)
    write(x=x)
    in_memory = batches_of(torch.from_numpy(x), 7, 0, torch.float64, CPU)
    streamed = batches_of(load().x, 7, 0, torch.float64, CPU)
    assert isinstance(in_memory, Batches)
    assert isinstance(streamed, StreamedBatches)
    assert streamed.per_epoch == in_memory.per_epoch == 6
    assert streamed.batch_size == in_memory.batch_size == 7
    every = [torch.cat([one(step) for step in range(6)]) for one in (streamed, in_memory)]
    assert every[0].dtype == streamed.dtype == torch.float64
    torch.testing.assert_close(*(rows.unique(dim=0) for rows in every), rtol=0, atol=0)


@pytest.mark.parametrize("how", ["truncated", "removed", "damaged"])
def test_what_goes_wrong_ahead_is_raised_at_the_step_that_needs_it(how, small_blocks):
    storage = {"chunks": (20, 30), "compression": "gzip"}
    write("numbered.h5", storage, x=integers(1000, 30))
    one = _streamed_batches(x=load("numbered.h5").x)
    path, whole = Path("numbered.h5"), Path("numbered.h5").read_bytes()
    one(0)
    one._next[1].result()  # the second buffer is there, the third is not
    if how == "truncated":
        os.truncate(path, 5000)
    elif how == "removed":
        path.unlink()
    else:
        path.write_bytes(whole[:5000] + bytes(len(whole) - 5000))
    message = {"truncated": "has changed", "removed": "no such file", "damaged": "as HDF5"}[how]
    steps = range(one._batches, 2 * one._batches)
    for step in steps:
        one(step)
    for _ in range(2):
        with pytest.raises(DataError, match=message):
            one(steps.stop)
    _no_threads_are_left()


def _no_threads_are_left():
    for thread in threading.enumerate():
        if thread.name.startswith("read-ahead"):
            thread.join(10)
            assert not thread.is_alive()


def test_reading_ahead_leaves_no_thread_behind(small_blocks):
    one = _streamed_batches()
    _epoch(one)
    ahead = one._next[1]
    _no_threads_are_left()
    assert len(ahead.result()) == 160  # the first buffer of the next epoch


BOUNDED = """
import sys
from pathlib import Path
import pyro_mfcvae.data
assert "h5py" not in sys.modules
import h5py, numpy, torch
from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset, streamed
from pyro_mfcvae.training.batches import StreamedBatches

streamed._AT_ONCE = 4 * 2**20
torch.set_num_threads(1)
options = {"path": "large.h5", "memory": "stream"}
x = load_dataset(Component(name="h5", options=options)).split("train")[0]
x[:10], torch.zeros(500, 4096) / 255
used = lambda: int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20
batches = StreamedBatches(x, 100, 0, torch.float32, torch.device("cpu"), 4 * 2**20)
found = [used()]
for epoch in range(3):
    most = 0
    for step in range(batches.per_epoch):
        batches(epoch * batches.per_epoch + step)
        most = max(most, used())
    found.append(most)
print(*found, max(used() for batch in x.split(100)))
"""


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux' /proc")
def test_memory_is_bounded_and_does_not_grow():
    """80 MB to train on, in buffers of 4 MB; a batch as float32 takes 1.6 MB."""
    x = np.tile(integers(1000, 4096), (24, 1))
    write("large.h5", {"chunks": (128, 4096)}, x=np.concatenate([x, x[:576]]))
    command = [sys.executable, "-c", BOUNDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, first, *later, split = map(float, done.stdout.split())
    assert first - before < 60  # two buffers, HDF5's cache and batches are 20; the rest libraries
    assert later[-1] - first < 16  # what the allocator keeps; all buffers would be 160
    assert split - before < 70  # another two pieces of 4 MB


def _config(memory="stream", **settings):
    options = {"path": "mine.h5", "memory": memory}
    data = json.dumps({"name": "h5", "options": options})
    defaults = {"data": data, "training.evaluate_every": "2"}
    return tiny_config(**(defaults | settings))


@pytest.fixture
def mine(small_blocks):
    """300 noisy pictures in two classes, 240 of them to train on, in chunks of 8."""
    kind = np.arange(300) % 2
    x = np.where(kind[:, None, None, None], 200, 50) + integers(300, 8, 8, 3, high=50)
    write("mine.h5", {"chunks": (8, 8, 8, 3)}, x=x.astype(np.uint8), kind=kind)


def _parameters(model):
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def test_an_interrupted_streamed_run_goes_on_bit_for_bit(mine, monkeypatch):
    config = _config()
    whole, state, dataset = train(config, "whole")
    assert isinstance(state.batches, StreamedBatches)
    assert state.batches._buffers > 1
    assert state.step == state.n_steps == 6 * 12
    halted, state, _ = train(config, "halted", [StopAt(17)])
    assert state.step == 17  # the sixth batch of the second epoch, the second of a buffer
    resume(halted)
    assert torch.equal(_parameters(whole.model()), _parameters(halted.model()))
    assert whole.metrics() == halted.metrics()
    assert evaluate_run(whole, dataset) == evaluate_run(halted)
    assert halted.evaluation().n_observations == {"train": 240, "test": 60}
    # Figures are made, but not rendered, which takes longest and reads no observations.
    monkeypatch.setattr(
        "pyro_mfcvae.figures.folder.save_figure", lambda path, figure, details: None
    )
    drawn = draw_run(halted)
    assert {path.stem for path in drawn} >= {"clusters-facet-0", "reconstructions", "curves"}
    _no_threads_are_left()


def test_other_data_are_refused_when_a_run_goes_on(mine):
    halted, _, _ = train(_config(), "halted", [StopAt(3)])
    with h5py.File("mine.h5") as old:
        write("new.h5", x=old["x"][()][::-1], kind=old["kind"][()])
    os.replace("new.h5", "mine.h5")
    with pytest.raises(RunError, match="data"):
        resume(halted)
    path = halted.path / "config.json"
    path.write_text(path.read_text().replace('"stream"', '"load"'))
    halted = Run(halted.path)
    with pytest.raises(RunError, match="data.options.memory from 'stream' to 'load'"):
        resume(halted)


def test_loaded_and_streamed_runs_begin_alike_and_measure_alike(mine):
    (loaded, begun), (streamed, other) = (prepare(_config(memory)) for memory in ("load", "stream"))
    assert isinstance(begun.batches, Batches)
    assert torch.equal(_parameters(begun.model), _parameters(other.model))
    take_steps(begun)
    assert begun.step == begun.n_steps
    model = begun.model
    assert evaluation.evaluate(model, loaded) == evaluation.evaluate(model, streamed)
    for part in ("train", "test"):
        values = [
            evaluation.held_out_metrics(model, dataset, part=part, max_observations=100)
            for dataset in (loaded, streamed)
        ]
        assert values[0] == values[1]
    assert evaluation.probe(model, loaded, max_train=50) == evaluation.probe(
        model, streamed, max_train=50
    )


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_everything_that_is_measured_of_a_run(mine, likelihood):
    if likelihood == "gaussian":  # real numbers have a range to be brought to [0, 1]
        x = np.random.default_rng(0).normal(size=(300, 8, 8, 3))
        write("mine.h5", {"chunks": (8, 8, 8, 3)}, x=x, kind=np.arange(300) % 2)
    settings = {"training.epochs_per_step": "[1,1]", "model.likelihood.name": likelihood}
    if likelihood == "bernoulli":
        settings["model.likelihood.options"] = "{}"
    run, _, streamed = train(_config(**settings), "run")
    loaded = load_dataset(override(run.config, ["data.options.memory=load"]).data)
    asked = {"importance_weighted_bound": 4, "diversity": ["pixels"]}
    found = evaluate_run(run, streamed, asked)
    compared = compare_run(run, streamed, ["vade"], (1,), n_observations=20, n_draws=2)
    with pytest.warns(OtherDataWarning):
        expected = evaluate_run(run, loaded, asked)
    with pytest.warns(OtherDataWarning):
        again = compare_run(run, loaded, ["vade"], (1,), n_observations=20, n_draws=2)
    assert found.data != expected.data
    assert replace(found, data=None) == replace(expected, data=None)
    (rows, others) = ([replace(row, seconds=0) for row in r.guides] for r in (compared, again))
    assert replace(compared, guides=rows) == replace(again, guides=others)


def test_pretraining_and_data_dependent_initialisation_read_batches(mine, monkeypatch):
    read, inner = [], hdf5.Hdf5Rows.read
    monkeypatch.setattr(
        hdf5.Hdf5Rows,
        "read",
        lambda self, rows, out=None: read.append(len(rows)) or inner(self, rows, out),
    )
    monkeypatch.setattr("pyro_mfcvae.training.start.initialise._BATCH", 30)
    monkeypatch.setattr("pyro_mfcvae.data.streamed._AT_ONCE", 1)
    monkeypatch.setattr("pyro_mfcvae.data.streamed._SAMPLED", 1)
    pretraining = {"name": "autoencoder", "options": {"epochs": 2, "batch_size": 16}}
    config = _config(
        **{
            "training.pretraining": json.dumps(pretraining),
            "model.initialisation": "data-dependent",
            "training.epochs_per_step": "[1,1]",
        }
    )
    models = [train(config, name)[0].model() for name in ("a", "b")]
    assert torch.equal(*map(_parameters, models))
    assert max(read) <= 80  # of 300, in eight blocks of 8 that are filled up with whole batches


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_streamed_batches_on_a_cuda_device(small_blocks):
    cuda = torch.device("cuda")
    x = numbered(1000, 20)
    one, other = (StreamedBatches(x, 32, 0, torch.float32, d, 1) for d in (cuda, CPU))
    for step in range(2 * one.per_epoch):
        assert one(step).device.type == "cuda"
        assert torch.equal(one(step).cpu(), other(step))
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(one.per_epoch):
            one(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")
