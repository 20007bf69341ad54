"""Models that come with the library, each a run that was exported, to be opened as a run."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

from pyro_mfcvae.data import in_folder
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import elsewhere

_FOLDER = Path(__file__).parent


def pretrained_models() -> dict[str, Run]:
    """The models that come with the library, by name."""
    folders = sorted(path.parent for path in _FOLDER.glob("*/config.json"))
    return {folder.name: Run(folder) for folder in folders}


def open_pretrained(
    name: str, out: Path | str | None = None, data_dir: Path | str | None = None
) -> Run:
    """Put a model that comes with the library, or one of the Hub, into a run folder of its own.

    It evaluates, draws, predicts and generates like any run; it has no optimiser, so it cannot be
    trained further. The folder ``out`` must not exist; None numbers one,
    ``runs/NAME-pretrained-001``. A ``data_dir`` of downloaded data is written into the settings.
    A name ``OWNER/NAME`` is one of the Hugging Face Hub, as for
    :meth:`~pyro_mfcvae.runs.run.Run.from_pretrained`.

    Raises:
        ConfigError: if there is no such model, or the folder exists.
        RunError: if it cannot be fetched.
    """
    if "/" in name:
        run = Run.from_pretrained(name, out)
        run.change(elsewhere(run.config, data_dir, None))
        return run
    models = pretrained_models()
    if name not in models:
        raise unknown("pretrained model", name, models)
    config, source = models[name].config, models[name].path
    if data_dir is not None:
        config = replace(config, data=in_folder(config.data, data_dir))

    def fill(folder: Path) -> None:
        without = shutil.ignore_patterns("config.json")
        shutil.copytree(source, folder, dirs_exist_ok=True, ignore=without)

    return Run.create(config, out, f"{name}-pretrained", fill)
