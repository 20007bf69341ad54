"""Observations in an HDF5 file: reading them, and what a person's own file may hold."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from hdf5_files import integers, load, numbered, write

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import Dataset, data_settings, hdf5, in_folder, load_dataset, select
from pyro_mfcvae.data import files as files_module
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of single chunks."""
    monkeypatch.setattr(hdf5, "_BLOCK", 1)


@pytest.mark.parametrize("storage", [{}, {"chunks": True, "compression": "gzip"}])
@pytest.mark.parametrize("dtype", ["uint8", "bool", "float64", ">f4", "int16"])
@pytest.mark.parametrize(
    ("shape", "event"),
    [
        ((20, 7), (7,)),
        ((20, 8, 9), (1, 8, 9)),
        ((20, 8, 9, 3), (3, 8, 9)),
        ((20, 3, 8, 9), (3, 8, 9)),
        ((20, 1, 8, 3), (1, 8, 3)),
        ((20, 4, 4, 3), (3, 4, 4)),
    ],
)
def test_streamed_loaded_and_npz_are_the_same_observations(shape, event, dtype, storage):
    x = integers(*shape).astype(dtype) if dtype != "bool" else integers(*shape) > 99
    write(storage=storage, x=x, x_test=x[:7])
    np.savez("my.npz", x=x, x_test=x[:7])
    expected = load_dataset(Component(name="file", options={"path": "my.npz"}))
    assert expected.observation.shape == event
    assert expected.labels == {}
    if dtype == "uint8":
        first = np.moveaxis(x[0], -1, 0) if shape[-1] == event[0] == 3 else x[0].reshape(event)
        np.testing.assert_array_equal(expected.x[0], first)
    for memory in ("stream", "load"):
        dataset = load(memory=memory)
        assert isinstance(dataset.x, StreamedObservations) == (memory == "stream")
        assert (dataset.x.shape, dataset.x.dtype) == (expected.x.shape, expected.x.dtype)
        assert dataset.observation == expected.observation
        assert torch.equal(dataset.x[:], expected.x)
        assert torch.equal(dataset.train, expected.train)
        for part in ("train", "test"):
            assert torch.equal(dataset.split(part)[0][:], expected.split(part)[0])


INDICES = [
    slice(None),
    slice(3, 40, 5),
    slice(None, None, -1),
    slice(90, 200),
    slice(5, 5),
    0,
    -1,
    torch.tensor([61, 2, 2, 59, 60, -1]),
    np.array([7, 3]),
    [4, 90],
    [],
    torch.randperm(91, generator=torch.Generator().manual_seed(0)),
]


@pytest.mark.parametrize("index", INDICES, ids=str)
def test_any_rows_in_any_order(index, small_blocks):
    """The second array begins at row 60, within a block's length of the end of the first."""
    x, x_test = integers(60, 5), integers(31, 5, seed=1)
    write(storage={"chunks": (8, 2)}, x=x, x_test=x_test)
    streamed, whole = load().x, torch.from_numpy(np.concatenate([x, x_test]))
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
    streamed, asked = numbered(100, 10), []
    inner = hdf5.Hdf5Rows._neighbours
    monkeypatch.setattr(
        hdf5.Hdf5Rows, "_neighbours", lambda *args: asked.append(args[2:]) or inner(*args)
    )
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
    streamed = numbered(100, 10)
    with pytest.raises(IndexError, match=message):
        streamed[index]
    if isinstance(index, list):
        with pytest.raises(IndexError, match=message):
            select(streamed, torch.tensor(index))


def test_a_copy_in_another_process_opens_the_file_anew():
    streamed = numbered(100, 10)
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
    numbered(90, 10, "../numbered.h5")
    with pytest.raises(DataError, match=r"has changed since it was opened, it now has \d+ bytes"):
        streamed[0]


def test_arrays_of_another_shape_are_seen_when_the_file_is_opened_again():
    copied = pickle.loads(pickle.dumps(numbered(99, 99)))
    size = Path("numbered.h5").stat().st_size
    write("numbered.h5", {"chunks": (99, 1)}, x=np.zeros((99, 1), np.int32))
    assert Path("numbered.h5").stat().st_size == size
    with pytest.raises(DataError, match="it now has arrays of other shapes or types"):
        copied[0]


def test_a_file_that_is_truncated_while_it_is_read(monkeypatch):
    """HDF5 itself takes what is missing for zeros."""
    streamed, inner = numbered(100_000, 100_000), hdf5.Hdf5Rows._neighbours

    def truncated(*args):
        os.truncate("numbered.h5", 10_000)
        return inner(*args)

    monkeypatch.setattr(hdf5.Hdf5Rows, "_neighbours", truncated)
    with pytest.raises(DataError, match="it now has 10000 bytes instead of 4"):
        streamed[[99_999]]


def test_the_largest_chunk_is_that_with_the_most_bytes():
    with h5py.File("my.h5", "w") as file:
        file.create_dataset("x", data=np.zeros((20, 3), np.float64), chunks=(9, 3))
        file.create_dataset("x_test", data=np.zeros((20, 3), np.float32), chunks=(10, 3))
    file = load().x.file
    assert (file.chunk_rows, file.chunk_bytes) == (9, 9 * 3 * 8)


def test_chunks_too_large_to_stream(monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.data.streamed._WIDEST_CHUNK", 2**20)
    x = np.zeros((2**19, 3), np.uint8)
    write(storage={"chunks": (2**19, 3)}, x=x)
    with pytest.raises(DataError, match="chunks of 524288 observations hold 2 MB, .* at most 1;"):
        load()
    assert len(load(memory="load").x) == len(x)


X, LABELS = np.zeros((9, 2)), np.zeros((9, 2), int)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"y": np.zeros((3, 2))}, "no array 'x'"),
        ({"x": np.zeros(3)}, r"got shape \(3,\)"),
        ({"x": np.zeros((9, 5, 6, 7))}, "1, 3 or 4 channels"),
        ({"x": np.array([[1j, 2]] * 5)}, "must hold numbers"),
        ({"x": np.zeros((0, 2))}, r"got shape \(0, 2\)"),
        ({"x": np.full((9, 2), np.nan)}, "all values of x are missing"),
        ({"x": np.zeros((2, 2))}, "held-out part is empty"),
        ({"x": X, "kind": np.zeros(8, int)}, "labels 'kind' must have shape"),
        ({"x": X, "x_test": np.zeros((9, 3))}, "x_test must be like x"),
        ({"x": X, "x_test": X.astype(np.uint8)}, "x_test must be like x"),
        ({"x": X, "kind": np.zeros((9, 1), int)}, "labels 'kind' must have shape"),
        ({"x": X, "labels": LABELS[:8]}, "labels 'label_0' must have shape"),
        ({"x": X, "labels": LABELS, "label_names": np.zeros(1)}, "one name per column"),
        ({"x": X, "labels": LABELS, "label_names": "size"}, "one name per column"),
        ({"x": X, "labels": np.array(3)}, r"\(N,\) or \(N, factors\)"),
        ({"x": X, "age": np.linspace(0, 1, 9)}, "labels 'age' must be classes"),
        (
            {"x": X, "x_test": X[:2], "labels": LABELS, "labels_test": np.zeros((2, 3), int)},
            "must have the 2 columns",
        ),
    ],
)
def test_the_rules_are_the_same_in_every_format(arrays, message):
    np.savez("my.npz", **arrays)
    write(**arrays)
    with pytest.raises(DataError, match=message) as npz:
        load_dataset(Component(name="file", options={"path": "my.npz"}))
    for memory in ("stream", "load"):
        with pytest.raises(DataError) as streamed:
            load(memory=memory)
        assert str(streamed.value) == str(npz.value).replace("my.npz", "my.h5")


def test_labels_and_what_is_left_alone():
    x = integers(6, 4)
    write(
        x=x,
        x_test=x[:2],
        labels=integers(8, 2, high=3),
        label_names=["size", "kind"],
        colour=list("rgbrgbrg"),
        fixed=np.array(list("ababbbbb"), "S1"),
    )
    with h5py.File("my.h5", "a") as file:
        file["notes/of/mine"] = np.zeros(3)
        file["empty"] = h5py.Empty("f")
    dataset = load()
    assert dataset.name == "my"
    assert set(dataset.labels) == {"size", "kind", "colour", "fixed"}
    assert dataset.class_names["colour"] == ("b", "g", "r")
    assert dataset.labels["fixed"].tolist() == [0, 1, 0, 1, 1, 1, 1, 1]
    assert torch.equal(dataset.split("test")[1]["colour"], torch.tensor([2, 1]))


def test_missing_and_damaged_files():
    with pytest.raises(DataError, match="none.h5: there is no such file"):
        load("none.h5")
    Path("text.h5").write_bytes(b"hello")
    with pytest.raises(DataError, match="text.h5: cannot be read as HDF5"):
        load("text.h5")
    write("broken.h5", {"chunks": (5, 30), "compression": "gzip"}, x=integers(50, 30))
    with h5py.File("broken.h5") as file:
        chunk = file["x"].id.get_chunk_info(3)
    damaged = bytearray(Path("broken.h5").read_bytes())
    damaged[chunk.byte_offset : chunk.byte_offset + chunk.size] = bytes(chunk.size)
    Path("broken.h5").write_bytes(damaged)
    assert len(load("broken.h5").x) == 50  # nobody has looked at the chunk
    for read in (lambda: load("broken.h5").x[:], lambda: load("broken.h5", "load")):
        with pytest.raises(DataError, match=r"broken.h5: cannot be read as HDF5 \(.*read data"):
            read()


def test_what_is_loaded(monkeypatch):
    write(x=integers(20, 5))
    monkeypatch.setattr(files_module, "_LOADED", 100)
    assert isinstance(load(memory="auto").x, torch.Tensor)
    monkeypatch.setattr(files_module, "_LOADED", 99)
    assert isinstance(load(memory="auto").x, StreamedObservations)
    with pytest.raises(ConfigError, match="option memory .*'auto', 'stream' or 'load'"):
        load(memory="all")
    for suffix in ("h5", "hdf5"):
        settings = data_settings(f"/a/b.{suffix}")
        assert settings == Component(name="file", options={"path": f"/a/b.{suffix}"})
    assert in_folder(settings, "/c").options == {"path": "/c/b.hdf5"}


def test_real_numbers_are_looked_through_piece_by_piece(monkeypatch, small_blocks):
    monkeypatch.setattr("pyro_mfcvae.data.streamed._AT_ONCE", 1)
    x = np.random.default_rng(0).normal(size=(5000, 3))
    x[3210, 1], x[4999, 2] = -9, 7.5
    rows, inner = [], hdf5.Hdf5Rows.read
    monkeypatch.setattr(
        hdf5.Hdf5Rows, "read", lambda *args: rows.append(len(args[1])) or inner(*args)
    )
    write(storage={"chunks": (100, 3)}, x=x)
    assert (load().observation.low, load().observation.high) == (-9, 7.5)
    assert max(rows) == 1000
    assert sum(rows) == 2 * 5000  # once for each time that it is opened
    for wrong, message in (
        (np.nan, "1 of 5000 .*nan in row 2345, column 0"),
        (-np.inf, "-inf in row 2345, column 0"),
        (3e38, r"3e\+38 in row 2345"),  # a "no data" value, whose square is infinite
        (1e39, r"x .*32 bits .*1e\+39"),
    ):
        x[2345, 0] = wrong
        write(storage={"chunks": (100, 3)}, x=x)
        with pytest.raises(DataError, match=message):
            load().check_complete()


def test_the_fingerprint_tells_data_apart_and_reads_few(monkeypatch):
    x = integers(20_000, 1000)
    write(storage={"chunks": (100, 1000)}, x=x)
    dataset = load()
    read, inner = [], hdf5.Hdf5Rows.read
    monkeypatch.setattr(
        hdf5.Hdf5Rows, "read", lambda *args: read.append(len(args[1])) or inner(*args)
    )
    first = dataset.fingerprint
    assert read == [64 * (64 * 1024 // 1000)]
    write("copy.h5", {"chunks": (7, 1000), "compression": "gzip"}, x=x[:, :])
    os.utime("my.h5", (0, 0))
    assert load().fingerprint == load("copy.h5").fingerprint == first
    assert load(split_seed=1).fingerprint != first
    assert load(memory="load").fingerprint != first
    x[-1, -1] += 1
    write("changed.h5", x=x)
    assert load("changed.h5").fingerprint != first
    few = numbered(5, 5)
    assert few.sample().flatten().tolist() == [0, 1, 2, 3, 4]


def test_a_dataset_of_ones_own_may_be_streamed():
    x = numbered(100, 10)
    order = torch.randperm(100, generator=torch.Generator().manual_seed(0))
    dataset = Dataset("own", x, order[:70], order[70:], {"kind": torch.arange(100)})
    seen, labels = dataset.split("test")
    assert isinstance(seen, StreamedObservations)
    assert torch.equal(seen[:].flatten().long(), labels["kind"])
    assert (dataset.observation.low, dataset.observation.high) == (0, 99)
    with pytest.raises(DataError, match="labels 'kind' must have shape"):
        Dataset("own", x, order[:70], order[70:], {"kind": torch.arange(99)})


@pytest.mark.parametrize("size", [0, 2**64 - 16])
def test_a_heap_of_text_without_end_is_refused(size):
    path = Path(write(x=np.zeros((20, 2)), kind=np.array(["a", "b"] * 10, dtype=object)))
    held = bytearray(path.read_bytes())
    first = held.find(b"GCOL") + 16
    if not size:
        held[first : first + 2] = b"\0\0"
    held[first + 8 : first + 16] = size.to_bytes(8, "little")
    path.write_bytes(held)
    with pytest.raises(DataError, match=r"my\.h5: .*heap"):
        load(memory="load")
