"""Street View House Numbers, in torchvision's files."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import torch

from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.vision import DigitFiles, Digits, load_digits


def _read(datasets: ModuleType, folder: Path, train: bool, download: bool) -> Digits:
    part = datasets.SVHN(folder, split="train" if train else "test", download=download)
    return torch.from_numpy(part.data), torch.from_numpy(part.labels)


FILES = DigitFiles(
    title="SVHN",
    folder="",
    train_names=("train_32x32.mat",),
    test_names=("test_32x32.mat",),
    shape=(3, 32, 32),
    source="http://ufldl.stanford.edu/housenumbers",
    read=_read,
)


@register_dataset("svhn")
def svhn(
    data_dir: str | None = None, n_train: int | None = None, n_test: int | None = None
) -> Dataset:
    """Digits of house numbers in photographs, with their published split.

    Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS
    Workshop on Deep Learning and Unsupervised Feature Learning, 2011: 73,257 training and 26,032
    held-out pictures.

    Args:
        data_dir: folder that holds ``train_32x32.mat`` and ``test_32x32.mat``; None takes
            MFCVAE_DATA, or ``data`` in the working folder. What is missing there is
            downloaded.
        n_train: take the first so many training digits only.
        n_test: take the first so many held-out digits only.

    Returns:
        pictures, uint8 (N, 3, 32, 32), with the label ``digit``.

    Raises:
        DataError: if files are missing and cannot be downloaded, or cannot be read, or hold
            something else.
        ConfigError: if a number of digits is out of range.
    """
    return load_digits("svhn", FILES, data_dir, n_train, n_test)
