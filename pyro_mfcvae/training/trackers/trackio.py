"""Trackio: a database on this machine, or a server, as its environment variables say."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Mapping
from contextlib import redirect_stdout
from contextvars import copy_context

from typing_extensions import override

from pyro_mfcvae.training.trackers.base import PROJECT, Status, Tracked, Tracker, register_tracker


@register_tracker("trackio")
class Trackio(Tracker):
    """Trackio in the folder TRACKIO_DIR, or at TRACKIO_SERVER_URL, in the project pyro_mfcvae."""

    package = "trackio"
    install = "trackio"  # needs an older Pillow than the tested one, so it is in no extra

    @override
    def begin(self, run: Tracked, known: str | None) -> str:
        import trackio

        # It finds a run again by its name alone.
        name = known or f"{run.name}-{secrets.token_hex(3)}"
        # In a context of its own: it would end the run that another tracker has begun.
        with _quiet():
            self._run = copy_context().run(
                trackio.init,
                PROJECT,
                name=name,
                resume="never" if known is None else "allow",
                config=dict(run.settings),
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        return name

    @override
    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    @override
    def tell(self, step: int, text: str) -> None:
        with _quiet():
            self._run.alert("health", text, step=step)

    @override
    def end(self, status: Status) -> None:
        with _quiet():
            self._run.finish()


def _quiet() -> redirect_stdout:
    """The standard output is kept for what commands print."""
    return redirect_stdout(sys.stderr)
