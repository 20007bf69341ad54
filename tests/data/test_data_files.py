"""Files of a person's own that are damaged, hostile, or hold what is no array."""

from __future__ import annotations

import io
import os
import struct
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import data_settings, load_dataset
from pyro_mfcvae.errors import DataError, DataWarning

X = np.random.default_rng(0).normal(size=(40, 3)).astype("f4")
KIND = np.arange(40) % 3


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def load(path, **options):
    return load_dataset(Component(name="file", options={"path": str(path), **options}))


def refuses(path, *words):
    """The file is refused, with its path and these words."""
    with pytest.raises(DataError) as refused:
        load(path)
    for word in (str(path), *words):
        assert word in str(refused.value)


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def header(text):
    text = text.encode() + b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def archive(path, method=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(f"{name}.npy", content)
    return bytearray(Path(path).read_bytes())


CLAIM = "{{'descr': '{}', 'fortran_order': False, 'shape': {}, }}"


@pytest.mark.parametrize(
    "text",
    [
        CLAIM.format("<f4", "(1000000000000, 4)"),
        CLAIM.format("<f4", "(99999999999999999999, 4)"),
        CLAIM.format("<f4", "(-1, -480)"),
        CLAIM.format("<U0", "(500000000, 4)"),
        CLAIM.format("|O", "(40, 3)"),
        "-" * 3000 + "1",
        "(" * 10,
        "(" * 900,
        "no header",
        "{'descr': '<f4'}",
    ],
)
def test_headers_that_no_array_has(text):
    archive("mine.npz", x=header(text) + bytes(480))
    refuses("mine.npz", "'x'")


def _encrypted():
    content = archive("plain.npz", x=npy(X))
    for start, flag in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.find(start) + flag] |= 1
    return content


def _compressed_by(method):
    content = archive("plain.npz", zipfile.ZIP_DEFLATED, x=npy(X))
    for start, place in ((b"PK\x03\x04", 8), (b"PK\x01\x02", 10)):
        content[content.find(start) + place] = method
    return content


def _damaged(method):
    content = archive("plain.npz", method, x=npy(X))
    content[70:110] = bytes(byte ^ 255 for byte in content[70:110])
    return content


@pytest.mark.parametrize(
    "make",
    [
        _encrypted,
        lambda: _compressed_by(9),  # deflate64, of Windows
        lambda: _compressed_by(93),  # zstandard
        *(
            lambda method=method: _damaged(method)
            for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, 14)
        ),
    ],
)
def test_members_that_cannot_be_unpacked(make):
    Path("mine.npz").write_bytes(make())
    refuses("mine.npz", "'x'")


@pytest.mark.parametrize(
    ("content", "word"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "git lfs pull"),
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"a,b\n1,2\n", "File is not a zip file"),
        (npy(X), "single array"),
    ],
)
def test_something_else_in_a_file_s_place(content, word):
    Path("mine.npz").write_bytes(content)
    refuses("mine.npz", word)
    assert "pickle" not in word
    if not content.startswith(b"a,b"):
        Path("mine.h5").write_bytes(content)
        refuses("mine.h5", word)


def test_python_objects_are_named():
    for name in ("x", "cell_type"):
        np.savez("mine.npz", **({"x": X} | {name: np.array(["a", None] * 20, dtype=object)}))
        refuses("mine.npz", f"'{name}'", f"{name}.astype(str)")


def test_members_that_are_no_arrays_are_left_alone():
    np.savez("mine.npz", x=X, kind=np.asfortranarray(KIND))
    with zipfile.ZipFile("mine.npz", "a") as file:
        file.writestr("README.txt", "hello")
    np.savez("fortran.npz", x=np.asfortranarray(X))
    dataset = load("mine.npz")
    assert dataset.labels["kind"].tolist() == KIND.tolist()
    for found in (dataset, load("fortran.npz")):
        np.testing.assert_array_equal(found.x, X)


def test_what_few_bytes_claim_is_not_unpacked(monkeypatch):
    """An archive of 3 kB with 3 MB of zeros stands for one of 12 MB with 3 GB."""
    monkeypatch.setattr("pyro_mfcvae.data.formats._SMALL", 10**6)
    np.savez_compressed("mine.npz", x=X, notes=np.zeros((40, 10**5), bool))
    refuses("mine.npz", "'notes'")
    with h5py.File("mine.h5", "w") as file:
        file["x"] = X
        file.create_dataset("labels", (5 * 10**8,), "i8", chunks=(2**16,))  # never written
    refuses("mine.h5", "'labels'")
    with h5py.File("mine.h5", "w") as file:
        file.create_dataset("x", (40, 3), "f4", chunks=(10**6, 3), maxshape=(None, 3))
    refuses("mine.h5", "'x'")
    np.savez("mine.npz", x=X, labels=np.zeros((40, 1001), bool))
    refuses("mine.npz", "labels", "1001 columns")


def _lists(file):
    file.create_dataset("tags", (40,), h5py.vlen_dtype(np.int32))[3] = np.arange(2)


def _references(file):
    file.create_dataset("tags", (40,), h5py.ref_dtype)[:] = file["x"].ref


def _regions(file):
    file.create_dataset("tags", (40,), h5py.regionref_dtype)[0] = file["x"].regionref[:1]


def _latin(file):
    file["tags"] = np.array([b"caf\xe9", b"th\xe9"])[np.arange(40) % 2]


def _dates(file):
    file["tags"] = np.zeros(40, [("year", "i4"), ("day", "i4")])


def _dangling(file):
    file["tags"] = h5py.SoftLink("/nowhere")


def _loop(file):
    file["tags"] = h5py.SoftLink("/tags")


def _external_link(file):
    file["tags"] = h5py.ExternalLink("other.h5", "/kind")


def _link_to_an_external_link(file):
    file["notes/other"] = h5py.ExternalLink("other.h5", "/")
    file["tags"] = h5py.SoftLink("/notes/other/kind")


def _raw(file):
    file.create_dataset("tags", (40,), "u1", external=[("secret.txt", 0, h5py.h5f.UNLIMITED)])


def _virtual(source):
    def make(file):
        layout = h5py.VirtualLayout((40,), "i8")
        layout[:] = h5py.VirtualSource(source, "tags" if source == "." else "kind", (40,))
        file.create_virtual_dataset("tags", layout)

    return make


@pytest.mark.parametrize(
    "make",
    [
        _lists,
        _references,
        _regions,
        _latin,
        _dates,
        _dangling,
        _loop,
        _external_link,
        _link_to_an_external_link,
        _raw,
        _virtual("other.h5"),
        _virtual("."),
    ],
)
def test_data_sets_of_hdf5_that_are_no_arrays_of_this_file(make):
    Path("secret.txt").write_text("password " * 10)
    with h5py.File("other.h5", "w") as file:
        file["kind"] = KIND
    with h5py.File("mine.h5", "w") as file:
        file["x"] = X
        make(file)
    refuses("mine.h5", "tags")


def test_a_link_within_the_file_is_followed():
    with h5py.File("mine.h5", "w") as file:
        file["deep/down"] = X
        file["x"] = h5py.SoftLink("/deep/down")
    np.testing.assert_array_equal(load("mine.h5").x, X)
    assert load("mine.h5", memory="stream").x[3].tolist() == X[3].tolist()


def test_suffixes_in_capitals_and_links_into_a_store():
    np.savez("blob.npz", x=X)
    Path("blob.npz").rename("4d7a2146")
    Path("Mine.NPZ").symlink_to("4d7a2146")
    settings = data_settings("./Mine.NPZ")
    assert load_dataset(settings).name == "Mine"
    Path("4d7a2146").unlink()
    refuses("Mine.NPZ", "link")
    os.mkfifo("pipe.npz")
    refuses("pipe.npz", "no file")


@pytest.mark.parametrize("dtype", ["<u2", ">u2"])
def test_pictures_of_16_bits_are_fractions(dtype):
    x = np.arange(30 * 16).reshape(30, 4, 4).astype(dtype) * 130
    np.savez("mine.npz", x=x)
    with h5py.File("mine.h5", "w") as file:
        file["x"] = x
    for found in (load("mine.npz"), load("mine.h5", memory="stream")):
        torch.testing.assert_close(found.x[:], torch.from_numpy(x / 65535).float()[:, None])
    np.savez("rows.npz", x=x[:, 0])  # counts, say
    assert load("rows.npz").x[29].tolist() == x[29, 0].tolist()


def test_numbers_that_32_bits_cannot_hold():
    x = X.astype(np.float64)
    x[7, 1] = 1e300
    np.savez("mine.npz", x=x)
    refuses("mine.npz", "32 bits", "1e+300")


@pytest.mark.parametrize(
    ("column", "codes", "classes"),
    [
        ([1.0, np.nan, 3.0, 1.0], [0, -1, 1, 0], ("1", "3")),
        ([2**64 - 1, 0, 2**64 - 1, 5], [2, 0, 2, 1], ("0", "5", str(2**64 - 1))),
        (["b", "", "a", "b"], [1, -1, 0, 1], ("a", "b")),
        ([b"b", b"", "é".encode(), b"b"], [0, -1, 1, 0], ("b", "é")),
        ([True, False, True, True], [1, 0, 1, 1], ("False", "True")),
    ],
)
def test_labels_of_all_kinds_and_missing_ones(column, codes, classes):
    column = np.array(column, dtype=np.uint64 if column[0] == 2**64 - 1 else None)
    np.savez("mine.npz", x=X, kind=np.tile(column, 10))
    with h5py.File("mine.h5", "w") as file:
        text = column.dtype.kind == "U"
        file["x"], file["kind"] = X, np.tile(column.astype(object) if text else column, 10)
    for path in ("mine.npz", "mine.h5"):
        if -1 in codes:
            with pytest.warns(DataWarning, match="'kind' are missing in 10 of 40"):
                dataset = load(path)
        else:
            dataset = load(path)
        assert dataset.labels["kind"].tolist() == codes * 10
        assert dataset.class_names["kind"] == classes


def test_labels_that_cannot_judge():
    known_in_one = np.where(np.arange(40) == 5, 1.0, np.nan)
    np.savez("mine.npz", x=X, number=np.arange(40), rare=known_in_one, kind=KIND)
    with pytest.warns(DataWarning) as told:
        dataset = load("mine.npz")
    assert list(dataset.labels) == ["kind"]
    assert all(any(f"'{name}'" in str(w.message) for w in told) for name in ("number", "rare"))


@pytest.mark.parametrize(
    "arrays",
    [
        {"labels": np.stack([KIND, KIND], 1), "label_names": np.array(["u", "u"])},
        {"labels": KIND, "label_names": np.array(["u"]), "u": KIND},
        {"labels": KIND, "label_0": KIND},
    ],
)
def test_labels_of_one_name(arrays):
    np.savez("mine.npz", x=X, **arrays)
    refuses("mine.npz", "'u'" if "label_names" in arrays else "'label_0'")


def test_names_of_columns_and_rows():
    names, rows = np.array(["height", "width", "age"]), np.array([f"row {i}" for i in range(40)])
    np.savez("mine.npz", x=X, feature_names=names, row_names=rows)
    dataset = load("mine.npz")
    assert (dataset.feature_names, dataset.row_names) == (tuple(names), tuple(rows))
    assert dataset.labels == {}
    x = X.copy()
    x[[4, 9], 2] = np.nan
    np.savez("mine.npz", x=x, feature_names=names)
    with pytest.raises(DataError, match=r"2 of 40 .*row 4, column 2 \('age'\)"):
        load("mine.npz").check_complete()
    np.savez("mine.npz", x=X, feature_names=rows)
    refuses("mine.npz", "feature_names", "(3,)")


def test_damaged_files_end_in_one_message():
    """Whatever byte is changed, the file is read or refused."""
    np.savez_compressed("good.npz", x=X, kind=np.array(list("abcd") * 10))
    with h5py.File("good.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(8, 3), compression="gzip")
        file["kind"] = np.array(list("abcd") * 10, "S1")  # HDF5 loops forever on a damaged heap
    rng = np.random.default_rng(0)
    refused = 0
    for suffix in ("npz", "h5"):
        content = np.frombuffer(Path(f"good.{suffix}").read_bytes(), np.uint8)
        used = np.flatnonzero(content)  # most bytes of an empty heap say nothing
        for _ in range(80):
            changed = content.copy()
            changed[rng.choice(used, rng.integers(1, 4))] = rng.integers(256)
            if rng.random() < 0.1:
                changed = changed[: rng.integers(len(changed))]
            Path(f"bad.{suffix}").write_bytes(changed.tobytes())
            try:
                load(f"bad.{suffix}")
            except DataError:
                refused += 1
    assert refused > 20


def test_text_with_numbers_that_are_no_letters_is_refused():
    kind = np.array([0x110000] * 20, np.uint32).view("U1")
    np.savez("my.npz", x=np.zeros((20, 2)), kind=kind)
    with pytest.raises(DataError, match=r"my\.npz: labels 'kind'"):
        load("my.npz")
