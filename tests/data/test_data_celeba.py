"""CelebA, from a few small files in its layout."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
from PIL import Image

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import celeba as celeba_module
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.data.celeba import ATTRIBUTES, PARTITION, PICTURES
from pyro_mfcvae.errors import ConfigError, DataError

FACTORS = ["Eyeglasses", "Smiling", "Young"]
PARTS = [0, 2, 0, 1, 0, 2, 1, 0]  # training, validation and held-out, not in this order
NAMES = [f"{i:06d}.jpg" for i in range(1, len(PARTS) + 1)]
VALUES = np.random.default_rng(3).integers(2, size=(len(PARTS), len(FACTORS)))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder ``celeba``, and a cache folder of one's own."""
    monkeypatch.setenv("MFCVAE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("MFCVAE_DATA", str(tmp_path))
    folder = tmp_path / "celeba"
    (folder / PICTURES).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for name in NAMES:
        blocks = Image.fromarray(rng.integers(0, 256, (11, 9, 3)).astype(np.uint8))
        blocks.resize((178, 218), Image.Resampling.BICUBIC).save(folder / PICTURES / name)
    table = [[name, *map(str, 2 * row - 1)] for name, row in zip(NAMES, VALUES, strict=True)]
    lines = [str(len(NAMES)), " ".join(FACTORS), *("  ".join(row) for row in table)]
    (folder / ATTRIBUTES).write_text("\n".join(lines) + "\n")
    pairs = zip(NAMES, PARTS, strict=True)
    (folder / PARTITION).write_text("".join(f"{name} {part}\n" for name, part in pairs))
    return folder


def _load(**options):
    return load_dataset(Component(name="celeba", options=options))


def _expected(folder, rows, size, crop):
    """Pictures cut and resized by Pillow alone, (N, 3, size, size)."""
    left, top = (178 - crop) // 2, (218 - crop) // 2
    pictures = []
    for row in rows:
        with Image.open(folder / PICTURES / NAMES[row]) as image:
            square = image.crop((left, top, left + crop, top + crop))
            pictures.append(np.asarray(square.resize((size, size), Image.Resampling.BILINEAR)))
    return np.stack(pictures).transpose(0, 3, 1, 2).astype(int)


@pytest.mark.parametrize(("size", "crop"), [(64, 148), (32, 178), (16, 100), (148, 148)])
def test_pictures_and_labels(folder, monkeypatch, size, crop):
    monkeypatch.setattr(celeba_module, "_AT_ONCE", 4)  # so that there are several parts
    data = _load(size=size, crop=crop)
    rows = [0, 2, 4, 7, 1, 5]  # training pictures, then held-out ones
    assert data.x.dtype == torch.uint8
    assert data.x.shape == (6, 3, size, size)
    # Pillow rounds after each of the two directions.
    assert np.abs(data.x.numpy().astype(int) - _expected(folder, rows, size, crop)).max() <= 1
    assert data.train.tolist() == [0, 1, 2, 3]
    assert data.test.tolist() == [4, 5]
    assert list(data.labels) == FACTORS
    for factor, column in zip(FACTORS, VALUES.T, strict=True):
        assert data.labels[factor].tolist() == column[rows].tolist()
        assert data.labels[factor].dtype == torch.long
        assert data.class_names[factor] == ("no", "yes")


def test_the_first_so_many_of_each_part(folder):
    data = _load(n_train=3, n_test=1, size=16)
    assert torch.equal(data.x, _load(size=16).x[[0, 1, 2, 4]])
    assert data.labels["Smiling"].tolist() == VALUES[[0, 2, 4, 1], 1].tolist()
    # What is not asked for need not be there.
    for row in (3, 5, 6, 7):
        (folder / PICTURES / NAMES[row]).unlink()
    assert torch.equal(_load(n_train=3, n_test=1, size=16).x, data.x)


def test_pictures_are_decoded_once(folder, tmp_path, monkeypatch):
    first = _load(size=16).x.clone()
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npy"]
    with monkeypatch.context() as patched:
        patched.setattr(celeba_module, "_square", None)
        again = _load(size=16).x
        assert torch.equal(again, first)
        again.zero_()  # which does not reach the cache
        assert torch.equal(_load(size=16).x, first)
        with pytest.raises(TypeError):
            _load(size=16, crop=100)  # other pictures
    (stored,) = (tmp_path / "cache").iterdir()
    stored.write_bytes(stored.read_bytes()[:-1])  # damaged
    assert torch.equal(_load(size=16).x, first)
    # Other files in the folder of pictures: they are read again.
    Image.new("RGB", (178, 218), "red").save(folder / PICTURES / "new.jpg")
    (folder / PICTURES / "new.jpg").replace(folder / PICTURES / NAMES[0])
    os.utime(folder / PICTURES, ns=(1, 1))
    assert (_load(size=16).x[0, 0] > 250).all()


def test_missing_files_are_named_before_anything_is_read(folder, monkeypatch):
    monkeypatch.setattr(celeba_module, "_lines", None)
    (folder / PARTITION).unlink()
    (folder / PICTURES).rename(folder / "elsewhere")
    lacking = f"{folder} lacks {PARTITION}, {PICTURES} .*https://mmlab.*--data-dir"
    with pytest.raises(DataError, match=lacking):
        _load()


def test_missing_pictures(folder, tmp_path):
    for row in (2, 5):
        (folder / PICTURES / NAMES[row]).unlink()
    with pytest.raises(DataError, match="2 of 6 pictures are missing, the first is 000003.jpg;"):
        _load()
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        (ATTRIBUTES, None, "8\nSmiling\n", "a line of attributes and .* got 'less than three"),
        (ATTRIBUTES, None, "", "a line of attributes and .* got 'less than three lines'"),
        (ATTRIBUTES, " Young", "", r"-1 or 1 for each of 2 attributes, got '000001.jpg .*'"),
        (ATTRIBUTES, "000002.jpg  ", "000002.jpg  0", "-1 or 1 for each of 3 .* '000002.jpg 0"),
        (ATTRIBUTES, None, b"\xff\xfe\x00", "cannot be read .* get it anew from the page"),
        (
            PARTITION,
            "000004.jpg 1\n",
            "",
            f"0, 1 or 2 for every picture in {ATTRIBUTES}, got '000004.jpg nowhere'",
        ),
        (PARTITION, "000004.jpg 1", "000004.jpg 3", "0, 1 or 2 .* got '000004.jpg 3'"),
    ],
)
def test_damaged_lists(folder, file, old, new, message):
    path = folder / file
    if isinstance(new, bytes):
        path.write_bytes(new)
    else:
        path.write_text(new if old is None else path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message) as caught:
        _load()
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(b"no picture"), "cannot be read as a picture of CelebA"),
        (lambda path: Image.new("RGB", (120, 218)).save(path), r"\(120, 218\), .* of 148 pixels"),
        (lambda path: path.write_bytes(path.read_bytes()[:2000]), "cannot be read .*truncated"),
    ],
)
def test_damaged_pictures(folder, tmp_path, damage, message):
    damage(folder / PICTURES / "000005.jpg")
    with pytest.raises(DataError, match=f"000005.jpg .*{message}"):
        _load()
    assert list((tmp_path / "cache").iterdir()) == []


def test_grey_pictures_become_coloured(folder):
    path = folder / PICTURES / NAMES[0]
    with Image.open(path) as image:
        grey = image.convert("L")
    grey.save(path)
    x = _load(size=16).x[0]
    assert torch.equal(x[0], x[1])
    assert torch.equal(x[0], x[2])


def test_a_cache_folder_that_cannot_be_written(folder, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("MFCVAE_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"cannot hold the pictures .*; name a folder with 0.0 GB"):
        _load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 2}, "option size .*got 2"),
        ({"crop": 179}, "option crop .*178, got 179"),
        ({"n_train": 5}, "n_train must be from 1 to 4, got 5"),
        ({"n_test": 0}, "n_test must be from 1 to 2, got 0"),
    ],
)
def test_bad_options(folder, options, message):
    with pytest.raises(ConfigError, match=message):
        _load(**options)
