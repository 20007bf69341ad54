"""Figures and arrays on disk, whole or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.files import write_whole

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_LEFT_OUT = "left-out.json"


def save_figure(path: Path, figure: Figure, details: str = "") -> None:
    """Write a figure as PNG, at 130 dots per inch.

    Args:
        path: of the file.
        figure: to be drawn.
        details: on what it shows, for captions; kept in the file.
    """
    content = io.BytesIO()
    metadata = {"Description": details} if details else None
    figure.savefig(content, format="png", dpi=130, metadata=metadata)
    write_whole(path, content.getvalue())


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``.npz``."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write_whole(path, content.getvalue())


def save_left_out(folder: Path, reasons: Mapping[str, str]) -> None:
    """Write which figures a folder lacks, and why; nothing where it lacks none."""
    path = folder / _LEFT_OUT
    if reasons:
        write_whole(path, json.dumps(reasons, indent=2) + "\n")
    else:
        path.unlink(missing_ok=True)


def left_out(folder: Path) -> dict[str, str]:
    """Which figures a folder lacks, and why.

    Raises:
        ValueError: if the file that says so is damaged.
    """
    path = folder / _LEFT_OUT
    reasons = json.loads(path.read_text()) if path.exists() else {}
    if not isinstance(reasons, dict):
        raise ValueError(f"{path} has no JSON object")
    return {str(name): str(reason) for name, reason in reasons.items()}


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
