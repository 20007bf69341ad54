"""A person's own data, from a file of any format."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from pyro_mfcvae.data import folder, h5ad, hdf5, npz  # noqa: F401  (they register)
from pyro_mfcvae.data.arrays import (
    MISSING,
    Layout,
    Shaped,
    categories_from_arrays,
    labels_from_arrays,
    names_from_arrays,
    observation_layouts,
)
from pyro_mfcvae.data.formats import Format, find_format
from pyro_mfcvae.data.observations import Dataset, Observations, own_split
from pyro_mfcvae.data.pictures import Size
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.data.tables import Decimal, Separator
from pyro_mfcvae.errors import DataError, DataWarning

AS_WRITTEN = ("size", "skip_broken", "separator", "decimal", "categories")
"""Options that say how to read files of some formats."""

_LOADED = 4 * 10**9  # bytes


@register_dataset("h5")  # as settings of earlier runs have it
@register_dataset("file")
def file(
    path: str,
    memory: Literal["auto", "stream", "load"] = "auto",
    test_fraction: float = 0.2,
    split_seed: int = 0,
    labels: list[str] | None = None,
    size: Size | None = None,
    skip_broken: bool | None = None,
    separator: Separator | None = None,
    decimal: Decimal | None = None,
    categories: list[str] | None = None,
) -> Dataset:
    """Observations and, if there are any, labels of a person's own.

    The file holds ``x``: rows (N, features), grey pictures (N, height, width), or pictures with 1,
    3 or 4 channels first or last; uint8 from 0 to 255, or real numbers. Pictures of 16 bits
    (uint16) become fractions of 65,535. Labels are optional: ``labels`` (N,) or (N, factors) with
    ``label_names`` (factors,), or one array (N,) under each factor's own name. ``x_test`` fixes the
    held-out part, which is else drawn at random; its labels are ``labels_test``, or follow those of
    ``x`` in the same array. ``feature_names`` (features,) and ``row_names`` (N,) name columns and
    observations. ``category_names`` (n, 2) has pairs of a column's name and a category: the values
    of such a column number its categories, in this order, from 0.

    A file of HDF5 or ``.npy`` may exceed the memory: streamed observations are read as they are
    needed. HDF5's chunks of about 1 MB, whole in all places but the first, are read fastest. Real
    numbers are read once at the beginning, too: networks and likelihoods depend on their range.
    What lies in groups is left alone.

    A table is a file with names of columns. Columns of numbers are observations, those of text are
    labels, unless labels or categories are given by name. A folder holds pictures, whose labels are
    the names of its sub-folders or columns of a CSV beside them.

    Args:
        path: of the file or folder.
        memory: ``"load"`` reads all observations into memory, ``"stream"`` none, and ``"auto"``
            streams those of a format that allows it if they take more than 4 GB as uint8 or
            float32.
        test_fraction: share that is held out, without ``x_test``.
        split_seed: seed of the random split.
        labels: names of the columns or arrays that are labels; None takes all that can be.
        size: height and width that pictures of a folder are cut and resized to.
        skip_broken: leave out pictures of a folder that cannot be read.
        separator: of columns in a CSV or TSV; None tells it by the file's first lines.
        decimal: sign before the fraction of numbers there; None tells it likewise.
        categories: names of columns of a table that are categories: their texts are trained on.

    Raises:
        DataError: if the file is missing, damaged, or of another format, or its arrays have other
            shapes or types.
    """
    place = Path(path).expanduser()
    known = find_format(place)
    given = {"size": size, "skip_broken": skip_broken, "separator": separator, "decimal": decimal}
    options = options_of(known, path, labels=labels, categories=categories, **given)
    arrays = known.read(place, **options)
    if known.rows is None and memory == "stream":
        raise DataError(f"{path}: {known.name} files are read whole; set memory to load or auto")
    x = observations_in(known, arrays, path, memory)
    return dataset_from_arrays(
        arrays, place.stem, path, test_fraction, split_seed, labels=labels, x=x
    )


def observations_in(
    known: Format,
    arrays: Mapping[str, Shaped],
    path: str,
    memory: Literal["auto", "stream", "load"],
) -> Observations:
    """All observations of a file, those of ``x`` and then those of ``x_test``.

    Args:
        known: its format.
        arrays: read or not.
        path: of the file.
        memory: as for :func:`file`; a format without rows is loaded.

    Raises:
        DataError: if arrays have other shapes or types.
    """
    layouts = observation_layouts(arrays, path)
    if known.rows is None:
        return _loaded(arrays, layouts)
    rows = known.rows(Path(path).expanduser(), layouts)
    is_large = len(rows) * rows.layout.row_bytes > _LOADED
    is_streamed = memory == "stream" or (memory == "auto" and is_large)
    return StreamedObservations(rows) if is_streamed else rows.read(np.arange(len(rows)))


def _loaded(arrays: Mapping[str, Shaped], layouts: Mapping[str, Layout]) -> Tensor:
    parts = [layout.tensor(np.asarray(arrays[part])) for part, layout in layouts.items()]
    return torch.cat(parts) if len(parts) > 1 else parts[0]


def dataset_from_arrays(
    arrays: Mapping[str, Shaped],
    name: str,
    path: str,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    *,
    labels: Sequence[str] | None = None,
    x: Observations | None = None,
) -> Dataset:
    """Observations, labels and names from arrays by name, as a file holds them.

    Args:
        arrays: read or not.
        name: of the data set.
        path: of the file, for messages.
        test_fraction: share that is held out, without ``x_test``.
        split_seed: seed of the random split.
        labels: those arrays that are labels; None takes all that can be.
        x: the observations, if they are read already.

    Raises:
        DataError: if arrays have other shapes or types.
    """
    layouts = observation_layouts(arrays, path)
    counts = [len(arrays[part]) for part in layouts]
    features = names_from_arrays(arrays, "feature_names", layouts["x"].event[-1], path)
    row_names = names_from_arrays(arrays, "row_names", sum(counts), path)
    categories = categories_from_arrays(arrays, features, path)
    factors, names = labels_from_arrays(arrays, sum(counts), path, labels)
    if x is None:
        x = _loaded(arrays, layouts)
    train, test = own_split(counts, test_fraction, split_seed)
    for factor in list(factors):
        if not all((factors[factor][part] != MISSING).any() for part in (train, test)):
            del factors[factor]
            warnings.warn(
                f"{path}: labels {factor!r} are missing in all training or all held-out rows; they "
                "are left out",
                DataWarning,
                stacklevel=2,
            )
    return Dataset(name, x, train, test, factors, names, None, features, row_names, categories)


def options_of(known: Format, path: str, **given: object) -> dict[str, object]:
    """Those options that reading this format takes; a DataError for one that it has no use for."""
    given = {name: value for name, value in given.items() if value is not None}
    if unknown := given.keys() - {"labels", *known.options}:
        raise DataError(f"{path}: {known.name} has no option {', '.join(sorted(unknown))}")
    return {name: value for name, value in given.items() if name in known.options}
