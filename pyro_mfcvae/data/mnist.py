"""MNIST, in torchvision's files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import torch

from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.vision import torchvision_datasets
from pyro_mfcvae.errors import ConfigError, DataError


@register_dataset("mnist")
def mnist(
    data_dir: str | None = None, n_train: int | None = None, n_test: int | None = None
) -> Dataset:
    """Handwritten digits with their published split, grey values in [0, 1].

    Args:
        data_dir: folder that holds ``MNIST/raw``; None takes MFCVAE_DATA, or ``data`` in the
            working folder. What is missing there is downloaded.
        n_train: take the first so many training digits only.
        n_test: take the first so many held-out digits only.

    Returns:
        pictures, uint8 (N, 1, 28, 28), with the label ``digit``.

    Raises:
        DataError: if the files are neither there nor to be downloaded.
        ConfigError: if a number of digits is out of range.
    """
    parts = [_part(data_folder(data_dir), train) for train in (True, False)]
    counts = [
        _count(name, n, len(part.data))
        for (name, n), part in zip((("n_train", n_train), ("n_test", n_test)), parts, strict=True)
    ]
    x = torch.cat([part.data[:n] for part, n in zip(parts, counts, strict=True)]).unsqueeze(1)
    digits = torch.cat([part.targets[:n] for part, n in zip(parts, counts, strict=True)])
    indices = torch.arange(sum(counts))
    names = {"digit": tuple(str(digit) for digit in range(10))}
    return Dataset(
        "mnist", x, indices[: counts[0]], indices[counts[0] :], {"digit": digits.long()}, names
    )


def data_folder(given: str | None) -> Path:
    """The folder of downloaded data: given, or MFCVAE_DATA, or ``data``."""
    return Path(given or os.environ.get("MFCVAE_DATA") or "data").expanduser()


def _part(folder: Path, train: bool) -> Any:
    datasets = torchvision_datasets()
    try:
        return datasets.MNIST(folder, train=train)
    except RuntimeError:
        pass  # files are missing
    try:
        return datasets.MNIST(folder, train=train, download=True)
    except (RuntimeError, OSError, ValueError) as error:
        raise DataError(
            f"MNIST is not in {folder / 'MNIST' / 'raw'} and could not be downloaded there "
            f"({error}). Give the folder that holds MNIST/raw with --data-dir or MFCVAE_DATA; the "
            "four files train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte "
            "and t10k-labels-idx1-ubyte are on yann.lecun.com/exdb/mnist and its mirrors"
        ) from error


def _count(name: str, given: int | None, available: int) -> int:
    if given is None:
        return available
    if not isinstance(given, int) or not 1 <= given <= available:
        raise ConfigError(f"{name} must be from 1 to {available}, got {given}")
    return given
