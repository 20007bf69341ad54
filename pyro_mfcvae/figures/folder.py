"""Figures and arrays on disk, whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyro_mfcvae.figures.png import as_png
from pyro_mfcvae.figures.registry import expand_figures, file_name
from pyro_mfcvae.figures.seen import Recorded, Seen
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.training.say import Say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_LEFT_OUT = "left-out.json"


def draw_figures(folder: Path, recorded: Recorded, say: Say = lambda _: None) -> list[Path]:
    """Draw all registered figures of a run that can be made from what is given.

    Args:
        folder: that they go into; it is made where it is missing.
        recorded: a :class:`Seen`, or what was written down of a run only.
        say: is told which figures are left out, and why; so is ``left-out.json`` there.

    Returns:
        the files.
    """
    folder.mkdir(exist_ok=True)
    paths, reasons = [], {}
    for kind, facets in expand_figures(recorded):
        name = file_name(kind.name, facets)
        path = folder / f"{name}.png"
        if reason := kind.fits(recorded, *facets):
            path.unlink(missing_ok=True)
            reasons[name] = reason
            say(f"{name} is left out: {reason}")
            continue
        figure = kind.draw(kind.compute(recorded, *facets))
        save_figure(path, figure, " ".join(filter(None, kind.details(recorded, *facets))))
        paths.append(path)
    if isinstance(recorded, Seen):  # else nothing is known of the figures of the model
        _save_left_out(folder, reasons)
    return paths


def save_figure(path: Path, figure: Figure, details: str = "") -> None:
    """Write a figure as PNG, as :func:`~pyro_mfcvae.figures.png.as_png` makes it.

    Args:
        path: of the file.
        figure: to be drawn.
        details: on what it shows, for captions; kept in the file.
    """
    write_whole(path, as_png(figure, details))


def save_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as ``.npz``."""
    content = io.BytesIO()
    np.savez_compressed(content, **dict[str, Any](arrays))
    write_whole(path, content.getvalue())


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


def _save_left_out(folder: Path, reasons: Mapping[str, str]) -> None:
    path = folder / _LEFT_OUT
    if reasons:
        write_whole(path, json.dumps(reasons, indent=2) + "\n")
    else:
        path.unlink(missing_ok=True)
