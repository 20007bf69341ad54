"""MNIST, Fashion-MNIST and SVHN, in torchvision's files; the one place that imports torchvision."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from pyro_mfcvae.data.folders import data_folder
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.registry import register_dataset
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.files import flush

Digits = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class DigitFiles:
    """Where the files of a data set of ten classes are, and how torchvision reads them.

    Attributes:
        read: (torchvision.datasets, data folder, train, download) -> pictures, uint8
            (N, channels, height, width), and their classes, integers (N,).
        label: what the classes are called.
        classes: their names.
        inseparable: whether torchvision reads a part only where the other one's files are, too.
    """

    title: str  # what people call the data set
    folder: str  # where its files lie in the data folder
    train_names: tuple[str, ...]  # of the files with the training part
    test_names: tuple[str, ...]  # of the files with the held-out part
    shape: tuple[int, int, int]  # of a picture, (channels, height, width)
    source: str  # where to get the files
    read: Callable[[ModuleType, Path, bool, bool], Digits]
    label: str = "digit"
    classes: tuple[str, ...] = tuple(map(str, range(10)))
    inseparable: bool = False

    def names(self, train: bool) -> tuple[str, ...]:
        """Names of the files with one part."""
        return self.train_names if train else self.test_names


def _read_mnist(datasets: ModuleType, folder: Path, train: bool, download: bool) -> Digits:
    part = datasets.MNIST(folder, train=train, download=download)
    return part.data.unsqueeze(1), part.targets


def _read_fashion(datasets: ModuleType, folder: Path, train: bool, download: bool) -> Digits:
    part = datasets.FashionMNIST(folder, train=train, download=download)
    return part.data.unsqueeze(1), part.targets


def _read_svhn(datasets: ModuleType, folder: Path, train: bool, download: bool) -> Digits:
    part = datasets.SVHN(folder, split="train" if train else "test", download=download)
    return torch.from_numpy(part.data), torch.from_numpy(part.labels)


MNIST = DigitFiles(
    title="MNIST",
    folder="MNIST/raw",
    train_names=("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    test_names=("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    shape=(1, 28, 28),
    source="http://yann.lecun.com/exdb/mnist and its mirrors",
    read=_read_mnist,
    inseparable=True,
)
FASHION_MNIST = replace(
    MNIST,
    title="Fashion-MNIST",
    folder="FashionMNIST/raw",
    source="https://github.com/zalandoresearch/fashion-mnist",
    read=_read_fashion,
    label="article",
    classes=(
        "T-shirt/top",
        "trouser",
        "pullover",
        "dress",
        "coat",
        "sandal",
        "shirt",
        "sneaker",
        "bag",
        "ankle boot",
    ),
)
SVHN = DigitFiles(
    title="SVHN",
    folder="",
    train_names=("train_32x32.mat",),
    test_names=("test_32x32.mat",),
    shape=(3, 32, 32),
    source="http://ufldl.stanford.edu/housenumbers",
    read=_read_svhn,
)


@register_dataset("mnist")
def mnist(
    data_dir: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    download: bool = True,
) -> Dataset:
    """Handwritten digits with their published split, grey values in [0, 1].

    Args:
        data_dir: folder that holds ``MNIST/raw``; None takes MFCVAE_DATA, or ``data`` in the
            working folder. What is missing there is downloaded.
        n_train: take the first so many training digits only.
        n_test: take the first so many held-out digits only.
        download: what is missing there; False leaves a given data_dir as it is.

    Returns:
        pictures, uint8 (N, 1, 28, 28), with the label ``digit``.

    Raises:
        DataError: if files are missing and cannot be downloaded, or cannot be read, or hold
            something else.
        ConfigError: if a number of digits is out of range.
    """
    return _load_digits("mnist", MNIST, data_dir, n_train, n_test, download)


@register_dataset("fashion-mnist")
def fashion_mnist(
    data_dir: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    download: bool = True,
) -> Dataset:
    """Articles of clothing in the format of MNIST, with the label ``article``.

    H. Xiao et al., "Fashion-MNIST: a Novel Image Dataset for Benchmarking Machine Learning
    Algorithms", 2017. The folder holds ``FashionMNIST/raw``; options and errors are those of
    :func:`mnist`.
    """
    return _load_digits("fashion-mnist", FASHION_MNIST, data_dir, n_train, n_test, download)


@register_dataset("svhn")
def svhn(
    data_dir: str | None = None,
    n_train: int | None = None,
    n_test: int | None = None,
    download: bool = True,
) -> Dataset:
    """Digits of house numbers in photographs, with their published split.

    Y. Netzer et al., "Reading Digits in Natural Images with Unsupervised Feature Learning", NIPS
    Workshop on Deep Learning and Unsupervised Feature Learning, 2011: 73,257 training and 26,032
    held-out pictures, uint8 (N, 3, 32, 32). The folder holds ``train_32x32.mat`` and
    ``test_32x32.mat``; options and errors are those of :func:`mnist`.
    """
    return _load_digits("svhn", SVHN, data_dir, n_train, n_test, download)


def _load_digits(
    name: str,
    files: DigitFiles,
    data_dir: str | None,
    n_train: int | None,
    n_test: int | None,
    download: bool,
) -> Dataset:
    """Pictures with their published split and one label."""
    download = download or data_dir is None
    parts = [_part(files, data_folder(data_dir), train, download) for train in (True, False)]
    counts = [
        check_count(option, n, len(digits))
        for (option, n), (_, digits) in zip(
            (("n_train", n_train), ("n_test", n_test)), parts, strict=True
        )
    ]
    x, digits = (
        torch.cat([values[:n] for values, n in zip(both, counts, strict=True)])
        for both in zip(*parts, strict=True)
    )
    indices = torch.arange(sum(counts))
    labels, names = {files.label: digits.long()}, {files.label: files.classes}
    return Dataset(name, x, indices[: counts[0]], indices[counts[0] :], labels, names)


def _part(files: DigitFiles, folder: Path, train: bool, download: bool) -> Digits:
    needed = [*files.names(train), *(files.names(not train) if files.inseparable else ())]
    paths = [folder / files.folder / name for name in needed]
    missing = [path for path in paths if not os.path.lexists(path)]
    if missing and not download:
        raise DataError(
            f"{files.title} is not complete in {folder / files.folder}, where the settings of the "
            f"run say that it is: {', '.join(path.name for path in missing)} is missing; give a "
            "folder with --data-dir, to which it is downloaded unless it is there"
        )
    if missing:
        _download(files, folder, train, missing)
    try:
        pictures, digits = files.read(torchvision_datasets(), folder, train, False)
        _check(pictures, digits, files.shape)
    except (MemoryError, ImportError):
        raise
    except Exception as error:  # damaged files make torchvision's readers raise almost anything
        names = [str(folder / files.folder / name) for name in files.names(train)]
        raise DataError(
            f"{' and '.join(names)} cannot be read as {files.title} ({str(error) or repr(error)}). "
            "Move what is damaged there away, so that it is downloaded again, or put good files "
            f"from {files.source} in its place, or give another folder with --data-dir or "
            "MFCVAE_DATA"
        ) from error
    return pictures, digits


def _download(files: DigitFiles, folder: Path, train: bool, missing: list[Path]) -> None:
    """Bring the missing files of one part; nothing that is in the folder is written to."""
    target = folder / files.folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        # torchvision writes over files that are there, and leaves half of one behind where the
        # connection breaks.
        with tempfile.TemporaryDirectory(prefix="download-", dir=folder) as name:
            aside = Path(name)
            _copy_archives(files, target, aside / files.folder)
            files.read(torchvision_datasets(), aside, train, True)
            for path in missing:
                if not os.path.lexists(path):  # another process may have been faster
                    flush(aside / files.folder / path.name)
                    (aside / files.folder / path.name).rename(path)
    except (MemoryError, ImportError):
        raise
    except Exception as error:
        raise DataError(
            f"{files.title} is not complete in {target} and cannot be downloaded there "
            f"({str(error) or repr(error)}). What is missing, "
            f"{', '.join(path.name for path in missing)}, is on {files.source}; put it there, or "
            f"give the folder that holds {files.folder or 'it'} with --data-dir or MFCVAE_DATA"
        ) from error


def _copy_archives(files: DigitFiles, source: Path, target: Path) -> None:
    """What a person put there as it is published need not be downloaded."""
    target.mkdir(parents=True, exist_ok=True)
    for name in (*files.train_names, *files.test_names):
        archive = source / f"{name}.gz"
        if archive.is_file():
            shutil.copyfile(archive, target / archive.name)


def _check(pictures: Tensor, digits: Tensor, shape: tuple[int, int, int]) -> None:
    """Raise a DataError unless these are pictures of the shape, each with its digit."""
    n = len(pictures)
    if pictures.dtype != torch.uint8 or n == 0 or pictures.shape[1:] != shape:
        raise DataError(
            f"expected pictures, uint8 of shape (N, {', '.join(map(str, shape))}), at least one, "
            f"got {pictures.dtype} {tuple(pictures.shape)}"
        )
    if digits.shape != (n,):
        raise DataError(
            f"expected a digit for each of {n} pictures, got digits of shape {tuple(digits.shape)}"
        )
    wrong = digits[(digits < 0) | (digits > 9)]
    if len(wrong):
        raise DataError(f"expected digits from 0 to 9, got {int(wrong[0])}")


def check_count(name: str, given: int | None, available: int) -> int:
    """How many of the available pictures to take: all, if no number is given.

    Raises:
        ConfigError: if the number, an option of this name, is not from 1 to all.
    """
    if given is None:
        return available
    if not isinstance(given, int) or not 1 <= given <= available:
        raise ConfigError(f"{name} must be from 1 to {available}, got {given}")
    return given


def torchvision_datasets() -> ModuleType:
    """``torchvision.datasets``, also where only a CPU build of torch is installed.

    torchvision's Linux wheel is linked against CUDA libraries. Beside a CPU-only torch its
    compiled operators do not load, and its import stops at the first one that it looks for.
    None of them is needed to read a data set, so the names are declared first.
    """
    try:
        import torchvision
    except RuntimeError:
        library = torch.library.Library("torchvision", "DEF")
        for name in ("nms", "qnms"):
            library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        import torchvision
    return torchvision.datasets
