"""Published digits, from small files in their formats: MNIST, SVHN, and MNIST in colour."""

from __future__ import annotations

import gzip
import hashlib
import itertools
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from scipy.io import savemat

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.data.colored_mnist import MAX_COLORS
from pyro_mfcvae.data.vision import torchvision_datasets
from pyro_mfcvae.errors import ConfigError, DataError

_DOWNLOAD = torchvision_datasets().MNIST.download


@pytest.fixture(autouse=True)
def _offline(monkeypatch):
    """No test downloads anything; files that are there need no download."""
    datasets = torchvision_datasets()
    for kind, there in ((datasets.MNIST, "_check_exists"), (datasets.SVHN, "_check_integrity")):

        def download(self, there=there) -> None:
            if not getattr(self, there)():
                raise URLError("no network")

        monkeypatch.setattr(kind, "download", download)


def _load(name, data_dir, **options):
    return load_dataset(Component(name=name, options={"data_dir": str(data_dir), **options}))


def _idx(array):
    """An array in the format of MNIST's files."""
    sizes = np.array([2048 + array.ndim, *array.shape], ">i4")
    return sizes.tobytes() + array.astype(np.uint8).tobytes()


def _write_mnist(folder, n_train=30, n_test=20, seed=0):
    rng = np.random.default_rng(seed)
    raw = Path(folder) / "MNIST/raw"
    raw.mkdir(parents=True, exist_ok=True)
    parts = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        grey, digits = rng.integers(0, 256, (n, 28, 28)), rng.integers(0, 10, n)
        grey[:, 0, :2] = 0, 255
        (raw / f"{part}-images-idx3-ubyte").write_bytes(_idx(grey))
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(_idx(digits))
        parts[part] = grey, digits
    return parts


def test_mnist_takes_the_first_digits_of_each_part(tmp_path, monkeypatch):
    parts = _write_mnist(tmp_path)
    monkeypatch.setenv("MFCVAE_DATA", str(tmp_path))
    dataset = load_dataset(Component(name="mnist", options={"n_train": 7}))
    for i in (0, 1):
        expected = np.concatenate([parts["train"][i][:7], parts["t10k"][i]])
        got = dataset.x[:, 0] if i == 0 else dataset.labels["digit"]
        np.testing.assert_array_equal(got, expected)
    assert dataset.train.tolist() == list(range(7))
    assert dataset.test.tolist() == list(range(7, 27))
    with pytest.raises(ConfigError, match="n_test must be from 1 to 20, got 21"):
        _load("mnist", tmp_path, n_test=21)


@pytest.mark.parametrize("content", [None, b"", b"damaged!", _idx(np.zeros((3, 28, 28)))[:-1]])
def test_missing_and_damaged_mnist(tmp_path, content):
    path = tmp_path / "MNIST/raw/train-images-idx3-ubyte"
    if content is not None:
        _write_mnist(tmp_path)
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        _load("mnist", tmp_path)
    for part in (str(path.parent), path.name, "yann.lecun.com", "--data-dir", "MFCVAE_DATA"):
        assert part in str(caught.value)
    assert ("Move what is damaged" in str(caught.value)) == (content is not None)
    assert content is None or path.read_bytes() == content


@pytest.mark.parametrize("missing", ["train-images", "train-labels", "t10k-images", "t10k-labels"])
def test_only_missing_mnist_is_written(tmp_path, monkeypatch, missing):
    _write_mnist(tmp_path)
    raw = tmp_path / "MNIST/raw"
    before = {path.name: path.read_bytes() for path in raw.iterdir()}
    (raw / f"{missing}-idx3-ubyte".replace("labels-idx3", "labels-idx1")).unlink()
    kind = torchvision_datasets().MNIST
    # Like torchvision, which unpacks all four files over those that are there.
    monkeypatch.setattr(kind, "download", lambda self: _write_mnist(self.root, seed=1))
    assert len(_load("mnist", tmp_path).x) == 50
    after = {path.name: path.read_bytes() for path in raw.iterdir()}
    assert after.keys() == before.keys()
    assert [name[: len(missing)] for name in after if after[name] != before[name]] == [missing]
    assert [path.name for path in tmp_path.iterdir()] == ["MNIST"]


def test_mnist_from_the_published_archives(tmp_path, monkeypatch):
    parts = _write_mnist(tmp_path)
    resources = []
    for path in sorted((tmp_path / "MNIST/raw").iterdir()):
        archive = gzip.compress(path.read_bytes())
        path.with_name(f"{path.name}.gz").write_bytes(archive)
        path.unlink()
        resources.append((f"{path.name}.gz", hashlib.md5(archive).hexdigest()))
    kind = torchvision_datasets().MNIST
    monkeypatch.setattr(kind, "download", _DOWNLOAD)
    monkeypatch.setattr(kind, "resources", resources)
    monkeypatch.setattr(kind, "mirrors", ["nowhere://"])
    assert _load("mnist", tmp_path).labels["digit"][:30].tolist() == parts["train"][1].tolist()


@pytest.mark.parametrize(
    ("part", "kind", "array", "message"),
    [
        ("train", "labels-idx1", np.zeros(20), r"a digit for each of 30 .* shape \(20,\)"),
        ("train", "labels-idx1", np.zeros(31), r"a digit for each of 30 .* shape \(31,\)"),
        ("t10k", "labels-idx1", np.full(20, 200), "digits from 0 to 9, got 200"),
        ("t10k", "images-idx3", np.zeros((20, 14, 14)), r"\(N, 1, 28, 28\).* \(20, 1, 14, 14\)"),
        ("train", "images-idx3", np.zeros((0, 28, 28)), "cannot be read as MNIST"),
    ],
)
def test_mnist_that_does_not_belong_together(tmp_path, part, kind, array, message):
    _write_mnist(tmp_path)
    path = tmp_path / f"MNIST/raw/{part}-{kind}-ubyte"
    path.write_bytes(_idx(array))
    with pytest.raises(DataError, match=message) as caught:
        _load("mnist", tmp_path)
    assert str(path) in str(caught.value)


def test_fashion_mnist_has_its_own_folder_and_classes(tmp_path, monkeypatch):
    parts = _write_mnist(tmp_path)
    (tmp_path / "MNIST").rename(tmp_path / "FashionMNIST")
    monkeypatch.setattr(torchvision_datasets().FashionMNIST, "download", lambda self: 1 / 0)
    dataset = _load("fashion-mnist", tmp_path, n_test=4)
    np.testing.assert_array_equal(dataset.x[:30, 0], parts["train"][0])
    assert dataset.labels["article"][30:].tolist() == parts["t10k"][1][:4].tolist()
    names = dataset.class_names["article"]
    assert (len(names), names[1], names[9]) == (10, "trouser", "ankle boot")
    with pytest.raises(DataError, match="Fashion-MNIST is not complete"):
        _load("fashion-mnist", tmp_path / "empty")


def _write_svhn(folder, n_train=5, n_test=4):
    """SVHN's files: pictures last in X, and the digit 0 as class 10."""
    rng = np.random.default_rng(0)
    parts = []
    for part, n in (("train", n_train), ("test", n_test)):
        x = rng.integers(0, 256, (32, 32, 3, n)).astype(np.uint8)
        y = np.arange(10, 10 - n, -1, dtype=np.uint8)[:, None]
        savemat(folder / f"{part}_32x32.mat", {"X": x, "y": y})
        parts.append((x, y))
    return parts


@pytest.fixture
def _any_checksum(monkeypatch):
    monkeypatch.setattr(torchvision_datasets().svhn, "check_integrity", lambda path, md5: True)


@pytest.mark.usefixtures("_any_checksum")
def test_svhn(tmp_path):
    (x, _), (x_test, _) = _write_svhn(tmp_path)
    dataset = _load("svhn", tmp_path, n_train=3)
    expected = np.concatenate([x[..., :3], x_test], axis=-1).transpose(3, 2, 0, 1)
    np.testing.assert_array_equal(dataset.x, expected)
    assert dataset.x.dtype == torch.uint8
    assert dataset.x.is_contiguous()
    assert dataset.labels["digit"].tolist() == [0, 9, 8, 0, 9, 8, 7]
    assert dataset.class_names["digit"] == tuple("0123456789")
    assert dataset.train.tolist() == [0, 1, 2]
    assert dataset.test.tolist() == [3, 4, 5, 6]
    with pytest.raises(ConfigError, match="n_train must be from 1 to 5, got 6"):
        _load("svhn", tmp_path, n_train=6)


def test_svhn_is_downloaded_where_it_is_missing(tmp_path, monkeypatch):
    svhn = torchvision_datasets().svhn
    monkeypatch.setattr(svhn, "check_integrity", lambda path, md5: svhn.os.path.isfile(path))
    monkeypatch.setattr(svhn.SVHN, "download", lambda self: _write_svhn(Path(self.root)))
    assert len(_load("svhn", tmp_path / "new").x) == 9
    names = ["test_32x32.mat", "train_32x32.mat"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == names


def _breaks(self):
    """What torchvision does: open the file for writing, then lose the connection."""
    (Path(self.root) / self.filename).write_bytes(b"<html>offline")
    raise URLError("connection lost")


def test_a_download_that_breaks_leaves_what_was_there(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision_datasets().SVHN, "download", _breaks)
    _check_svhn_is_refused(tmp_path, "train_32x32.mat")
    assert list(tmp_path.iterdir()) == []
    _write_svhn(tmp_path)  # of another checksum than the published one
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    _check_svhn_is_refused(tmp_path, "train_32x32.mat", "Move what is damaged there away")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def _check_svhn_is_refused(folder, *parts):
    with pytest.raises(DataError) as caught:
        _load("svhn", folder)
    for part in (*parts, str(folder), "http://ufldl.stanford.edu/housenumbers", "--data-dir"):
        assert part in str(caught.value)


@pytest.mark.usefixtures("_any_checksum")
@pytest.mark.parametrize("content", [b"", b"damaged" * 40])
def test_damaged_svhn(tmp_path, content):
    _write_svhn(tmp_path)
    (tmp_path / "test_32x32.mat").write_bytes(content)
    _check_svhn_is_refused(tmp_path, str(tmp_path / "test_32x32.mat"), "Move what is damaged")
    assert (tmp_path / "test_32x32.mat").read_bytes() == content


@pytest.mark.usefixtures("_any_checksum")
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((14, 14, 3, 4), np.uint8), np.ones((4, 1)), r"\(N, 3, 32, 32\).*\(4, 3, 14, 14"),
        (np.zeros((32, 32, 3, 4)), np.ones((4, 1)), "expected pictures, uint8 .* torch.float64"),
        (np.zeros((32, 32, 3, 4), np.uint8), np.ones((3, 1)), "a digit for each of 4 pictures"),
        (np.zeros((32, 32, 3, 4), np.uint8), np.full((4, 1), 11), "from 0 to 9, got 11"),
    ],
)
def test_svhn_that_does_not_belong_together(tmp_path, x, y, message):
    _write_svhn(tmp_path)
    for name in ("train", "test"):
        savemat(tmp_path / f"{name}_32x32.mat", {"X": x, "y": y})
    with pytest.raises(DataError, match=message):
        _load("svhn", tmp_path)


def _rgb(names):
    return np.array([[int(name[i : i + 2], 16) for i in (1, 3, 5)] for name in names])


def test_colored_mnist_paints_every_digit(tmp_path):
    parts = _write_mnist(tmp_path)
    dataset = _load("colored-mnist", tmp_path, n_foregrounds=3, n_backgrounds=4, color_seed=1)
    grey, digits = (np.concatenate([parts["train"][i], parts["t10k"][i]]) for i in (0, 1))
    assert dataset.labels["digit"].tolist() == digits.tolist()
    front, back = (
        _rgb(dataset.class_names[factor])[dataset.labels[factor]][:, :, None, None]
        for factor in ("foreground", "background")
    )
    expected = np.rint(back + (front - back) * (grey[:, None] / 255))
    assert dataset.x.shape == (50, 3, 28, 28)
    assert dataset.x.dtype == torch.uint8
    np.testing.assert_array_equal(dataset.x, expected)
    assert len(set(dataset.class_names["foreground"])) == 3
    assert set(dataset.labels["background"].tolist()) == {0, 1, 2, 3}
    assert dataset.test.tolist() == list(range(30, 50))


def test_a_digit_keeps_its_colours(tmp_path):
    _write_mnist(tmp_path)
    all_digits, some = _load("colored-mnist", tmp_path), _load("colored-mnist", tmp_path, n_train=9)
    rows = torch.cat([torch.arange(9), all_digits.test])
    assert torch.equal(some.x, all_digits.x[rows])
    other = _load("colored-mnist", tmp_path, color_seed=1)
    for factor in ("foreground", "background"):
        assert torch.equal(some.labels[factor], all_digits.labels[factor][rows])
        assert not torch.equal(other.labels[factor], all_digits.labels[factor])
        assert not torch.equal(all_digits.labels[factor][:20], all_digits.labels[factor][30:])


def test_a_colour_that_does_not_vary_has_no_label(tmp_path):
    _write_mnist(tmp_path)
    dataset = _load("colored-mnist", tmp_path, n_backgrounds=1)
    assert set(dataset.labels) == {"digit", "foreground"}
    assert (dataset.x[:, :, 0, 0] == torch.tensor([76, 0, 0])).all()  # grey 0: the ground


def _luminance(rgb):
    """Relative luminance (N,) of WCAG 2, from 0 to 1."""
    c = rgb / 255
    linear = np.where(c <= 0.04045, c / 12.92, ((c + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_every_digit_stands_out(tmp_path):
    _write_mnist(tmp_path)
    many = {"n_foregrounds": MAX_COLORS, "n_backgrounds": MAX_COLORS}
    names = _load("colored-mnist", tmp_path, **many).class_names
    assert len(set(names["foreground"])) == len(set(names["background"])) == MAX_COLORS
    front, back = (_luminance(_rgb(names[factor])) for factor in ("foreground", "background"))
    assert (front.min() + 0.05) / (back.max() + 0.05) > 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_foregrounds": 0}, "option n_foregrounds .*got 0"),
        ({"n_backgrounds": 101}, "option n_backgrounds .*100, got 101"),
        ({"color_seed": -1}, "option color_seed .*got -1"),
        ({"n_train": 99}, "n_train must be from 1 to 30, got 99"),
    ],
)
def test_bad_options_of_colored_mnist_are_refused(tmp_path, options, message):
    _write_mnist(tmp_path)
    with pytest.raises(ConfigError, match=message):
        _load("colored-mnist", tmp_path, **options)


def test_colours_are_independent_of_the_digit(mnist_folder):
    dataset = _load("colored-mnist", mnist_folder, n_train=5000, n_test=1)
    for a, b in itertools.combinations(("digit", "foreground", "background"), 2):
        table = torch.bincount(10 * dataset.labels[a] + dataset.labels[b], minlength=100)
        table = table.reshape(10, 10).double()
        expected = table.sum(1, keepdim=True) * table.sum(0) / table.sum()
        chi2 = float(((table - expected) ** 2 / expected).sum())
        assert abs(chi2 - 81) < 5 * (2 * 81) ** 0.5, (a, b)  # 81 degrees of freedom
