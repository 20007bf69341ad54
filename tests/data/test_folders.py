"""A folder of pictures: kinds of pictures, their labels and names, and broken ones."""

from __future__ import annotations

import os
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import data_settings, load_dataset
from pyro_mfcvae.errors import DataError, DataWarning


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("pics").mkdir()


def load(**options):
    return load_dataset(Component(name="file", options={"path": "pics", **options}))


def save(name, array, **how):
    path = Path("pics", name)
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(array).save(path, **how)


def grey(n=10, side=8, dtype=np.uint8):
    rng = np.random.default_rng(0)
    return rng.integers(0, np.iinfo(dtype).max, (n, side, side), dtype=dtype)


def test_sub_folders_are_labels_and_files_are_names():
    for i, picture in enumerate(grey()):
        save(f"{'cd'[i % 2]}/{i}.PNG", picture)
    dataset = load()
    assert dataset.x.shape == (10, 1, 8, 8)
    assert dataset.name == "pics"
    order = [0, 2, 4, 6, 8, 1, 3, 5, 7, 9]
    assert dataset.row_names == tuple(f"{'cd'[i % 2]}/{i}.PNG" for i in order)
    assert dataset.labels["folder"].tolist() == [0] * 5 + [1] * 5
    np.testing.assert_array_equal(dataset.x[5, 0], grey()[1])
    assert data_settings("pics").options == {"path": str(Path("pics").absolute())}


def test_labels_from_a_csv_beside_them():
    for i, picture in enumerate(grey()):
        save(f"{i}.png", picture)
    rows = [f"{i}.png,{'ab'[i % 2]},{i % 3}" for i in range(9)]  # not of 9.png
    Path("pics/labels.csv").write_text("\n".join(["file,kind,hue", *rows]))
    with pytest.warns(DataWarning, match="'kind' are missing in 1 of 10"):
        dataset = load()
    assert dataset.labels["kind"].tolist() == [0, 1] * 4 + [0, -1]
    assert dataset.class_names["hue"] == ("0", "1", "2")
    with pytest.warns(DataWarning, match="'hue'"):
        assert list(load(labels=["hue"]).labels) == ["hue"]
    Path("pics/labels.csv").write_text("name,kind\nother.png,a\n")
    with pytest.raises(DataError, match=r"labels.csv: .*'name'.*'0.png'"):
        load()


def test_grey_coloured_and_transparent_pictures():
    for i, picture in enumerate(grey(9)):
        save(f"{i}.png", picture)
    transparent = np.zeros((8, 8, 4), np.uint8)
    transparent[:4] = [255, 0, 0, 255]
    save("9.png", transparent)
    x = load().x
    assert x.shape == (10, 3, 8, 8)
    assert (x[0] == x[0, :1]).all()
    assert x[9, :, 0, 0].tolist() == [255, 0, 0]
    assert x[9, :, 7, 7].tolist() == [255, 255, 255]


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_pictures_of_16_bits(suffix):
    pictures = grey(dtype=np.uint16)
    for i, picture in enumerate(pictures):
        save(f"{i}.{suffix}", picture)
    np.testing.assert_allclose(load().x[:, 0], pictures / 65535, atol=1e-7)
    assert load(size=4).x.max() <= 1
    save("8 bits.png", grey()[0])
    assert load().x[0, 0, 0, 0] == pictures[0, 0, 0] >> 8


def test_cameras_turn_their_pictures():
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    for i in range(5):
        picture = np.zeros((16, 16, 3), np.uint8)
        picture[:8] = 255  # its top is the left of the scene
        save(f"{i}.jpg", picture, exif=exif, quality=100)
    x = load().x[0, 0]
    assert x[:, 9:].min() > 250
    assert x[:, :7].max() < 5


def test_sizes_are_brought_together_on_request():
    for i, picture in enumerate(grey()):
        save(f"{i}.png", picture)
    save("wide.png", np.zeros((8, 20), np.uint8))
    with pytest.raises(DataError, match=r"8 x 8 of 0.png and 20 x 8 of wide.png.*size"):
        load()
    assert load(size=6).x.shape == (11, 1, 6, 6)


def test_broken_pictures_are_named():
    for i, picture in enumerate(grey()):
        save(f"{i}.png", picture)
    Path("pics/broken.png").write_bytes(Path("pics/0.png").read_bytes()[:50])
    Path("pics/page.jpg").write_text("<html></html>")
    with pytest.raises(DataError, match=r"broken.png: .*skip_broken"):
        load()
    with pytest.warns(DataWarning, match=r"2 broken pictures.*broken.png, page.jpg"):
        assert len(load(skip_broken=True).x) == 10
    np.savez("mine.npz", x=np.zeros((9, 2)))
    with pytest.raises(DataError, match="npz has no option skip_broken"):
        load_dataset(Component(name="file", options={"path": "mine.npz", "skip_broken": True}))


def test_a_folder_without_pictures():
    with pytest.raises(DataError, match=r"pics: .*\.png"):
        load()


def test_pictures_that_other_programs_would_draw_are_refused(monkeypatch):
    started = []
    monkeypatch.setattr(
        "PIL.EpsImagePlugin.Ghostscript", lambda *given, **more: started.append(given)
    )
    save("0.png", grey()[0])
    Path("pics/1.png").write_text(
        "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n"
    )
    with pytest.raises(DataError, match=r"1\.png"):
        load()
    assert not started


@pytest.mark.parametrize("name", ["labels.csv", "1.png"])
def test_pipes_in_a_folder_are_not_waited_on(name):
    save("0.png", grey()[0])
    os.mkfifo(Path("pics", name))
    with pytest.raises(DataError, match=re.escape(name)):
        load()


@pytest.mark.parametrize("side", [2**13, 2**15])
def test_a_picture_that_claims_to_be_huge_is_refused(side):
    save("0.png", grey()[0])
    held = bytearray(Path("pics/0.png").read_bytes())
    held[16:24] = side.to_bytes(4, "big") * 2
    held[29:33] = zlib.crc32(held[12:29]).to_bytes(4, "big")
    Path("pics/0.png").write_bytes(held)
    with pytest.raises(DataError, match=r"0\.png.*(claims|pixels)"):
        load()
