"""The page: a template, its script and its data, in one file or from the local server.

The script's digest stands in the content security policy, so that nothing else runs. The data are
JSON in which no letter can end the element that holds them, and the script writes text only.
"""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

from pyro_mfcvae.explore.explored import Explored, open_run
from pyro_mfcvae.report.page import render, save_page
from pyro_mfcvae.training.say import Say

_NAME, _PACKAGE = "interactive.html", "pyro_mfcvae.explore"


def write_page(
    path: Path | str,
    out: Path | str | None = None,
    data_dir: Path | None = None,
    say: Say = lambda _: None,
) -> Path:
    """Write the maps of a run into one HTML file, which needs no server and loads nothing.

    Args:
        path: of the run's folder.
        out: the file; None takes ``interactive.html`` in the run's folder. An earlier report is
            replaced, another file is not.
        data_dir: folder of the data's files, in place of that in the settings.
        say: is told what is going on.

    Returns:
        the file.

    Raises:
        ConfigError, DataError, RunError: if model, names or data cannot be had, or the file's
            place is taken or missing.
    """

    def make() -> str:
        say("preparing the data")
        explored = open_run(path, data_dir)
        say("drawing the maps")
        return render_page(explored.content() | {"decoded_pairs": explored.all_pairs()})

    return save_page(Path(path) / _NAME if out is None else Path(out), make)


def page_of(explored: Explored) -> str:
    """The page of the local server, which decodes and keeps names on request."""
    return render_page(explored.content(), is_live=True)


def render_page(content: dict[str, Any], is_live: bool = False) -> str:
    """The page with its data.

    Args:
        content: what :meth:`Explored.content` gives.
        is_live: whether a server answers its script.
    """
    script = (files(_PACKAGE) / "templates/explore.js").read_text(encoding="ascii")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return render(
        "explore.html",
        _PACKAGE,
        title=content["run"],
        content=content | {"is_live": is_live},
        script=script,
        digest=digest,
        is_live=is_live,
    )
