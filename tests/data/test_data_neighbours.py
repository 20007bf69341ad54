"""Data of the models that MFCVAE is compared with: arcs for GMVAE, mixed data sets for UG-VAE."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.data.arcs import RADIUS, TURN
from pyro_mfcvae.errors import ConfigError, DataError


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MFCVAE_CACHE", str(tmp_path / "cache"))


def _load(name, **options):
    return load_dataset(Component(name=name, options=options))


def _unturned(dataset, n_arcs, angle):
    """Points as complex numbers, in float64, turned back by their arc's share and an angle."""
    x, y = dataset.x.double().numpy().T
    shares = 2 * np.pi * dataset.labels["arc"].numpy() / n_arcs
    return (x + 1j * y) * np.exp(-1j * (shares + angle))


@pytest.mark.parametrize("n_arcs", [1, 3, 5])
def test_without_noise_across_points_lie_on_spirals(n_arcs):
    # With so little noise no radius is negative.
    data = _load("arcs", n_arcs=n_arcs, noise=[0.3, 0.0])
    u = data.x.double().norm(dim=1).numpy()
    np.testing.assert_allclose(_unturned(data, n_arcs, TURN * u), u, atol=1e-5)
    error = 0.3 / np.sqrt(len(u))
    assert abs(u.mean() - RADIUS) < 5 * error
    assert abs(u.std() - 0.3) < 5 * error / np.sqrt(2)


def test_without_noise_along_points_lie_across_the_radius():
    data = _load("arcs", noise=[0, 0.12])
    points = _unturned(data, 5, TURN * RADIUS)
    np.testing.assert_allclose(points.real, RADIUS, atol=1e-5)
    error = 0.12 / np.sqrt(len(points))
    assert abs(points.imag.mean()) < 5 * error
    assert abs(points.imag.std() - 0.12) < 5 * error / np.sqrt(2)


def test_arcs_are_equally_frequent_and_in_range():
    data = _load("arcs")
    assert data.x.shape == (12_000, 2)
    assert data.x.dtype == torch.float32
    assert (data.train.tolist(), data.test.tolist()) == (
        list(range(10_000)),
        list(range(10_000, 12_000)),
    )
    shares = np.bincount(data.labels["arc"]) / 12_000
    assert len(shares) == 5
    assert np.abs(shares - 0.2).max() < 5 * np.sqrt(0.2 * 0.8 / 12_000)
    assert data.class_names == {"arc": ("0", "1", "2", "3", "4")}
    assert 3 < data.x.abs().max() < 4.5


def test_arcs_are_a_function_of_the_seed():
    first, same, other = (_load("arcs", n_train=50, n_test=9, seed=s) for s in (1, 1, 2))
    assert first.fingerprint == same.fingerprint != other.fingerprint
    assert torch.equal(first.labels["arc"], same.labels["arc"])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_train": 0}, "option n_train .*got 0"),
        ({"n_test": 0}, "option n_test .*got 0"),
        ({"n_arcs": 0}, "option n_arcs .*got 0"),
        ({"noise": [0.5]}, r"option noise .*got \[0.5\]"),
        ({"noise": [0.5, -0.1]}, r"option noise .*got \[0.5, -0.1\]"),
        ({"noise": [float("nan"), 0.1]}, r"option noise .*got \[nan, 0.1\]"),
        ({"seed": -1}, "option seed .*got -1"),
    ],
)
def test_bad_options_of_arcs(options, message):
    with pytest.raises(ConfigError, match=message):
        _load("arcs", **options)


def _train(*settings):
    sets = [argument for setting in settings for argument in ("--set", setting)]
    sets += ["--set", "training.epochs_per_step=[2]", "--set", "training.device=cpu"]
    sets += ["--set", "model.encoder.options.backbone=8", "--set", "model.decoder.options.rungs=8"]
    result = CliRunner().invoke(main, ["train", "--facets", "2:3", "--out", "run", *sets])
    assert result.exit_code == 0, result.output
    return result.output


def test_arcs_train_from_the_command_line():
    sizes = ("data.options.n_train=100", "data.options.n_test=30")
    assert "arc (5)" in _train("data=arcs", "model.likelihood=gaussian", *sizes)


def _write(path, x, n_test=None, **labels):
    """A file of one's own; the last few of x are held out."""
    n = len(x) - (n_test or len(x) // 3)
    np.savez(path, x=x[:n], x_test=x[n:], **labels)
    return {"name": "file", "options": {"path": str(path)}}


def _pictures(n, channels, side, seed=0):
    shape = (n, channels, side, side)
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


@pytest.fixture
def grey():
    labels = {"digit": np.arange(12) % 3, "kind": np.array(["b", "a", "c"] * 4)}
    return _write("grey.npz", _pictures(12, 1, 8), **labels)


@pytest.fixture
def coloured():
    labels = {"kind": np.array(["c", "d", "a"] * 7), "hue": np.arange(21) % 2}
    return _write("coloured.npz", _pictures(21, 3, 8, seed=1), **labels)


def test_all_of_two_data_sets(grey, coloured):
    data = _load("mixed", first=grey, second=coloured, balanced=False)
    first, second = _pictures(12, 1, 8), _pictures(21, 3, 8, seed=1)
    expected = np.concatenate([first.repeat(3, axis=1), second])
    np.testing.assert_array_equal(data.x, expected)
    assert data.x.dtype == torch.uint8
    assert data.strata is None
    assert data.train.tolist() == [*range(8), *range(12, 26)]
    assert data.test.tolist() == [*range(8, 12), *range(26, 33)]
    assert data.labels["domain"].tolist() == [0] * 12 + [1] * 21
    assert data.class_names["domain"] == ("grey", "coloured")


def test_labels_that_both_have_are_matched_by_name(grey, coloured):
    data = _load("mixed", first=grey, second=coloured, balanced=False)
    assert set(data.labels) == {"domain", "kind"}
    kinds = [data.class_names["kind"][i] for i in data.labels["kind"]]
    assert kinds == ["b", "a", "c"] * 4 + ["c", "d", "a"] * 7
    assert sorted(data.class_names["kind"]) == ["a", "b", "c", "d"]


def test_the_larger_part_is_cut(grey, coloured):
    data = _load("mixed", first=coloured, second=grey)
    whole = _load("mixed", first=coloured, second=grey, balanced=False)
    assert torch.equal(data.strata, data.labels["domain"])
    for part, n in (("train", 8), ("test", 4)):
        x, labels = data.split(part)
        assert labels["domain"].bincount().tolist() == [n, n]
        # What is kept comes from the same part, in its order, with its labels.
        every, every_label = whole.split(part)
        places = [int((every == picture).flatten(1).all(1).nonzero()) for picture in x]
        assert places == sorted(set(places))
        assert torch.equal(every_label["kind"][places], labels["kind"])
    again, other = (_load("mixed", first=coloured, second=grey, cut_seed=s) for s in (0, 1))
    assert data.fingerprint == again.fingerprint != other.fingerprint


def test_a_single_observation_of_each_is_enough(coloured):
    one = _write("one.npz", _pictures(2, 1, 8), n_test=1)
    data = _load("mixed", first=one, second=coloured)
    assert data.x.shape == (4, 3, 8, 8)
    assert data.labels["domain"][data.train].tolist() == [0, 1]


def test_pictures_are_inverted_and_resized(grey, coloured):
    small = _write("small.npz", _pictures(21, 3, 5, seed=1))
    parts = {"first": grey | {"inverted": True}, "second": small}
    data = _load("mixed", **parts, size=6, balanced=False)
    assert data.x.shape == (33, 3, 6, 6)
    assert data.class_names["domain"] == ("grey inverted", "small")
    sources = [255 - _pictures(12, 1, 8).repeat(3, axis=1), _pictures(21, 3, 5, seed=1)]
    for i, picture in enumerate(picture for x in sources for picture in x):
        image = Image.fromarray(picture.transpose(1, 2, 0)).resize(
            (6, 6), Image.Resampling.BILINEAR
        )
        expected = np.asarray(image).transpose(2, 0, 1).astype(int)
        # Pillow rounds after each of the two directions.
        assert np.abs(data.x[i].numpy().astype(int) - expected).max() <= 1


def test_a_data_set_and_its_negative_share_all_labels(grey):
    data = _load("mixed", first=grey, second=grey | {"inverted": True})
    assert torch.equal(data.x[12:], 255 - data.x[:12])
    assert set(data.labels) == {"domain", "digit", "kind"}
    for factor in ("digit", "kind"):
        assert torch.equal(data.labels[factor][12:], data.labels[factor][:12])


def test_domains_have_names_of_their_own(grey):
    assert _load("mixed", first=grey, second=grey).class_names["domain"] == ("grey 0", "grey 1")


def test_what_was_mixed_can_be_mixed_again(grey, coloured):
    pair = {"name": "mixed", "options": {"first": grey, "second": coloured}}
    data = _load("mixed", first=pair, second=coloured)
    assert data.class_names["domain"] == ("mixed", "coloured")
    assert data.labels["domain"].bincount().tolist() == [21, 21]


def test_rows_of_a_table():
    rows = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    parts = [_write(name, rows + i) for i, name in enumerate(("a.npz", "b.npz"))]
    data = _load("mixed", first=parts[0], second=parts[1])
    np.testing.assert_array_equal(data.x, np.concatenate([rows, rows + 1]))


def test_data_sets_without_names_of_classes(monkeypatch):
    """Their classes are called by their numbers."""
    from pyro_mfcvae.data import DATASETS, Dataset

    def plain():
        x = torch.zeros(4, 2)
        labels = {"arc": torch.tensor([0, 1, 2, 1])}
        return Dataset("plain", x, torch.arange(3), torch.arange(3, 4), labels)

    monkeypatch.setitem(DATASETS, "plain", plain)
    arcs = {"name": "arcs", "options": {"n_train": 3, "n_test": 1}}
    data = _load("mixed", first={"name": "plain"}, second=arcs)
    assert data.labels["arc"][:4].tolist() == [0, 1, 2, 1]
    assert data.class_names["arc"] == ("0", "1", "2", "3", "4")
    assert torch.equal(data.labels["arc"][4:], load_dataset(Component(**arcs)).labels["arc"])


def test_files_of_both_lie_in_another_folder(tmp_path, grey, coloured):
    place = tmp_path / "moved"
    place.mkdir()
    before = _load("mixed", first=grey, second=coloured)
    for name in ("grey.npz", "coloured.npz"):
        (tmp_path / name).rename(place / name)
    after = _load("mixed", first=grey, second=coloured, data_dir=str(place))
    assert after.fingerprint == before.fingerprint
    arcs = {"name": "arcs", "options": {"n_train": 3, "n_test": 1}}  # which has no files
    assert len(_load("mixed", first=arcs, second=arcs, data_dir=str(place)).x) == 8


def _floats(side=8):
    return _write("real.npz", np.random.default_rng(0).random((9, 1, side, side)))


@pytest.mark.parametrize(
    ("second", "options", "message"),
    [
        (
            _floats,
            {},
            r"all uint8 or all float32, got torch.uint8 \(1, 8, 8\) of grey and torch.fl",
        ),
        (lambda: _write("big.npz", _pictures(9, 1, 9)), {}, r"cannot be made alike, .* size gives"),
        (lambda: _write("four.npz", _pictures(9, 4, 8)), {}, r"alike, got .*\(4, 8, 8\) of four"),
        (lambda: _write("t.npz", _pictures(9, 1, 8)[:, 0, 0]), {}, r"alike, got .*\(8,\) of t;"),
        (lambda: _write("t.npz", _pictures(9, 1, 8)[:, 0, 0]), {"size": 8}, "only pictures can be"),
        (lambda: _floats() | {"inverted": True}, {}, "real inverted: only uint8 .* torch.float32"),
    ],
)
def test_observations_that_are_not_alike(grey, second, options, message):
    with pytest.raises(DataError, match=message):
        _load("mixed", first=grey, second=second(), **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3}, "option size .*got 3"),
        ({"cut_seed": -1}, "option cut_seed .*got -1"),
        ({"first": {"name": "no-such"}}, "unknown data set 'no-such'"),
        ({"first": {}}, "option first of data set 'mixed'.* is missing"),
        ({"first": "mnist"}, "option first of data set 'mixed': .* dictionary, got 'mnist'"),
        ({"first": {"name": "arcs", "n": 3}}, "option first of data set 'mixed': extra inputs"),
        ({"first": {"name": "arcs", "options": {"m": 3}}}, "unknown option m of data set 'arcs'"),
    ],
)
def test_bad_options_of_mixed(grey, options, message):
    with pytest.raises(ConfigError, match=message):
        _load("mixed", **({"first": grey, "second": grey} | options))


def test_observations_in_a_file_are_not_mixed(tmp_path, grey):
    import h5py

    with h5py.File("mine.h5", "w") as file:
        file["x"] = _pictures(9, 1, 8)
    options = {"path": str(tmp_path / "mine.h5"), "memory": "stream"}
    with pytest.raises(DataError, match="mine: .* load it with the option memory='load'"):
        _load("mixed", first=grey, second={"name": "h5", "options": options})


def test_domains_train_from_the_command_line(grey, coloured):
    sizes = [f"data.options.{part}.name=file" for part in ("first", "second")]
    paths = [
        f"data.options.{part}.options={json.dumps(given['options'])}"
        for part, given in (("first", grey), ("second", coloured))
    ]
    output = _train("data=mixed", *sizes, *paths, "data.options.second.inverted=true")
    assert "domain (2)" in output
    assert "kind (4)" in output
