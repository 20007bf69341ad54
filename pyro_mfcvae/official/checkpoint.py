"""A checkpoint file of the first authors' implementation as a run folder of this library."""

from __future__ import annotations

import argparse
import io
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from pyro_mfcvae.config import Config
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.inference.fade_in import FadeInSchedule
from pyro_mfcvae.official.conversion import neutral_settings, run_config
from pyro_mfcvae.official.settings import OfficialSettings, read_settings, read_yaml
from pyro_mfcvae.official.tensors import MEANS, import_official
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.training.checkpoints import save_model_only

_DTYPES: dict[torch.dtype, Literal["float32", "float64"]] = {
    torch.float32: "float32",
    torch.float64: "float64",
}


def import_run(
    path: Path | str, settings_path: Path | str | None = None, out: Path | str | None = None
) -> Run:
    """Make a run folder from a checkpoint of the first authors' implementation.

    The run can be used like one that was trained here to its end, but not be trained further.

    Args:
        path: their checkpoint: ``{"state_dict": ..., "args": ...}``, or a state dict alone.
        settings_path: a YAML file of their settings, which replaces those in the checkpoint; a
            state dict alone needs it.
        out: the run folder, which must not exist; None numbers one under ``runs``.

    Returns:
        the run.

    Raises:
        RunError: if the checkpoint cannot be read, or holds something else.
        ConfigError: if the settings are missing or wrong, do not fit the tensors, or cannot be
            expressed here.
    """
    Run.check_path(out)
    state_dict, values = read_checkpoint(path)
    if settings_path is not None:
        values = read_yaml(settings_path)
    if values is None:
        raise ConfigError(
            f"{path} holds tensors without settings; give the YAML file of its settings too, such "
            "as one of the first authors' folder configs"
        )
    settings = read_settings(values)
    model = import_official(state_dict, neutral_settings(settings))
    dtype = next(model.parameters()).dtype
    if dtype not in _DTYPES:
        raise ConfigError(f"{path} must hold float32 or float64 tensors, got {dtype}")
    config = run_config(settings, _DTYPES[dtype])
    n_steps, fade = _end_of_training(settings, config)

    def fill(folder: Path) -> None:
        save_model_only(model, folder / "checkpoints", n_steps, fade)

    return Run.create(config, out, f"{config.data.name}-imported", fill)


def read_checkpoint(path: Path | str) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """A state dict of theirs by their names and, where there are any, the settings beside it.

    Nothing in the file is run: tensors and an ``argparse.Namespace`` of plain values are allowed
    and no other class.

    Raises:
        RunError: if the file cannot be read, or holds something else.
    """
    content = _load(path)
    values = None
    if isinstance(content, Mapping) and "state_dict" in content:
        values = content.get("args")
        content = content["state_dict"]
    if not isinstance(content, Mapping) or _others(content):
        raise RunError(
            f"{path} must hold a state dict, tensors by their names, with or without the settings "
            f"beside it, got {_describe(content)}"
        )
    if f"{MEANS}.0" not in content:
        raise RunError(
            f"{path} holds no model of the first authors' implementation: it has {len(content)} "
            f"tensors, but no {MEANS}.0"
        )
    if isinstance(values, argparse.Namespace):
        values = vars(values)
    return dict(content), values if isinstance(values, dict) else None


def _load(path: Path | str) -> Any:
    try:
        file = io.BytesIO(Path(path).read_bytes())
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror})") from None
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                unpacked = sum(info.file_size for info in archive.infolist())
            if unpacked > file.getbuffer().nbytes:  # torch.save packs nothing
                raise ValueError(f"{unpacked} bytes are claimed")
        file.seek(0)
        with torch.serialization.safe_globals([argparse.Namespace]), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of formats that are refused below anyway
            return torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever the bytes of a damaged file lead to
        if foreign := re.search(r"GLOBAL ([\w.]+)", str(error)):
            raise RunError(
                f"{path} asks for {foreign[1]}, which could run code: only tensors and an "
                "argparse.Namespace of plain values may be in a checkpoint; nothing in it was run"
            ) from None
        raise RunError(
            f"{path} is no file of torch.save, or is damaged ({type(error).__name__} while reading "
            "it); get it again"
        ) from None


def _describe(content: object) -> str:
    if not isinstance(content, Mapping):
        return f"a {type(content).__name__}"
    others = _others(content)
    return f"other things under {', '.join(others[:3])}" + (" and more" if others[3:] else "")


def _others(content: Mapping[Any, Any]) -> list[str]:
    """Names of what belongs in no state dict."""
    return [
        str(name)
        for name, value in content.items()
        if not (isinstance(name, str) and isinstance(value, Tensor))
    ]


def _end_of_training(settings: OfficialSettings, config: Config) -> tuple[int, tuple[float, ...]]:
    """Steps of their whole schedule, and the fade weights at its end."""
    training = config.training
    per_epoch = -(-settings.n_train // training.batch_size)
    n_steps = training.n_epochs * per_epoch
    fade = (1.0,) * settings.n_facets
    if settings.do_progressive_training:
        stages = tuple(n_epochs * per_epoch for n_epochs in training.epochs_per_step)
        fade = FadeInSchedule(stages, training.n_fade_in_batches)(n_steps)
    if settings.model_type == "fc_shared" and min(fade) < 1:
        raise ConfigError(
            "their fc_shared never fades what enters its decoder, which cannot be expressed here: "
            f"expected facets that are faded in at the end of training, got weights {fade}"
        )
    return n_steps, fade
