"""Figures and arrays on disk, whole or not at all."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def save_figure(path: Path, figure: Figure) -> None:
    """Write a figure as PNG, at 130 dots per inch."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    write_whole(path, content.getvalue())


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``.npz``."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue())


def check_target(path: Path, suffix: str) -> None:
    """Raise a ConfigError if no file with this suffix can be written there."""
    if path.suffix != suffix:
        raise ConfigError(f"{path}: expected a name that ends in {suffix}, got {path.name!r}")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the name of a file")
    if not path.parent.is_dir():
        raise ConfigError(f"{path} cannot be written: there is no folder {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise ConfigError(f"{path} cannot be written: the folder {path.parent} is read-only")
