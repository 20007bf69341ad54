"""CelebA: faces of celebrities with forty attributes, in torchvision's layout.

torchvision's own class takes a folder only if five text files, of which two are needed here, have
the published checksums; the same files are read here without it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from pyro_mfcvae.data.folders import data_folder, memoise
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.pictures import Size, resize
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.vision import check_count
from pyro_mfcvae.errors import DataError

FOLDER, PICTURES = "celeba", "img_align_celeba"
ATTRIBUTES, PARTITION = "list_attr_celeba.txt", "list_eval_partition.txt"
SOURCE = (
    'the page "Large-scale CelebFaces Attributes (CelebA) Dataset" '
    "(https://mmlab.ie.cuhk.edu.hk/projects/CelebA.html)"
)
WIDTH = 178  # of the published pictures; they are 218 high
Crop = Annotated[int, Field(ge=4, le=WIDTH, strict=True)]
_TRAIN, _VALIDATION, _TEST = 0, 1, 2  # as the partition's file has them
_CACHE_VERSION = 1  # counts up when pictures are cut or resized otherwise
_AT_ONCE = 256  # pictures


@register_dataset("celeba")
def celeba(
    data_dir: str | None = None,
    size: Size = 64,
    crop: Crop = 148,
    n_train: int | None = None,
    n_test: int | None = None,
) -> Dataset:
    """Aligned faces with their published split; its validation part is left out.

    From every picture, 178 wide and 218 high, a square is cut around the centre and resized
    bilinearly: 148 and 64 pixels are customary. What comes out is kept in the cache folder
    (MFCVAE_CACHE), 2.2 GB at 64 pixels, and stays in its file, of which the system holds in memory
    what is used.

    Args:
        data_dir: folder that holds ``celeba`` with ``img_align_celeba/*.jpg``,
            ``list_attr_celeba.txt`` and ``list_eval_partition.txt``; None takes MFCVAE_DATA, or
            ``data`` in the working folder. Nothing is downloaded.
        size: height and width of the pictures in pixels.
        crop: side of the square, in pixels of the published pictures.
        n_train: take the first so many training pictures only.
        n_test: take the first so many held-out pictures only.

    Returns:
        pictures, uint8 (N, 3, size, size), with a label "no" or "yes" for each attribute.

    Raises:
        DataError: if files are missing, damaged, or hold something else, or the cache folder
            cannot hold the pictures.
        ConfigError: if a number of pictures is out of range.
    """
    folder = data_folder(data_dir) / FOLDER
    _check_complete(folder)
    names, factors, values = _attributes(folder / ATTRIBUTES)
    part = _partition(folder / PARTITION, names)
    counts, rows = [], []
    for option, given, wanted in (("n_train", n_train, _TRAIN), ("n_test", n_test, _TEST)):
        found = np.flatnonzero(part == wanted)
        counts.append(check_count(option, given, len(found)))
        rows.append(found[: counts[-1]])
    chosen = np.concatenate(rows)
    x = _pictures(folder / PICTURES, [names[row] for row in chosen], size, crop)
    labels = {
        factor: torch.from_numpy(column)
        for factor, column in zip(factors, values[chosen].T.copy(), strict=True)
    }
    places = torch.arange(len(chosen))
    class_names: dict[str, tuple[str, ...]] = dict.fromkeys(factors, ("no", "yes"))
    return Dataset("celeba", x, places[: counts[0]], places[counts[0] :], labels, class_names)


def _check_complete(folder: Path) -> None:
    missing = [name for name in (ATTRIBUTES, PARTITION) if not (folder / name).is_file()]
    if not (folder / PICTURES).is_dir():
        missing.append(f"{PICTURES} (a folder: {PICTURES}.zip unpacked)")
    if missing:
        raise DataError(
            f"CelebA is not complete: {folder} lacks {', '.join(missing)}. Get it from "
            f"{SOURCE}, and give the folder that holds {FOLDER} with --data-dir or MFCVAE_DATA"
        )


def _attributes(path: Path) -> tuple[list[str], list[str], np.ndarray]:
    """Names of the pictures (N,), of the attributes (M,), and labels 0 or 1, int64 (N, M)."""
    lines = _lines(path)  # the first one counts the pictures
    rows = [line for line in lines[2:] if line]
    if not rows:
        raise _wrong(path, "a line of attributes and one for each picture", "less than three lines")
    factors = lines[1]
    for row in rows:
        if len(row) != len(factors) + 1 or not {"-1", "1"}.issuperset(row[1:]):
            expected = f"a picture's name and -1 or 1 for each of {len(factors)} attributes"
            raise _wrong(path, expected, " ".join(row))
    values = np.array([row[1:] for row in rows]) == "1"
    return [row[0] for row in rows], factors, values.astype(np.int64)


def _partition(path: Path, names: Sequence[str]) -> np.ndarray:
    """Which part each of the named pictures (N,) is in, (N,)."""
    parts = {row[0]: " ".join(row[1:]) for row in _lines(path) if row}
    known = {str(part): part for part in (_TRAIN, _VALIDATION, _TEST)}
    for name in names:
        if parts.get(name) not in known:
            expected = f"0, 1 or 2 for every picture in {ATTRIBUTES}"
            raise _wrong(path, expected, f"{name} {parts.get(name, 'nowhere')}")
    return np.array([known[parts[name]] for name in names])


def _lines(path: Path) -> list[list[str]]:
    """The words of each line."""
    try:
        return [line.split() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}); get it anew from {SOURCE}") from error


def _wrong(path: Path, expected: str, got: str) -> DataError:
    return DataError(f"{path}: expected {expected}, got {got[:60]!r}; get it anew from {SOURCE}")


def _pictures(folder: Path, names: Sequence[str], size: int, crop: int) -> Tensor:
    """Pictures by their names (N,), uint8 (N, 3, size, size), from the cache folder."""
    missing = sorted(set(names).difference(entry.name for entry in os.scandir(folder)))
    if missing:
        raise DataError(
            f"{folder}: {len(missing)} of {len(names)} pictures are missing, the first is "
            f"{missing[0]}; unpack {PICTURES}.zip from {SOURCE} there"
        )
    changed = folder.stat().st_mtime_ns
    pictures = memoise(
        "celeba",
        [_CACHE_VERSION, str(folder.resolve()), changed, size, crop, *names],
        (len(names), 3, size, size),
        lambda: _read(folder, names, size, crop),
    )
    return torch.from_numpy(pictures)


def _read(folder: Path, names: Sequence[str], size: int, crop: int) -> Iterator[np.ndarray]:
    """Pictures, some at a time, uint8 (n, 3, size, size); tells on a terminal how far it is."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    starts = range(0, len(names), _AT_ONCE)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for start in track(
            starts, "decoding CelebA, once", console=console, disable=not console.is_terminal
        ):
            some = names[start : start + _AT_ONCE]
            squares = list(pool.map(lambda name: _square(folder / name, crop), some))
            yield resize(torch.from_numpy(np.stack(squares)).movedim(-1, 1), size).numpy()


def _square(path: Path, crop: int) -> np.ndarray:
    """The middle of a picture, uint8 (crop, crop, 3)."""
    from PIL import Image

    try:
        with Image.open(path) as picture:
            left, top = ((side - crop) // 2 for side in picture.size)
            if min(left, top) < 0:
                raise ValueError(f"it is {picture.size}, smaller than a square of {crop} pixels")
            return np.asarray(picture.convert("RGB").crop((left, top, left + crop, top + crop)))
    except (OSError, ValueError, SyntaxError) as error:  # whatever PIL's readers raise
        raise DataError(
            f"{path} cannot be read as a picture of CelebA ({error}); get it anew from {SOURCE}"
        ) from error
