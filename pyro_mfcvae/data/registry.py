"""Names of data sets, and loading one from its settings."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from pyro_mfcvae.config import Component
from pyro_mfcvae.config.options import check_options
from pyro_mfcvae.data.formats import suffixes
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.piped import keep_standard_input
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.registry import Registry, unknown

Loader = Callable[..., Dataset]

DATASETS: Registry[Loader] = Registry("data set")

register_dataset = DATASETS.register
"""Decorator: make a function of keyword options that returns a Dataset known by name."""


def load_dataset(settings: Component) -> Dataset:
    """The data set that the settings name.

    Raises:
        ConfigError: if the name or an option is unknown.
        DataError: if its files are missing or hold something else.
    """
    loader = _find_loader(settings.name)
    check_options(loader, settings.options, f"data set {settings.name!r}")
    return loader(**settings.options)


def reads_files(name: str) -> bool:
    """Whether a data set is known and has files, so that they can lie in another folder."""
    if name not in DATASETS:
        return False
    return not {"data_dir", "path"}.isdisjoint(inspect.signature(DATASETS[name]).parameters)


def in_folder(settings: Component, folder: Path | str) -> Component:
    """Settings of the same data set with its files in this folder.

    Raises:
        ConfigError: if the data set is unknown, or has no files.
    """
    loader = _find_loader(settings.name)
    folder = _from_anywhere(folder)
    options = inspect.signature(loader).parameters
    if "data_dir" in options:
        moved = {"data_dir": str(folder)}
    elif "path" in options:
        moved = {"path": str(folder / Path(str(settings.options.get("path", ""))).name)}
    else:
        raise ConfigError(f"data set {settings.name!r} reads no files; leave the data folder out")
    return replace(settings, options={**settings.options, **moved})


def as_it_is(settings: Component) -> Component:
    """Settings of the same data set that download nothing into a folder which they name."""
    if "download" not in inspect.signature(_find_loader(settings.name)).parameters:
        return settings
    return replace(settings, options={**settings.options, "download": False})


def data_settings(text: str) -> Component:
    """Settings of the data set that a person named: a registered name, a path, or ``-``.

    Raises:
        DataError: if ``-``, the standard input, has no table.
    """
    if text == "-":
        return Component(name="file", options={"path": str(keep_standard_input())})
    if text not in DATASETS and ("." in text or "/" in text or Path(text).is_dir()):
        return Component(name="file", options={"path": str(_from_anywhere(text))})
    return Component(name=text)


def _from_anywhere(path: Path | str) -> Path:
    """The path from any working folder. A link stays: it may lead to a file without a suffix."""
    return Path(os.path.abspath(Path(path).expanduser()))


def _find_loader(name: str) -> Loader:
    if name not in DATASETS:
        raise unknown(
            "data set",
            name,
            sorted(DATASETS),
            f"'file' with the option path ({', '.join(suffixes())})",
        )
    return DATASETS[name]
