"""Pictures of digits in torchvision's files; the one place that imports torchvision."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.errors import ConfigError, DataError

Digits = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class DigitFiles:
    """Where the files of a data set of digits are, and how torchvision reads them.

    Attributes:
        title: what people call the data set.
        folder: where its files lie in the data folder.
        names: of the files.
        source: where to get them.
        read: (torchvision.datasets, data folder, train, download) -> pictures, uint8
            (N, channels, height, width), and their digits, integers (N,).
    """

    title: str
    folder: str
    names: tuple[str, ...]
    source: str
    read: Callable[[ModuleType, Path, bool, bool], Digits]


def load_digits(
    name: str, files: DigitFiles, data_dir: str | None, n_train: int | None, n_test: int | None
) -> Dataset:
    """Pictures with their published split and the label ``digit``.

    Args:
        name: of the data set.
        files: where it is.
        data_dir: the data folder; None takes MFCVAE_DATA, or ``data`` in the working folder.
        n_train: take the first so many training digits only.
        n_test: take the first so many held-out digits only.

    Raises:
        DataError: if the files are neither to be read nor to be downloaded.
        ConfigError: if a number of digits is out of range.
    """
    parts = [_part(files, data_folder(data_dir), train) for train in (True, False)]
    counts = [
        _count(option, n, len(digits))
        for (option, n), (_, digits) in zip(
            (("n_train", n_train), ("n_test", n_test)), parts, strict=True
        )
    ]
    x, digits = (
        torch.cat([values[:n] for values, n in zip(both, counts, strict=True)])
        for both in zip(*parts, strict=True)
    )
    indices = torch.arange(sum(counts))
    labels, names = {"digit": digits.long()}, {"digit": tuple(str(digit) for digit in range(10))}
    return Dataset(name, x, indices[: counts[0]], indices[counts[0] :], labels, names)


def data_folder(given: str | None) -> Path:
    """The folder of downloaded data: given, or MFCVAE_DATA, or ``data``."""
    return Path(given or os.environ.get("MFCVAE_DATA") or "data").expanduser()


def _part(files: DigitFiles, folder: Path, train: bool) -> Digits:
    datasets = torchvision_datasets()
    # Damaged files make torchvision's readers raise almost anything.
    try:
        return files.read(datasets, folder, train, False)
    except Exception:
        pass  # missing or damaged
    try:
        return files.read(datasets, folder, train, True)
    except Exception as error:
        raise DataError(
            f"{files.title} can neither be read from {folder / files.folder} nor downloaded there "
            f"({str(error) or repr(error)}). Its files {', '.join(files.names)} are on "
            f"{files.source}; put them there, in place of damaged ones, or give the folder that "
            f"holds {files.folder or 'them'} with --data-dir or MFCVAE_DATA"
        ) from error


def _count(name: str, given: int | None, available: int) -> int:
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
