"""HDF5 files for tests, and what is read from them."""

from __future__ import annotations

import h5py
import numpy as np

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset


def write(path="my.h5", storage=None, **arrays):
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            if name in ("x", "x_test"):
                file.create_dataset(name, data=array, **(storage or {}))
            else:
                file[name] = array
    return path


def load(path="my.h5", memory="stream", **options):
    options |= {"path": str(path), "memory": memory}
    return load_dataset(Component(name="h5", options=options))


def integers(*shape, seed=0, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, shape).astype(dtype)


def numbered(n, chunk, path="numbered.h5"):
    """Streamed observations (n, 1) whose values are their rows."""
    write(path, {"chunks": (chunk, 1)}, x=np.arange(n, dtype=np.float32)[:, None])
    return load(path).x
