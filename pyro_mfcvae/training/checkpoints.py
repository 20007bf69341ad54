"""Checkpoints: safetensors and JSON, written aside and renamed, with checksums."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.config import Config, config_from_dict, config_to_dict
from pyro_mfcvae.data.observations import ObservationSpec
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.state import TrainingState

_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_TOTALS = "log.totals"
_MAY_CHANGE = {
    "data.options.data_dir",
    "training.device",
    "training.n_threads",
    "training.checkpoint_every",
    "training.evaluate_every",
}


class Checkpoints(Callback):
    """Saves a run every few epochs and at its end, keeping the newest ones.

    Args:
        folder: of all checkpoints of the run.
        n_kept: how many are kept.
    """

    def __init__(self, folder: Path, n_kept: int = 2) -> None:
        self.folder = folder
        self.n_kept = n_kept

    @override
    def on_start(self, state: TrainingState) -> None:
        """Remove what killed processes left half-written."""
        for path in self.folder.glob(".*-*"):
            shutil.rmtree(path, ignore_errors=True)

    @override
    def on_epoch(self, state: TrainingState, metrics: dict[str, float]) -> None:
        every = state.config.training.checkpoint_every
        if every and state.epoch % every == 0:
            self._save(state)

    @override
    def on_end(self, state: TrainingState) -> None:
        if not state.failed:
            self._save(state)

    def _save(self, state: TrainingState) -> None:
        if state.totals is not None and not bool(state.totals.isfinite().all()):
            return  # StopAtNonsense ends the run at the next log point
        save_checkpoint(state, self.folder)
        for path in checkpoints(self.folder)[self.n_kept :]:
            shutil.rmtree(path)


def save_checkpoint(state: TrainingState, folder: Path) -> Path:
    """Write everything that a run needs to go on from this step.

    Returns:
        the checkpoint, ``folder/STEP``. One that exists already and is whole stays as it is.
    """
    path = folder / f"{state.step:08d}"
    if path.exists():
        try:
            read_state(path)
        except RunError:
            shutil.rmtree(path)
        else:
            return path
    tensors = {_MODEL: state.model.state_dict(), _OPTIMIZER: _optimizer_tensors(state)}
    record = {
        "step": state.step,
        "n_totals": state.n_totals,
        "term_names": state.term_names,
        "fade": state.schedule(state.step),
        "observation": asdict(state.model.observation),
        "config": config_to_dict(state.config),
    }
    _write(path, tensors, record)
    return path


def save_model_only(model: FacetModel, folder: Path, step: int, fade: tuple[float, ...]) -> Path:
    """Write a checkpoint to be used and not to be trained further: a model, no optimiser.

    Args:
        model: the model.
        folder: of all checkpoints of the run, where this step has none.
        step: steps done.
        fade: weights of the facets then.

    Returns:
        the checkpoint, ``folder/STEP``.
    """
    path = folder / f"{step:08d}"
    record = {
        "step": step,
        "n_totals": 0,
        "term_names": (),
        "fade": fade,
        "observation": asdict(model.observation),
    }
    _write(path, {_MODEL: model.state_dict()}, record)
    return path


def _write(path: Path, tensors: Mapping[str, Mapping[str, Tensor]], record: dict[str, Any]) -> None:
    """Write a checkpoint's files of tensors and its record aside, and rename them into place."""
    aside = path.with_name(f".{path.name}-{os.getpid()}")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    for name, values in tensors.items():
        save_file(_on_cpu(values), aside / name)
    record = record | {"checksums": {name: _checksum(aside / name) for name in tensors}}
    (aside / _STATE).write_text(json.dumps(record, indent=2) + "\n")
    aside.replace(path)


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in a folder, the newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if path.name.isdecimal()), reverse=True)


def newest_checkpoint(folder: Path) -> Path:
    """The newest checkpoint that is whole.

    Raises:
        RunError: if there is none.
    """
    damaged = []
    for path in checkpoints(folder):
        try:
            read_state(path)
        except RunError as error:
            damaged.append(str(error))
        else:
            return path
    found = f": {'; '.join(damaged)}" if damaged else ""
    raise RunError(f"{folder} holds no checkpoint that can be used{found}")


def read_state(path: Path) -> dict[str, Any]:
    """``state.json`` of a checkpoint whose files are what they were when they were written.

    Raises:
        RunError: if a file is missing or damaged.
    """
    try:
        record = json.loads((path / _STATE).read_text())
        missing = {"step", "n_totals", "term_names", "fade", "observation"} - record.keys()
        wrong = [
            n for n, checksum in record["checksums"].items() if _checksum(path / n) != checksum
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise RunError(f"checkpoint {path} is damaged ({error})") from None
    if missing:
        raise RunError(f"checkpoint {path} is damaged: {_STATE} lacks {', '.join(sorted(missing))}")
    if wrong:
        raise RunError(f"checkpoint {path} is damaged: {', '.join(wrong)} has changed since")
    return record


def observation_of(path: Path) -> ObservationSpec:
    """What the observations of a checkpoint's model look like."""
    record = read_state(path)["observation"]
    return ObservationSpec(tuple(record["shape"]), record["low"], record["high"])


def load_model_tensors(path: Path) -> dict[str, Tensor]:
    """The model's state dict.

    Raises:
        RunError: if the file cannot be read.
    """
    return _load(path / _MODEL)


def restore(state: TrainingState, path: Path) -> None:
    """Put a fresh state where the checkpoint left the run.

    Raises:
        RunError: if the checkpoint is damaged, has no optimiser, belongs to another model, or was
            written under other settings.
    """
    record = read_state(path)
    if not (path / _OPTIMIZER).exists():
        raise RunError(
            f"checkpoint {path} holds a model without its optimiser, to be used and not to be "
            "trained further"
        )
    _check_settings(record, state.config, path)
    tensors = _load(path / _OPTIMIZER)
    totals = tensors.pop(_TOTALS, None)
    optimizer = state.optimizer.state_dict()
    optimizer["state"] = {}
    for key, value in tensors.items():
        index, _, name = key.partition(".")
        optimizer["state"].setdefault(int(index), {})[name] = value
    try:
        state.model.load_state_dict(load_model_tensors(path))
        state.optimizer.load_state_dict(optimizer)
    except (RuntimeError, ValueError) as error:
        raise RunError(f"checkpoint {path} does not fit the settings of its run: {error}") from None
    state.step, state.n_totals = record["step"], record["n_totals"]
    state.term_names = tuple(record["term_names"])
    state.totals = None if totals is None else totals.to(state.fade.device)


def _check_settings(record: dict[str, Any], config: Config, path: Path) -> None:
    """Raise a RunError if settings changed without which the run would not be the same."""
    if "config" not in record:
        return
    try:
        written = config_from_dict(record["config"])
    except ConfigError as error:
        raise RunError(f"the settings in checkpoint {path} cannot be used: {error}") from None
    then, now = (dict(_leaves(config_to_dict(c))) for c in (written, config))
    changed = [
        f"{name} from {then.get(name)!r} to {now.get(name)!r}"
        for name in sorted(then.keys() | now.keys())
        if then.get(name) != now.get(name) and name not in _MAY_CHANGE
    ]
    if changed:
        raise RunError(
            f"config.json has changed since checkpoint {path} was written: {', '.join(changed)}; "
            "put it back to go on with this run, or train a new one"
        )


def _leaves(values: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Settings by their dotted paths."""
    if isinstance(values, list) and any(isinstance(value, dict) for value in values):
        values = dict(enumerate(values))
    if not isinstance(values, dict):
        yield name, values
        return
    for key, value in values.items():
        yield from _leaves(value, f"{name}.{key}" if name else str(key))


def _optimizer_tensors(state: TrainingState) -> dict[str, Tensor]:
    tensors = {
        f"{index}.{name}": torch.as_tensor(value)
        for index, entry in state.optimizer.state_dict()["state"].items()
        for name, value in entry.items()
    }
    if state.totals is not None:
        tensors[_TOTALS] = state.totals
    return tensors


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as safetensors ({error})") from None


def _checksum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
