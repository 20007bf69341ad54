"""A person's own data, from a file of any format."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from pyro_mfcvae.data import hdf5, npz  # noqa: F401  (they register)
from pyro_mfcvae.data.arrays import labels_from_arrays, names_from_arrays, observation_layouts
from pyro_mfcvae.data.formats import find_format
from pyro_mfcvae.data.observations import Dataset, Observations, own_split
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import DataError, DataWarning

_LOADED = 4 * 10**9  # bytes


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
    3 or 4 channels first or last; uint8 from 0 to 255, or real numbers. Pictures of 16 bits
    (uint16) become fractions of 65,535. Labels are optional: ``labels`` (N,) or (N, factors) with
    ``label_names`` (factors,), or one array (N,) under each factor's own name. ``x_test`` fixes the
    held-out part, which is else drawn at random; its labels are ``labels_test``, or follow those of
    ``x`` in the same array. ``feature_names`` (features,) and ``row_names`` (N,) name columns and
    observations.

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
    features = names_from_arrays(arrays, "feature_names", layouts["x"].event[-1], path)
    row_names = names_from_arrays(arrays, "row_names", sum(counts), path)
    labels, names = labels_from_arrays(arrays, sum(counts), path)
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
    for factor in list(labels):
        if not all((labels[factor][part] >= 0).any() for part in (train, test)):
            del labels[factor]
            warnings.warn(
                f"{path}: labels {factor!r} are missing in all training or all held-out rows; they "
                "are left out",
                DataWarning,
                stacklevel=2,
            )
    return Dataset(place.stem, x, train, test, labels, names, None, features, row_names)
