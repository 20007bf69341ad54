"""Rendered scenes, MNIST, the user's files, and batches."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import data_settings, load_dataset
from pyro_mfcvae.data.observations import as_float, random_split
from pyro_mfcvae.data.scenes import FACTORS, render_scenes
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.training.batches import Batches


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("MFCVAE_CACHE", str(tmp_path / "cache"))


def _scene(**factors):
    return np.array([[factors.get(name, 0) for name in FACTORS]])


def test_each_factor_changes_its_own_part_of_the_picture():
    base = _scene(floor_hue=0, wall_hue=3, object_hue=6, scale=3, orientation=7)
    rendered = render_scenes(base)
    assert (rendered.shape, rendered.dtype) == ((1, 64, 64, 3), np.uint8)
    np.testing.assert_array_equal(rendered, render_scenes(base))
    picture = rendered[0].astype(int)

    def changed(**factors):
        other = base.copy()
        for name, value in factors.items():
            other[0, list(FACTORS).index(name)] = value
        return np.abs(render_scenes(other)[0].astype(int) - picture).sum(-1) > 0

    floor, wall, thing = (changed(**{f"{name}_hue": 9}) for name in ("floor", "wall", "object"))
    shares = [part.mean() for part in (floor, wall, thing)]
    assert all(0.05 < share < 0.75 for share in shares)
    # Nearly every pixel shows one material; only antialiased edges mix them.
    assert (floor.astype(int) + wall + thing > 1).mean() < 0.15
    assert wall[:12].mean() > 0.9
    assert floor[-4:].mean() > 0.9
    assert thing[30:36, 30:36].all()
    for factor in ("scale", "shape", "orientation"):
        assert changed(**{factor: 1}).mean() > 0.005


def test_a_larger_scale_makes_the_object_grow_evenly():
    sizes = []
    for scale in range(8):
        pair = [
            render_scenes(_scene(scale=scale, object_hue=h, shape=2, wall_hue=5))[0] for h in (2, 7)
        ]
        sizes.append((np.abs(pair[0].astype(int) - pair[1]).sum(-1) > 20).sum())
    growth = np.sqrt(sizes[-1] / sizes[0])
    assert growth == pytest.approx(1.25 / 0.75, rel=0.08)
    assert (np.diff(sizes) > 0).all()


@pytest.mark.parametrize(
    ("factors", "message"),
    [
        (np.zeros((2, 5), int), r"shape \(N, 6\)"),
        (np.zeros((2, 6)), "integer"),
        (_scene(shape=4), r"shape indices in 0\.\.3, got 4"),
        (_scene(floor_hue=-1), r"floor_hue indices in 0\.\.9, got -1"),
    ],
)
def test_bad_scenes_are_refused(factors, message):
    with pytest.raises(ValueError, match=message):
        render_scenes(factors)


SOME = {"wall_hue": [5], "object_hue": [6], "scale": [0, 7], "shape": [0, 1, 3], "orientation": [7]}


def test_shapes_take_any_part_of_the_grid():
    dataset = load_dataset(Component(name="shapes", options={"size": 16, "factors": SOME}))
    assert dataset.x.shape == (10 * 2 * 3, 3, 16, 16)
    assert dataset.x.dtype == torch.uint8
    assert set(dataset.labels) == {"floor_hue", "scale", "shape"}
    assert dataset.class_names["shape"] == ("cube", "cylinder", "capsule")
    assert torch.bincount(dataset.labels["shape"]).tolist() == [20, 20, 20]
    assert len(dataset.test) == 12
    together = torch.cat([dataset.train, dataset.test]).sort().values
    assert together.tolist() == list(range(60))


def test_shapes_come_from_the_cache_unless_it_is_damaged(tmp_path):
    settings = Component(name="shapes", options={"factors": SOME})
    first = load_dataset(settings)
    (cached,) = (tmp_path / "cache").iterdir()
    cached.write_bytes(b"damaged")
    assert torch.equal(load_dataset(settings).x, first.x)
    assert torch.equal(load_dataset(settings).x, first.x)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 2}, "option size .*got 2"),
        ({"factors": {"colour": [1]}}, "unknown factor 'colour'"),
        ({"factors": {"shape": [4]}}, "from 0 to 3"),
        ({"factors": {"shape": []}}, "at least one"),
        ({"colour": 3}, "unknown option colour"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        load_dataset(Component(name="shapes", options=options))


def test_unknown_data_set():
    with pytest.raises(ConfigError, match="unknown data set 'shape'; choose one of"):
        load_dataset(Component(name="shape"))
    assert data_settings("mnist") == Component(name="mnist")
    assert data_settings("/a/b.npz") == Component(name="file", options={"path": "/a/b.npz"})


def test_mnist(mnist_folder):
    options = {"data_dir": str(mnist_folder), "n_train": 100, "n_test": 50}
    dataset = load_dataset(Component(name="mnist", options=options))
    assert dataset.x.shape == (150, 1, 28, 28)
    assert dataset.labels["digit"][:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert dataset.labels["digit"][100:110].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert len(dataset.train) == 100
    with pytest.raises(ConfigError, match="from 1 to 60000, got 60001"):
        load_dataset(Component(name="mnist", options=options | {"n_train": 60001}))


def _file(tmp_path, name="my.npz", **arrays):
    path = tmp_path / name
    np.savez(path, **arrays)
    return Component(name="file", options={"path": str(path)})


def test_labels_of_a_file(tmp_path):
    x = np.random.default_rng(0).normal(size=(6, 4))
    named = load_dataset(_file(tmp_path, x=x, colour=np.array(list("rgbrgb"))))
    assert named.labels["colour"].tolist() == [2, 1, 0, 2, 1, 0]
    assert named.class_names["colour"] == ("b", "g", "r")
    assert named.x.dtype == torch.float32
    assert named.observation.low == pytest.approx(x.min(), rel=1e-6)

    labels = np.array([[3, 0], [5, 1]] * 3)
    table = load_dataset(
        _file(tmp_path, x=x, labels=labels, label_names=np.array(["size", "kind"]))
    )
    assert table.labels["size"].tolist() == [0, 1] * 3
    held_out = load_dataset(
        _file(tmp_path, x=x, x_test=x[:2], labels=labels, labels_test=labels[:2])
    )
    assert held_out.test.tolist() == [6, 7]
    assert held_out.labels["label_0"].tolist() == [0, 1] * 4


def _npy() -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.zeros(3))
    return buffer.getvalue()


def test_missing_and_damaged_files(tmp_path):
    for name, content, message in (
        ("none.npz", None, "no such file"),
        ("text.npz", b"hello", "cannot be read as .npz"),
        ("table.abc", b"1,2", r"unknown suffix '\.abc'; choose one of .*\.npz"),
        ("array.npz", _npy(), "holds a single array"),
    ):
        path = tmp_path / name
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(DataError, match=message):
            load_dataset(Component(name="file", options={"path": str(path)}))


def test_batches_cover_every_epoch_once_in_an_order_of_their_own():
    x = torch.arange(10, dtype=torch.uint8).unsqueeze(-1)
    batches = Batches(x, 4, seed=0, dtype=torch.float32)
    assert batches.per_epoch == 3
    epochs = [
        [(255 * batches(3 * epoch + i)).round().flatten().tolist() for i in range(3)]
        for epoch in range(2)
    ]
    for epoch in epochs:
        assert [len(batch) for batch in epoch] == [4, 4, 2]  # the short last batch is kept
        assert sorted(value for batch in epoch for value in batch) == list(range(10))
    assert epochs[0] != epochs[1]
    # A batch is a function of (seed, step), whatever was asked for before.
    later = Batches(x, 4, seed=0, dtype=torch.float32)
    assert torch.equal(later(4), batches(4))
    assert not torch.equal(Batches(x, 4, seed=1, dtype=torch.float32)(0), batches(0))


def test_uint8_is_read_as_fractions():
    x = torch.tensor([0, 51, 255], dtype=torch.uint8)
    torch.testing.assert_close(as_float(x), torch.tensor([0.0, 0.2, 1.0]))


def test_split_is_a_function_of_its_seed():
    train, test = random_split(100, 0.2, seed=1)
    assert (len(train), len(test)) == (80, 20)
    assert torch.equal(test, random_split(100, 0.2, seed=1)[1])
    assert not torch.equal(test, random_split(100, 0.2, seed=2)[1])
    with pytest.raises(DataError, match="between 0 and 1"):
        random_split(100, 1.5, seed=1)
