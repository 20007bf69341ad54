"""The file of 3D Shapes: its schema, parts of its grid, and its split."""

from __future__ import annotations

import itertools
import subprocess
import sys

import h5py
import numpy as np
import pytest

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.data import shapes3d as shapes3d_module
from pyro_mfcvae.data.scenes import FACTORS
from pyro_mfcvae.data.shapes3d import FACTOR_VALUES
from pyro_mfcvae.errors import ConfigError, DataError


def _load(data_dir, **options):
    options = {"data_dir": str(data_dir), **options}
    return load_dataset(Component(name="shapes3d", options=options))


GRID = {
    "floor_hue": [0, 3, 9],
    "wall_hue": [5],
    "object_hue": [6, 7],
    "scale": [0, 1, 7],
    "shape": [0, 1, 2, 3],
    "orientation": [0, 8, 14],
}
# As the published file has them: hue 3 is 0.30000000000000004 and scale 1 0.8214285714285714.
HUES, SCALES = np.arange(10) * 0.1, 0.75 + np.arange(8) * 0.5 / 7
PUBLISHED_VALUES = [HUES, HUES, HUES, SCALES, np.arange(4.0), -30 + np.arange(15) * 60 / 14]


def _scenes():
    """Pictures and factor indices in the schema of the published file."""
    indices = np.array(list(itertools.product(*GRID.values())))
    pictures = np.random.default_rng(0).integers(0, 256, (len(indices), 64, 64, 3), np.uint8)
    return pictures, indices


def _write_scenes(folder, pictures=None, labels=None, **storage):
    scenes, indices = _scenes()
    values = [values[column] for values, column in zip(PUBLISHED_VALUES, indices.T, strict=True)]
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / "3dshapes.h5", "w") as file:
        file.create_dataset("images", data=scenes if pictures is None else pictures, **storage)
        file["labels"] = np.stack(values, axis=1) if labels is None else labels
    return scenes, indices


@pytest.mark.parametrize("storage", [{}, {"chunks": (5, 32, 64, 3), "compression": "gzip"}])
def test_shapes3d_takes_a_part_of_the_grid(tmp_path, monkeypatch, storage):
    monkeypatch.setattr(shapes3d_module, "_ROWS_AT_ONCE", 17)
    pictures, indices = _write_scenes(tmp_path, **storage)
    factors = {"floor_hue": [9, 3], "object_hue": [7], "orientation": [8, 14]}
    dataset = _load(tmp_path, factors=factors)

    chosen = np.logical_and.reduce(
        [np.isin(indices[:, list(FACTORS).index(name)], values) for name, values in factors.items()]
    )
    assert len(dataset.x) == chosen.sum() == 2 * 3 * 4 * 2
    blocks = pictures[chosen].reshape(-1, 32, 2, 32, 2, 3).astype(int).sum((2, 4))
    halves_up = (blocks + 2) // 4
    assert (blocks % 4 == 2).any()
    np.testing.assert_array_equal(dataset.x, halves_up.transpose(0, 3, 1, 2))
    assert dataset.x.is_contiguous()

    # A factor that is not asked for takes all values of the grid, also those not in this file.
    assert set(dataset.labels) == {"floor_hue", "wall_hue", "scale", "shape", "orientation"}
    floor, wall, _, scale, shape, orientation = indices[chosen].T
    assert dataset.labels["floor_hue"].tolist() == np.searchsorted([3, 9], floor).tolist()
    assert dataset.labels["orientation"].tolist() == np.searchsorted([8, 14], orientation).tolist()
    for name, values in (("wall_hue", wall), ("scale", scale), ("shape", shape)):
        assert dataset.labels[name].tolist() == values.tolist()
    assert dataset.class_names["floor_hue"] == ("floor hue 3", "floor hue 9")
    assert dataset.class_names["shape"] == ("cube", "cylinder", "sphere", "capsule")


def test_shapes3d_in_its_own_folder_and_size(tmp_path):
    pictures, indices = _write_scenes(tmp_path / "Shapes3D")
    with h5py.File(tmp_path / "Shapes3D/3dshapes.h5", "a") as file:
        rounded = file["labels"][()].astype(np.float32)  # hue 9 is a little less than 0.9
        del file["labels"]
        file["labels"] = rounded
    dataset = _load(tmp_path, size=64)
    np.testing.assert_array_equal(dataset.x, pictures.transpose(0, 3, 1, 2))
    for name, column in zip(FACTORS, indices.T, strict=True):
        assert dataset.labels[name].tolist() == column.tolist()
    assert _load(tmp_path, size=20).x.shape == (len(pictures), 3, 20, 20)


def test_published_values_are_this_library_s():
    assert FACTOR_VALUES.keys() == FACTORS.keys()
    for values, published in zip(FACTOR_VALUES.values(), PUBLISHED_VALUES, strict=True):
        np.testing.assert_allclose(values, published, atol=1e-12)
    assert 0.30000000000000004 in HUES
    assert 0.8214285714285714 in SCALES


def test_shapes3d_has_the_first_authors_split(tmp_path):
    _, indices = _write_scenes(tmp_path)
    dataset = _load(tmp_path, split_seed=3)
    n = len(indices)
    drawn = np.random.RandomState(3).choice(n, int(n * 0.8), replace=False)
    assert dataset.train.tolist() == sorted(drawn)
    assert dataset.test.tolist() == sorted(set(range(n)) - set(drawn))

    train, test = shapes3d_module._published_split(4800, 0.2, 0)
    assert (len(train), len(test)) == (3840, 960)
    # numpy.random.seed(0) and numpy.random.choice(4800, 3840, replace=False) leave these out.
    assert test[:8].tolist() == [0, 3, 7, 21, 24, 25, 28, 51]
    assert len(shapes3d_module._published_split(4800, 0.9, 0)[0]) == 480


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 2}, "option size .*got 2"),
        ({"factors": {"colour": [1]}}, "unknown factor 'colour'"),
        ({"factors": {"shape": [4]}}, "from 0 to 3"),
        ({"test_fraction": 1.0}, "option test_fraction .*got 1.0"),
        ({"split_seed": -1}, "option split_seed .*got -1"),
    ],
)
def test_bad_options_of_shapes3d_are_refused(tmp_path, options, message):
    with pytest.raises(ConfigError, match=message):
        _load(tmp_path, **options)


def test_missing_shapes3d(tmp_path):
    places = f"{tmp_path}/3dshapes.h5 nor at {tmp_path}/Shapes3D/3dshapes.h5"
    with pytest.raises(DataError, match=rf"{places}.*https://.*/3d-shapes.*--data-dir"):
        _load(tmp_path)


PICTURES = np.zeros((2, 64, 64, 3), np.uint8)
LABELS = np.array([[0, 0, 0, 0.75, 0, -30], [0.9, 0.1, 0.2, 1.25, 3, 30]])


def _with(row, column, value):
    labels = LABELS.copy()
    labels[row, column] = value
    return labels


@pytest.mark.parametrize(
    ("pictures", "labels", "message"),
    [
        (PICTURES / 255, LABELS, r"images must be uint8 .*got float64 \(2, 64, 64, 3\)"),
        (PICTURES[:, :32], LABELS, r"images must be .*\(N, 64, 64, 3\), got uint8 \(2, 32, 64, 3"),
        (PICTURES, LABELS[:1], r"labels must be .*\(2, 6\), .*got float64 \(1, 6\)"),
        (PICTURES, LABELS[:, :5], r"labels must be .*orientation, got float64 \(2, 5\)"),
        (PICTURES, LABELS.astype("S"), r"labels must be numbers"),
        (PICTURES, _with(1, 0, 1.0), r"floor_hue must be one of 10 .* 0 to 0\.9, got 1 in row 1"),
        (PICTURES, _with(0, 2, -0.1), r"object_hue must be one of .*got -0\.1 in row 0"),
        (PICTURES, _with(1, 3, 0.8), r"scale must be one of 8 .* 0\.75 to 1\.25, got 0\.8 in row"),
        (PICTURES, _with(0, 4, 4), r"shape must be one of 4 .* 0 to 3, got 4"),
        (PICTURES, _with(0, 5, np.nan), r"orientation must be one of 15 .* -30 to 30, got nan"),
        (PICTURES, _with(0, 5, np.inf), r"orientation must be .*got inf"),
        (PICTURES[:0], LABELS[:0], "none of its 0 pictures"),
    ],
)
def test_other_contents_are_refused(tmp_path, pictures, labels, message):
    _write_scenes(tmp_path, pictures, labels)
    with pytest.raises(DataError, match=message):
        _load(tmp_path)


def test_a_part_of_the_grid_that_the_file_lacks(tmp_path):
    _write_scenes(tmp_path, PICTURES, LABELS)
    assert len(_load(tmp_path, test_fraction=0.5).x) == 2
    with pytest.raises(DataError, match=r"none of its 2 pictures .*'wall_hue': \[5\]"):
        _load(tmp_path, factors={"wall_hue": [5]})


@pytest.mark.parametrize("lacking", ["images", "labels"])
def test_shapes3d_without_its_data_sets(tmp_path, lacking):
    _write_scenes(tmp_path)
    with h5py.File(tmp_path / "3dshapes.h5", "a") as file:
        del file[lacking]
        file.create_group(lacking)
    with pytest.raises(DataError, match=f"got no '{lacking}'"):
        _load(tmp_path)


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), ValueError("size")])
def test_other_failures_are_not_put_on_the_file(tmp_path, monkeypatch, error):
    def fails(*_args):
        raise error

    _write_scenes(tmp_path)
    monkeypatch.setattr(shapes3d_module, "_resize", fails)
    with pytest.raises(type(error), match=str(error)) as caught:
        _load(tmp_path)
    assert caught.value is error


def test_shapes3d_does_without_torchvision():
    code = (
        "import sys; from pyro_mfcvae.data import shapes3d; "
        "assert shapes3d.data_folder.__module__ != 'pyro_mfcvae.data.vision'; "
        "assert 'torchvision' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_damaged_shapes3d(tmp_path):
    _write_scenes(tmp_path, chunks=(8, 64, 64, 3), compression="gzip")
    path = tmp_path / "3dshapes.h5"
    whole = path.read_bytes()
    middle = len(whole) // 2
    with_a_hole = whole[:middle] + bytes(4096) + whole[middle + 4096 :]
    for content in (b"", b"damaged", whole[:middle], with_a_hole):
        path.write_bytes(content)
        with pytest.raises(DataError, match="cannot be read as HDF5 .*get 3dshapes.h5 anew from"):
            _load(tmp_path)
