"""Figures and arrays on disk, whole or not at all."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyro_mfcvae.figures.png import as_png
from pyro_mfcvae.figures.registry import expand_figures, file_name
from pyro_mfcvae.figures.seen import Recorded, Seen
from pyro_mfcvae.files import read_json, validated, write_whole
from pyro_mfcvae.training.say import Say

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FIGURES = "figures.json"  # {name: why it is left out, or null where it is drawn}


def draw_figures(folder: Path, recorded: Recorded, say: Say = lambda _: None) -> list[Path]:
    """Draw all registered figures of a run that can be made from what is given.

    Args:
        folder: that they go into; it is made where it is missing.
        recorded: a :class:`Seen`, or what was written down of a run only.
        say: is told which figures are left out, and why; so is ``figures.json`` there.

    Returns:
        the files.
    """
    folder.mkdir(exist_ok=True)
    paths, reasons = [], dict[str, str | None]()
    for kind, facets in expand_figures(recorded):
        name = file_name(kind.name, facets)
        path = folder / f"{name}.png"
        reasons[name] = reason = kind.fits(recorded, *facets)
        if reason:
            path.unlink(missing_ok=True)
            say(f"{name} is left out: {reason}")
            continue
        figure = kind.draw(kind.compute(recorded, *facets))
        save_figure(path, figure, " ".join(filter(None, kind.details(recorded, *facets))))
        paths.append(path)
    if isinstance(recorded, Seen):  # else nothing is known of the figures of the model
        write_whole(folder / _FIGURES, json.dumps(reasons, indent=2) + "\n")
    return paths


def save_figure(path: Path, figure: Figure, details: str = "") -> None:
    """Write a figure as PNG, as ``figures.png`` makes it.

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


def drawn(folder: Path) -> list[str]:
    """Names of the figures that were drawn into a folder; errors as of :func:`left_out`."""
    return [name for name, reason in _figures(folder).items() if reason is None]


def read_reasons(folder: Path) -> dict[str, str]:
    """Which figures a folder lacks, and why.

    Raises:
        RunError: if the file that says so is damaged.
    """
    return {name: reason for name, reason in _figures(folder).items() if reason is not None}


def _figures(folder: Path) -> dict[str, str | None]:
    try:
        return read_json(folder / _FIGURES, partial(validated, dict[str, str | None]))
    except FileNotFoundError:
        return {}
