"""MNIST, in torchvision's files."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.data.vision import DigitFiles, Digits, load_digits


def _read(datasets: ModuleType, folder: Path, train: bool, download: bool) -> Digits:
    part = datasets.MNIST(folder, train=train, download=download)
    return part.data.unsqueeze(1), part.targets


FILES = DigitFiles(
    title="MNIST",
    folder="MNIST/raw",
    train_names=("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    test_names=("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    shape=(1, 28, 28),
    source="http://yann.lecun.com/exdb/mnist and its mirrors",
    read=_read,
    inseparable=True,
)


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
        DataError: if files are missing and cannot be downloaded, or cannot be read, or hold
            something else.
        ConfigError: if a number of digits is out of range.
    """
    return load_digits("mnist", FILES, data_dir, n_train, n_test)
