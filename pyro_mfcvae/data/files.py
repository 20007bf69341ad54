"""A person's own data, from a file of any format; the format ``.npz``."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, cast

import numpy as np
import torch

from pyro_mfcvae.data.arrays import labels_from_arrays, observation_layouts
from pyro_mfcvae.data.formats import FORMATS, Format, find_format
from pyro_mfcvae.data.observations import Dataset, Observations, own_split
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import DataError

_LOADED = 4 * 10**9  # bytes
_UNREADABLE = (OSError, ValueError, TypeError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)


@register_dataset("h5")  # as settings of earlier runs have it
@register_dataset("file")
def file(
    path: str,
    memory: Literal["auto", "stream", "load"] = "auto",
    test_fraction: float = 0.2,
    split_seed: int = 0,
) -> Dataset:
    """Observations and, if there are any, labels of a person's own.

    The file holds ``x``: rows (N, features), grey pictures (N, height, width), or pictures with 1,
    3 or 4 channels first or last; uint8 from 0 to 255, or real numbers. Labels are optional:
    ``labels`` (N,) or (N, factors) with ``label_names`` (factors,), or one array (N,) under each
    factor's own name. ``x_test`` fixes the held-out part, which is else drawn at random; its labels
    are ``labels_test``, or follow those of ``x`` in the same array.

    An HDF5 file may exceed the memory: streamed observations are read as they are needed. Chunks of
    about 1 MB, whole in all places but the first, are read fastest. Real numbers are read once at
    the beginning, too: networks and likelihoods depend on their range. What lies in groups is left
    alone.

    Args:
        path: of the file.
        memory: ``"load"`` reads all observations into memory, ``"stream"`` none, and ``"auto"``
            streams those of a format that allows it if they take more than 4 GB as uint8 or
            float32.
        test_fraction: share that is held out, without ``x_test``.
        split_seed: seed of the random split.

    Raises:
        DataError: if the file is missing, damaged, or of another format, or its arrays have other
            shapes or types.
    """
    place = Path(path).expanduser()
    known = find_format(place)
    arrays = known.read(place)
    layouts = observation_layouts(arrays, path)
    counts = [len(arrays[name]) for name in layouts]
    labels, names = labels_from_arrays(cast(Mapping[str, np.ndarray], arrays), sum(counts), path)
    x: Observations
    if known.rows is not None:
        rows = known.rows(place, layouts)
        is_large = len(rows) * rows.layout.row_bytes > _LOADED
        is_streamed = memory == "stream" or (memory == "auto" and is_large)
        x = StreamedObservations(rows) if is_streamed else rows.read(np.arange(len(rows)))
    elif memory == "stream":
        raise DataError(f"{path}: {known.name} files are read whole; set memory to load or auto")
    else:
        parts = [layout.tensor(np.asarray(arrays[name])) for name, layout in layouts.items()]
        x = torch.cat(parts) if len(parts) > 1 else parts[0]
    train, test = own_split(counts, test_fraction, split_seed)
    return Dataset(place.stem, x, train, test, labels, names)


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        opened = np.load(path, allow_pickle=False)
        if isinstance(opened, np.ndarray):
            raise ValueError("it holds a single array, as .npy does")
        with opened as archive:
            return {name: archive[name] for name in archive.files}
    except _UNREADABLE as error:
        raise DataError(f"{path}: cannot be read as .npz ({error})") from error


FORMATS.add(Format("npz", (".npz",), "arrays by name, of numpy.savez", _read_npz))
