"""Where published data sets are looked for, and where arrays made of them are kept."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from pyro_mfcvae.errors import DataError
from pyro_mfcvae.files import replacing


def data_folder(given: str | None) -> Path:
    """The folder of downloaded data: given, or MFCVAE_DATA, or ``data``."""
    return Path(given or os.environ.get("MFCVAE_DATA") or "data").expanduser()


def cache_folder() -> Path:
    """Where derived files are kept: MFCVAE_CACHE, or the system's cache folder for the user."""
    given = os.environ.get("MFCVAE_CACHE")
    return Path(given) if given else user_cache_path("pyro_mfcvae")


def memoise(
    name: str, key: object, shape: Sequence[int], make: Callable[[], Iterable[np.ndarray]]
) -> np.ndarray:
    """An array, uint8, from the cache folder, which is made first if it is not there or damaged.

    It stays in its file, of which the system holds in memory what is used; what is written to it
    does not reach the file. The file begins with the name; the key is all that it depends on, as
    JSON can hold it; ``make`` returns the array in parts along its first place.

    Raises:
        DataError: if the cache folder cannot hold it.
    """
    digest = hashlib.blake2b(json.dumps(key).encode(), digest_size=8).hexdigest()
    path, shape = cache_folder() / f"{name}-{digest}.npy", tuple(shape)
    with suppress(OSError, ValueError, EOFError):
        array = np.load(path, mmap_mode="c")  # PyTorch wants arrays that can be written to
        if array.shape == shape and array.dtype == np.uint8:
            return array
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for part in make():
                file.write(part.tobytes())
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot hold the pictures ({error}); name a folder with "
            f"{np.prod(shape) / 1e9:.1f} GB of room with MFCVAE_CACHE"
        ) from error
    return np.load(path, mmap_mode="c")
