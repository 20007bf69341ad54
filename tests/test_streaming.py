"""Observations that stay in an HDF5 file: reading, batches, whole runs."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import threading
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from models import tiny_config

from pyro_mfcvae import evaluation
from pyro_mfcvae.config import Component, override
from pyro_mfcvae.data import Dataset, data_settings, hdf5, in_folder, load_dataset, select
from pyro_mfcvae.data import files as files_module
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.drawing import draw_run
from pyro_mfcvae.errors import ConfigError, DataError, OtherDataWarning, RunError
from pyro_mfcvae.experiment import prepare, resume, train
from pyro_mfcvae.measuring import compare_run, evaluate_run
from pyro_mfcvae.runs import Run
from pyro_mfcvae.training import Callback, batches, fit
from pyro_mfcvae.training.batches import Batches, StreamedBatches, batches_of

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of single chunks, and buffers of eight of them."""
    monkeypatch.setattr(hdf5, "_BLOCK", 1)
    monkeypatch.setattr(batches, "BUFFER", 1)


def _write(path="my.h5", storage=None, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if name in ("x", "x_test"):
                file.create_dataset(name, data=array, **(storage or {}))
            else:
                file[name] = array
    return path


def _load(path="my.h5", memory="stream", **options):
    options |= {"path": str(path), "memory": memory}
    return load_dataset(Component(name="h5", options=options))


def _integers(*shape, seed=0, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def _numbered(n, chunk, path="numbered.h5"):
    """Streamed observations (n, 1) whose values are their rows."""
    _write(path, {"chunks": (chunk, 1)}, x=np.arange(n, dtype=np.float32)[:, None])
    return _load(path).x


# --- reading ---


@pytest.mark.parametrize("storage", [{}, {"chunks": True, "compression": "gzip"}])
@pytest.mark.parametrize("dtype", ["uint8", "bool", "float64", ">f4", "int16"])
@pytest.mark.parametrize(
    "shape", [(20, 7), (20, 8, 9), (20, 8, 9, 3), (20, 3, 8, 9), (20, 1, 8, 3), (20, 4, 4, 3)]
)
def test_streamed_loaded_and_npz_are_the_same_observations(shape, dtype, storage):
    x = _integers(*shape).astype(dtype) if dtype != "bool" else _integers(*shape) > 99
    _write(storage=storage, x=x, x_test=x[:7])
    np.savez("my.npz", x=x, x_test=x[:7])
    expected = load_dataset(Component(name="file", options={"path": "my.npz"}))
    for memory in ("stream", "load"):
        dataset = _load(memory=memory)
        assert isinstance(dataset.x, StreamedObservations) == (memory == "stream")
        assert (dataset.x.shape, dataset.x.dtype) == (expected.x.shape, expected.x.dtype)
        assert dataset.observation == expected.observation
        assert torch.equal(dataset.x[:], expected.x)
        assert torch.equal(dataset.train, expected.train)
        for part in ("train", "test"):
            assert torch.equal(dataset.split(part)[0][:], expected.split(part)[0])


INDICES = [
    slice(None), slice(3, 40, 5), slice(None, None, -1), slice(90, 200), slice(5, 5), 0, -1,
    torch.tensor([61, 2, 2, 59, 60, -1]), np.array([7, 3]), [4, 90], [],
    torch.randperm(91, generator=torch.Generator().manual_seed(0)),
]  # fmt: skip


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_any_rows_in_any_order(index, small_blocks):
    """The second array begins at row 60, within a block's length of the end of the first."""
    x, x_test = _integers(60, 5), _integers(31, 5, seed=1)
    _write(storage={"chunks": (8, 2)}, x=x, x_test=x_test)
    streamed, whole = _load().x, torch.from_numpy(np.concatenate([x, x_test]))
    expected = whole[index] if not isinstance(index, slice) else whole.numpy()[index]
    np.testing.assert_array_equal(streamed[index], expected)
    rows = torch.arange(90, -1, -3)
    some = select(streamed, rows)
    assert len(some) == 31
    if not isinstance(index, slice) and np.max(np.asarray(index), initial=0) >= 31:
        with pytest.raises(IndexError, match=r"indices of 31 observations, got [3-9]\d"):
            some[index]
    else:
        expected = whole[rows].numpy()[index] if isinstance(index, slice) else whole[rows][index]
        np.testing.assert_array_equal(some[index], expected)


def test_only_what_is_asked_for_is_read(small_blocks, monkeypatch):
    streamed, asked = _numbered(100, 10), []
    inner = hdf5.Hdf5Rows._neighbours
    monkeypatch.setattr(
        hdf5.Hdf5Rows, "_neighbours",
        lambda *args: asked.append(args[2:]) or inner(*args),
    )  # fmt: skip
    assert streamed[[57, 3, 51, 99, 5]].flatten().tolist() == [57, 3, 51, 99, 5]
    assert asked == [(3, 6), (51, 58), (99, 100)]
    asked.clear()
    select(streamed, torch.arange(50)).select(torch.tensor([1]))
    len(streamed.in_file_order())
    assert not asked
    monkeypatch.setattr("pyro_mfcvae.data.streamed._AT_ONCE", 80)  # 20 rows
    parts = streamed.split(7)
    assert next(parts).flatten().tolist() == list(range(7))
    assert max(stop for _, stop in asked) == 21  # whole batches that fill 20 rows
    assert [len(part) for part in parts] == [7] * 13 + [2]
    assert streamed.is_floating_point()


@pytest.mark.parametrize(
    ("index", "message"),
    [
        (100, "indices of 100 observations, got 100"),
        ([3, -101], "got -101"),
        (torch.tensor([True, False]), r"whole numbers, got bool \(2,\)"),
        (torch.tensor([[1, 2]]), r"got int64 \(1, 2\)"),
        ([0.5], "got float32"),
    ],
)
def test_bad_indices(index, message):
    with pytest.raises(IndexError, match=message):
        _numbered(100, 10)[index]


def test_a_copy_in_another_process_opens_the_file_anew():
    streamed = _numbered(100, 10)
    assert torch.equal(pickle.loads(pickle.dumps(streamed))[5:9], streamed[5:9])
    os.mkdir("elsewhere")
    os.chdir("elsewhere")
    child = os.fork()
    if child == 0:  # HDF5 handles of the parent must not be used here
        opened = streamed.file._process
        right = streamed[[99, 1]].flatten().tolist() == [99.0, 1.0]
        os._exit(0 if right and streamed.file._process == os.getpid() != opened else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    copied = pickle.dumps(streamed)
    os.rename("../numbered.h5", "../gone.h5")
    for gone in (streamed, pickle.loads(copied)):
        with pytest.raises(DataError, match=r"numbered.h5: there is no such file.*--data-dir"):
            gone[0]
    _numbered(90, 10, "../numbered.h5")
    with pytest.raises(DataError, match=r"has changed since it was opened, it now has \d+ bytes"):
        streamed[0]


def test_arrays_of_another_shape_are_seen_when_the_file_is_opened_again():
    copied = pickle.loads(pickle.dumps(_numbered(99, 99)))
    size = Path("numbered.h5").stat().st_size
    _write("numbered.h5", {"chunks": (99, 1)}, x=np.zeros((99, 1), np.int32))
    assert Path("numbered.h5").stat().st_size == size
    with pytest.raises(DataError, match="it now has arrays of other shapes or types"):
        copied[0]


def test_a_file_that_is_truncated_while_it_is_read(monkeypatch):
    """HDF5 itself takes what is missing for zeros."""
    streamed, inner = _numbered(100_000, 100_000), hdf5.Hdf5Rows._neighbours

    def truncated(*args):
        os.truncate("numbered.h5", 10_000)
        return inner(*args)

    monkeypatch.setattr(hdf5.Hdf5Rows, "_neighbours", truncated)
    with pytest.raises(DataError, match="it now has 10000 bytes instead of 4"):
        streamed[[99_999]]


def test_chunks_too_large_to_stream(monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.data.streamed._WIDEST_CHUNK", 2**20)
    x = np.zeros((2**19, 3), np.uint8)
    _write(storage={"chunks": (2**19, 3)}, x=x)
    with pytest.raises(DataError, match="chunks of 524288 observations hold 2 MB, .* at most 1;"):
        _load()
    assert len(_load(memory="load").x) == len(x)


# --- a person's own file ---


X = np.zeros((9, 2))
BAD = [
    {"y": np.zeros((3, 2))}, {"x": np.zeros(3)}, {"x": np.zeros((9, 5, 6, 7))},
    {"x": np.array([[1j, 2]] * 5)}, {"x": np.zeros((0, 2))}, {"x": X, "kind": np.zeros(8, int)},
    {"x": X, "x_test": np.zeros((9, 3))}, {"x": X, "x_test": X.astype(np.uint8)},
    {"x": X, "kind": np.zeros((9, 1), int)}, {"x": X, "labels": np.zeros((8, 2), int)},
    {"x": X, "labels": np.zeros((9, 2), int), "label_names": np.zeros(1)},
    {"x": X, "labels": np.array(3)}, {"x": X, "age": np.linspace(0, 1, 9)},
    {"x": X, "x_test": X[:2], "labels": np.zeros((9, 2), int),
     "labels_test": np.zeros((2, 3), int)},
]  # fmt: skip


@pytest.mark.parametrize("arrays", BAD, ids=str)
def test_the_rules_are_those_of_the_npz_file(arrays):
    np.savez("my.npz", **arrays)
    _write(**arrays)
    with pytest.raises(DataError) as npz:
        load_dataset(Component(name="file", options={"path": "my.npz"}))
    for memory in ("stream", "load"):
        with pytest.raises(DataError) as streamed:
            _load(memory=memory)
        assert str(streamed.value) == str(npz.value).replace("my.npz", "my.h5")


def test_labels_and_what_is_left_alone():
    x = _integers(6, 4)
    _write(x=x, x_test=x[:2], labels=_integers(8, 2, high=3), label_names=["size", "kind"],
           colour=list("rgbrgbrg"), fixed=np.array(list("ababbbbb"), "S1"))  # fmt: skip
    with h5py.File("my.h5", "a") as file:
        file["notes/of/mine"] = np.zeros(3)
        file["empty"] = h5py.Empty("f")
    dataset = _load()
    assert dataset.name == "my"
    assert set(dataset.labels) == {"size", "kind", "colour", "fixed"}
    assert dataset.class_names["colour"] == ("b", "g", "r")
    assert dataset.labels["fixed"].tolist() == [0, 1, 0, 1, 1, 1, 1, 1]
    assert torch.equal(dataset.split("test")[1]["colour"], torch.tensor([2, 1]))


def test_missing_and_damaged_files():
    with pytest.raises(DataError, match="none.h5: there is no such file"):
        _load("none.h5")
    Path("text.h5").write_bytes(b"hello")
    with pytest.raises(DataError, match="text.h5: cannot be read as HDF5"):
        _load("text.h5")
    _write("broken.h5", {"chunks": (5, 30), "compression": "gzip"}, x=_integers(50, 30))
    with h5py.File("broken.h5") as file:
        chunk = file["x"].id.get_chunk_info(3)
    damaged = bytearray(Path("broken.h5").read_bytes())
    damaged[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    Path("broken.h5").write_bytes(damaged)
    assert len(_load("broken.h5").x) == 50  # nobody has looked at the chunk
    for read in (lambda: _load("broken.h5").x[:], lambda: _load("broken.h5", "load")):
        with pytest.raises(DataError, match=r"broken.h5: cannot be read as HDF5 \(.*filter"):
            read()


def test_what_is_loaded(monkeypatch):
    _write(x=_integers(20, 5))
    monkeypatch.setattr(files_module, "_LOADED", 100)
    assert isinstance(_load(memory="auto").x, torch.Tensor)
    monkeypatch.setattr(files_module, "_LOADED", 99)
    assert isinstance(_load(memory="auto").x, StreamedObservations)
    with pytest.raises(ConfigError, match="option memory .*'auto', 'stream' or 'load'"):
        _load(memory="all")
    for suffix in ("h5", "hdf5"):
        settings = data_settings(f"/a/b.{suffix}")
        assert settings == Component(name="h5", options={"path": f"/a/b.{suffix}"})
    assert in_folder(settings, "/c").options == {"path": "/c/b.hdf5"}


def test_real_numbers_are_looked_through_piece_by_piece(monkeypatch, small_blocks):
    monkeypatch.setattr("pyro_mfcvae.data.streamed._AT_ONCE", 1)
    x = np.random.default_rng(0).normal(size=(5000, 3))
    x[3210, 1], x[4999, 2] = -9, 7.5
    rows, inner = [], hdf5.Hdf5Rows.read
    monkeypatch.setattr(
        hdf5.Hdf5Rows, "read", lambda *args: rows.append(len(args[1])) or inner(*args)
    )
    _write(storage={"chunks": (100, 3)}, x=x)
    assert (_load().observation.low, _load().observation.high) == (-9, 7.5)
    assert max(rows) == 1000
    assert sum(rows) == 2 * 5000  # once for each time that it is opened
    for wrong in (np.nan, np.inf, -np.inf, 1e39):  # the last is beyond float32
        x[2345, 0] = wrong
        _write(storage={"chunks": (100, 3)}, x=x)
        with (
            np.errstate(over="ignore"),
            pytest.raises(DataError, match="infinite or not a number"),
        ):
            _load()


def test_the_fingerprint_tells_data_apart_and_reads_few(monkeypatch):
    x = _integers(20_000, 1000)
    _write(storage={"chunks": (100, 1000)}, x=x)
    dataset = _load()
    read, inner = [], hdf5.Hdf5Rows.read
    monkeypatch.setattr(
        hdf5.Hdf5Rows, "read", lambda *args: read.append(len(args[1])) or inner(*args)
    )
    first = dataset.fingerprint
    assert read == [64 * (64 * 1024 // 1000)]
    _write("copy.h5", {"chunks": (7, 1000), "compression": "gzip"}, x=x[:, :])
    os.utime("my.h5", (0, 0))
    assert _load().fingerprint == _load("copy.h5").fingerprint == first
    assert _load(split_seed=1).fingerprint != first
    assert _load(memory="load").fingerprint != first
    x[-1, -1] += 1
    _write("changed.h5", x=x)
    assert _load("changed.h5").fingerprint != first
    few = _numbered(5, 5)
    assert few.sample().flatten().tolist() == [0, 1, 2, 3, 4]


# --- batches ---


def _streamed_batches(n=1000, chunk=20, batch_size=32, seed=0, buffer_bytes=1, x=None):
    x = _numbered(n, chunk) if x is None else x
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


def test_a_part_of_the_file_and_rows_in_any_order(small_blocks):
    x = _numbered(500, 10)
    rows = torch.randperm(500, generator=torch.Generator().manual_seed(0))[:321]
    shuffled, ordered = (_streamed_batches(x=select(x, r)) for r in (rows, rows.sort().values))
    found = _epoch(shuffled)
    assert sorted(row for batch in found for row in batch) == sorted(rows.tolist())
    assert found == _epoch(ordered)  # each block is read once all the same
    assert shuffled.x.block_bounds().tolist()[-1] == 321
    assert len(shuffled.x.block_bounds()) == 51


def test_one_factory_for_both():
    x = _integers(40, 3)
    _write(x=x)
    in_memory = batches_of(torch.from_numpy(x), 7, 0, torch.float64, CPU)
    streamed = batches_of(_load().x, 7, 0, torch.float64, CPU)
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
    _write("numbered.h5", storage, x=_integers(1000, 30))
    one = _streamed_batches(x=_load("numbered.h5").x)
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
    x = np.tile(_integers(1000, 4096), (24, 1))
    _write("large.h5", {"chunks": (128, 4096)}, x=np.concatenate([x, x[:576]]))
    command = [sys.executable, "-c", BOUNDED]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    before, first, *later, split = map(float, done.stdout.split())
    assert first - before < 60  # two buffers, HDF5's cache and batches are 20; the rest libraries
    assert later[-1] - first < 16  # what the allocator keeps; all buffers would be 160
    assert split - before < 70  # another two pieces of 4 MB


# --- whole runs ---


class StopAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, state):
        state.interrupted = state.step == self.step


def _config(memory="stream", **settings):
    options = {"path": "mine.h5", "memory": memory}
    data = json.dumps({"name": "h5", "options": options})
    defaults = {"data": data, "training.evaluate_every": "2"}
    return tiny_config(**(defaults | settings))


@pytest.fixture
def mine(small_blocks):
    """300 noisy pictures in two classes, 240 of them to train on, in chunks of 8."""
    kind = np.arange(300) % 2
    x = np.where(kind[:, None, None, None], 200, 50) + _integers(300, 8, 8, 3, high=50)
    _write("mine.h5", {"chunks": (8, 8, 8, 3)}, x=x.astype(np.uint8), kind=kind)


def _parameters(model):
    return torch.nn.utils.parameters_to_vector(model.parameters()).detach()


def test_an_interrupted_streamed_run_goes_on_bit_for_bit(mine):
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
    assert halted.evaluation()["n_observations"] == {"train": 240, "test": 60}
    drawn = draw_run(halted)
    assert {path.stem for path in drawn} >= {"clusters-facet-0", "reconstructions", "curves"}
    _no_threads_are_left()


def test_other_data_are_refused_when_a_run_goes_on(mine):
    halted, _, _ = train(_config(), "halted", [StopAt(3)])
    with h5py.File("mine.h5") as old:
        _write("new.h5", x=old["x"][()][::-1], kind=old["kind"][()])
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
    fit(begun)
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
        _write("mine.h5", {"chunks": (8, 8, 8, 3)}, x=x, kind=np.arange(300) % 2)
    settings = {"training.epochs_per_step": "[1,1]", "model.likelihood.name": likelihood}
    if likelihood == "bernoulli":
        settings["model.likelihood.options"] = "{}"
    run, _, streamed = train(_config(**settings), "run")
    loaded = load_dataset(override(run.config, ["data.options.memory=load"]).data)
    asked = {"n_importance_samples": 4, "distances": ["pixels"]}
    found = evaluate_run(run, streamed, **asked)
    compared = compare_run(run, streamed, ["vade"], (1,), n_observations=20, n_draws=2)
    with pytest.warns(OtherDataWarning):
        expected = evaluate_run(run, loaded, **asked)
    with pytest.warns(OtherDataWarning):
        again = compare_run(run, loaded, ["vade"], (1,), n_observations=20, n_draws=2)
    assert found.pop("data") != expected.pop("data")
    assert found == expected
    for row in (*compared["guides"], *again["guides"]):
        del row["seconds"]
    assert compared == again


def test_pretraining_and_data_dependent_initialisation_read_batches(mine, monkeypatch):
    read, inner = [], hdf5.Hdf5Rows.read
    monkeypatch.setattr(
        hdf5.Hdf5Rows, "read",
        lambda self, rows, out=None: read.append(len(rows)) or inner(self, rows, out),
    )  # fmt: skip
    monkeypatch.setattr("pyro_mfcvae.training.initialise._BATCH", 30)
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


def test_a_dataset_of_ones_own_may_be_streamed():
    x = _numbered(100, 10)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    dataset = Dataset("own", x, order[:70], order[70:], {"kind": torch.arange(100)})
    seen, labels = dataset.split("test")
    assert isinstance(seen, StreamedObservations)
    assert torch.equal(seen[:].flatten().long(), labels["kind"])
    assert (dataset.observation.low, dataset.observation.high) == (0, 99)
    with pytest.raises(DataError, match="labels 'kind' must have shape"):
        Dataset("own", x, order[:70], order[70:], {"kind": torch.arange(99)})


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_streamed_batches_on_a_cuda_device(small_blocks):
    cuda = torch.device("cuda")
    x = _numbered(1000, 20)
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
