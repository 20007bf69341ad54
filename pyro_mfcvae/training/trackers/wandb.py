"""Weights & Biases: online or offline, as its environment variables say."""

from __future__ import annotations

import os
from collections.abc import Mapping

from typing_extensions import override

from pyro_mfcvae.training.trackers.base import PROJECT, Status, Tracked, Tracker, register_tracker


@register_tracker("wandb")
class WeightsAndBiases(Tracker):
    """Weights & Biases as WANDB_MODE says, in the project WANDB_PROJECT [pyro_mfcvae]."""

    package = "wandb"

    @override
    def begin(self, run: Tracked, known: str | None) -> str:
        import wandb

        # Its files stay out of the run's folder, which may come from a stranger: it would read
        # settings there, such as the server to send its key to.
        self._run = wandb.init(
            project=os.environ.get("WANDB_PROJECT", PROJECT),
            name=run.name,
            id=known,
            resume=None if known is None else "allow",
            config=dict(run.settings),
            settings=wandb.Settings(console="off", reinit="create_new"),
        )
        return str(self._run.id)

    @override
    def log(self, step: int, values: Mapping[str, float]) -> None:
        self._run.log(dict(values), step=step)

    @override
    def tell(self, step: int, text: str) -> None:
        self._run.summary["health"] = text

    @override
    def end(self, status: Status) -> None:
        self._run.finish(exit_code=int(status == "failed"))
