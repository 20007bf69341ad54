"""AnnData's files: cells in ``X``, dense or sparse, and what is known of them in ``obs``."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyro_mfcvae.data.arrays import RESERVED, Shaped
from pyro_mfcvae.data.formats import FORMATS, Format, check_claim, reading
from pyro_mfcvae.data.hdf5 import check_own, open_hdf5
from pyro_mfcvae.errors import DataError, DataWarning

if TYPE_CHECKING:
    import h5py


def _read_h5ad(path: Path, labels: Sequence[str] | None = None) -> Mapping[str, Shaped]:
    """``X`` as observations, names of cells and genes, and the columns of ``obs`` that are labels.

    Without ``labels`` these are the columns of categories, text and booleans.
    """
    with open_hdf5(path) as file, reading(path, "AnnData"):
        x = _read_matrix(_member(file, "X", path), path)
        obs, var = (_member(file, part, path) for part in ("obs", "var"))
        arrays: dict[str, Shaped] = {
            "x": x,
            "row_names": _read_column(obs, obs.attrs["_index"], path),
            "feature_names": _read_column(var, var.attrs["_index"], path),
        }
        columns = [str(name) for name in obs.attrs["column-order"]]
        for name in columns if labels is None else [name for name in columns if name in labels]:
            column = _read_column(obs, name, path)
            if name in RESERVED:
                raise DataError(f"{path}: obs[{name!r}] has a name that is taken; rename it")
            if labels is not None or column.dtype.kind in "Ob":
                arrays[name] = column
    if left := [name for name in columns if name not in arrays]:
        told = f"{path}: columns of obs are left out: {', '.join(left)}"
        warnings.warn(told, DataWarning, stacklevel=2)
    return arrays


def _member(group: h5py.Group, name: str, path: Path) -> Any:
    """A group or data set, which must lie in this file."""
    import h5py

    if not isinstance(group.get(name, getlink=True), h5py.HardLink):
        raise DataError(f"{path}: has no {name!r} of its own, as AnnData's files have")
    found = group[name]
    if isinstance(found, h5py.Dataset):
        check_own(found, name, path)
    return found


def _read_matrix(x: Any, path: Path) -> np.ndarray:
    """Observations (N, features) from a data set, or from a sparse matrix by rows or columns."""
    import h5py
    from scipy.sparse import csc_matrix, csr_matrix

    if isinstance(x, h5py.Dataset):
        return np.asarray(x[()])
    kinds = {"csr_matrix": csr_matrix, "csc_matrix": csc_matrix}
    shape = tuple(int(size) for size in x.attrs["shape"])
    parts = [_member(x, name, path) for name in ("data", "indices", "indptr")]
    stored = sum(part.id.get_storage_size() for part in parts)
    check_claim("X", 4 * shape[0] * shape[1], stored, path)
    matrix = kinds[x.attrs["encoding-type"]](tuple(part[()] for part in parts), shape=shape)
    matrix.check_format()
    return matrix.astype(np.float32).toarray()


def _read_column(group: h5py.Group, name: str, path: Path) -> np.ndarray:
    """A column of numbers, booleans or text; what is missing is None."""
    import h5py

    column = _member(group, name, path)
    if isinstance(column, h5py.Dataset):
        is_text = h5py.check_string_dtype(column.dtype) is not None
        return column.asstr()[()] if is_text else np.asarray(column[()])
    if "codes" in column:
        codes, categories = (_read_column(column, part, path) for part in ("codes", "categories"))
        return np.array([*categories.tolist(), None], dtype=object)[codes]  # -1 is the last
    values, mask = (_read_column(column, part, path) for part in ("values", "mask"))
    filled = values.astype(object)
    filled[mask] = None
    return filled


FORMATS.add(Format("AnnData", (".h5ad",), "cells by genes, of the package anndata", _read_h5ad))
