"""The user's own data, from an .npz or an HDF5 file."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from pyro_mfcvae.data.arrays import (
    check_column,
    factor_names,
    labels_from_arrays,
    observation_layouts,
)
from pyro_mfcvae.data.hdf5 import Hdf5Rows, open_hdf5, reading
from pyro_mfcvae.data.observations import Dataset, own_split
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import DataError

if TYPE_CHECKING:
    import h5py

_LOADED = 4 * 10**9  # bytes
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


@register_dataset("file")
def file(path: str, test_fraction: float = 0.2, split_seed: int = 0) -> Dataset:
    """Observations and, if there are any, labels of a person's own.

    The ``.npz`` file holds ``x``: rows (N, features), grey pictures (N, height, width), or
    pictures with 1, 3 or 4 channels first or last; uint8 from 0 to 255, or real numbers. Labels
    are optional: ``labels`` (N,) or (N, factors) with ``label_names`` (factors,), or one array
    (N,) under each factor's own name. ``x_test`` fixes the held-out part, which is else drawn at
    random; its labels are ``labels_test``, or follow those of ``x`` in the same array.

    Args:
        path: of the file.
        test_fraction: share that is held out, without ``x_test``.
        split_seed: seed of the random split.

    Raises:
        DataError: if the file is missing, damaged, or its arrays have other shapes or types.
    """
    arrays = _read(Path(path).expanduser())
    layouts = observation_layouts(arrays, path)
    parts = [layout.tensor(arrays[name]) for name, layout in layouts.items()]
    train, test = own_split([len(part) for part in parts], test_fraction, split_seed)
    x = torch.cat(parts) if len(parts) > 1 else parts[0]
    labels, names = labels_from_arrays(arrays, len(x), path)
    return Dataset(Path(path).stem, x, train, test, labels, names)


def _read(path: Path) -> dict[str, np.ndarray]:
    if path.suffix != ".npz":
        raise DataError(
            f"{path}: only .npz files can be read here, write one with numpy.savez (or an .h5 "
            "file, see the data set h5)"
        )
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise ValueError("it holds a single array, as .npy does")
        with opened as archive:
            return {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as .npz ({error})") from error


@register_dataset("h5")
def h5(
    path: str,
    memory: Literal["auto", "stream", "load"] = "auto",
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Observations and, if there are any, labels of a person's own that may exceed the memory.

    The HDF5 file holds arrays of the same names, shapes and types as the ``.npz`` file of the data
    set ``file``; what lies in groups is left alone. Streamed observations are read as they are
    needed. Chunks of about 1 MB, whole in all places but the first, are read fastest. Real numbers
    are read once at the beginning, too: networks and likelihoods depend on their range.

    Args:
        path: of the file.
        memory: ``"load"`` reads all observations into memory, ``"stream"`` none, and ``"auto"``
            loads them if they take up to 4 GB as uint8 or float32.
        test_fraction: share that is held out, without ``x_test``.
        split_seed: seed of the random split.

    Raises:
        DataError: if the file is missing, damaged, or its arrays have other shapes or types.
    """
    place = Path(path).expanduser()
    with open_hdf5(place) as opened:
        arrays = _arrays(opened, place)
        layouts = observation_layouts(arrays, path)
        counts = [len(arrays[name]) for name in layouts]
        n = sum(counts)
        labels, names = labels_from_arrays(_label_arrays(arrays, n, place), n, path)
    rows = Hdf5Rows(place, layouts)
    if memory == "auto":
        memory = "load" if len(rows) * rows.layout.row_bytes <= _LOADED else "stream"
    x = rows.read(np.arange(len(rows))) if memory == "load" else StreamedObservations(rows)
    train, test = own_split(counts, test_fraction, split_seed)
    return Dataset(place.stem, x, train, test, labels, names)


def _arrays(file: h5py.File, path: Path) -> dict[str, h5py.Dataset]:
    """The file's data sets by name, not read; those without any numbers are left out."""
    import h5py

    with reading(path):
        arrays = {name: file[name] for name in file}
        return {
            name: array
            for name, array in arrays.items()
            if isinstance(array, h5py.Dataset) and array.shape is not None
        }


def _label_arrays(arrays: dict[str, h5py.Dataset], n: int, path: Path) -> dict[str, np.ndarray]:
    """All arrays but observations, read; what cannot be labels is refused before it is."""
    import h5py

    for factor in factor_names(arrays):
        check_column(factor, arrays[factor].shape, n, str(path))
    read = {}
    for name, array in arrays.items():
        if name not in ("x", "x_test"):
            with reading(path):
                text = h5py.check_string_dtype(array.dtype) is not None
                read[name] = np.asarray(array.asstr()[()], dtype=str) if text else array[()]
    return read
