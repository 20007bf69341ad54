"""TensorBoard: event files in the run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from typing_extensions import override

from pyro_mfcvae.files import own_folder
from pyro_mfcvae.training.trackers.base import Status, Tracked, Tracker, register_tracker


@register_tracker("tensorboard")
class TensorBoard(Tracker):
    """Event files in RUN/tensorboard, or in tensorboard/NAME-001 of runs without a folder."""

    package = "tensorboard"

    @override
    def begin(self, run: Tracked, known: str | None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        folder = (
            _new_folder(Path("tensorboard"), run.name)
            if run.folder is None
            else own_folder(run.folder / "tensorboard")
        )
        # What a killed process logged after the checkpoint is hidden: it is logged again.
        self._writer = SummaryWriter(str(folder), purge_step=run.step + 1 if run.step else None)
        if not run.step:
            text = json.dumps(run.settings, indent=2, default=str)
            self._writer.add_text("settings", f"```\n{text}\n```")

    @override
    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        self._writer.flush()

    @override
    def tell(self, step: int, text: str) -> None:
        self._writer.add_text("health", text, step)

    @override
    def end(self, status: Status) -> None:
        self._writer.close()


def _new_folder(parent: Path, name: str) -> Path:
    number = 1
    while True:
        folder = parent / f"{name}-{number:03d}"
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            number += 1
        else:
            return folder
