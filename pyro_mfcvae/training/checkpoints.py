"""Checkpoints: safetensors and JSON, written aside, flushed and renamed, with checksums."""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

import torch
from pydantic import ConfigDict
from pydantic.dataclasses import dataclass
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.config import Config, Whole, config_from_dict, config_to_dict, identity
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError, DamagedCheckpointWarning, RunError, TrainingError
from pyro_mfcvae.files import (
    flush,
    making,
    open_regular,
    own_folder,
    read_json,
    remove,
    remove_leftovers,
    validated,
)
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.callbacks import Callback, explain_not_finite
from pyro_mfcvae.training.state import Best, TrainingState

_MODEL: Final = "model.safetensors"
_OPTIMIZER: Final = "optimizer.safetensors"
_STATE = "state.json"
_TOTALS = "log.totals"
_BEST = "best."
_HEADS = "cluster_heads."


@dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
class Checkpoint:
    """What ``state.json`` of a checkpoint says, once all of its files have proved to be whole.

    Attributes:
        path: the checkpoint's folder.
        step: steps done.
        n_totals: steps in the sums since the last log point.
        term_names: names of these sums.
        fade: fade weights of the last step.
        best_step: steps done when the model did best on held-out observations, and
        best_elbo: how well; None where nothing is kept.
        pending: whether what is measured after this step is still to come.
        observation: what one observation looks like.
        config: settings of the run, where they are known.
        data: fingerprint of the data, where it is known.
        checksums: {file: sha256}.
    """

    path: Path
    step: Whole
    n_totals: Whole = 0
    term_names: tuple[str, ...] = ()
    fade: tuple[float, ...]
    best_step: Whole = 0
    best_elbo: float | None = None
    pending: bool = False
    observation: ObservationSpec
    config: dict[str, Any] | None = None
    data: str | None = None
    checksums: dict[Literal["model.safetensors", "optimizer.safetensors"], str]

    @property
    def has_optimizer(self) -> bool:
        """Whether training can go on from here."""
        return _OPTIMIZER in self.checksums

    @property
    def model_checksum(self) -> str:
        """What tells this model from any other."""
        return self.checksums[_MODEL]

    def model_tensors(self) -> dict[str, Tensor]:
        """The model's state dict, on the CPU."""
        return _load(self.path / _MODEL)

    def optimizer_tensors(self) -> dict[str, Tensor]:
        """The optimiser's state and the sums since the last log point, on the CPU."""
        return _load(self.path / _OPTIMIZER)

    def check_settings(self, config: Config) -> None:
        """Raise a RunError if settings changed without which the run would not be the same."""
        if self.config is None:
            return
        try:
            written = config_from_dict(self.config)
        except ConfigError as error:
            raise RunError(
                f"the settings in checkpoint {self.path} cannot be used: {error}"
            ) from None
        then, now = identity(written), identity(config)
        changed = [
            f"{name} from {then.get(name)!r} to {now.get(name)!r}"
            for name in sorted(then.keys() | now.keys())
            if then.get(name) != now.get(name)
        ]
        if changed:
            raise RunError(
                f"config.json has changed since checkpoint {self.path} was written: "
                f"{', '.join(changed)}; put it back, or train a new run"
            )


class Checkpoints(Callback):
    """Saves a run at its start, every few epochs and at its end, keeping the newest ones.

    Each is on the disk before an older one is removed.

    Args:
        folder: of all checkpoints of the run.
        n_kept: how many are kept.
        log: of the run, a file that is to hold all that was logged before a checkpoint.
    """

    def __init__(self, folder: Path, n_kept: int = 2, log: Path | None = None) -> None:
        self.folder = folder
        self.n_kept = n_kept
        self.log = log

    @override
    def on_start(self, state: TrainingState) -> None:
        """Save the beginning."""
        if not checkpoints(self.folder):
            self._save(state)

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
        """Save, unless the state is spoilt: the last good checkpoint must stay the newest.

        Buffers may be infinite, as masks are.

        Raises:
            TrainingError: if a parameter is no longer finite.
        """
        learnt = [*state.model.parameters(), *_optimizer_tensors(state).values()]
        is_finite = all(bool(values.isfinite().all()) for values in learnt)
        if not is_finite or any(bool(values.isnan().any()) for values in state.model.buffers()):
            raise TrainingError(explain_not_finite(state, "a parameter or its moments"))
        if self.log is not None and self.log.exists():
            flush(self.log)
        save_checkpoint(state, self.folder)
        kept = checkpoints(self.folder)
        for path in kept[self.n_kept :] + [p for p in kept[: self.n_kept] if _is_start(p, state)]:
            remove(path)


def remove_damaged(folder: Path, step: int) -> None:
    """Remove what a killed process left of checkpoints, once a run goes on from this step."""
    found = checkpoints(folder)
    remove_leftovers(folder)
    for path in found:
        is_older = int(path.name) < step  # a newer one is damaged, or it would have been taken
        if int(path.name) != step and not (is_older and _is_whole(path)):
            remove(path)


def _is_whole(path: Path) -> bool:
    try:
        return bool(read_checkpoint(path))
    except RunError:
        return False


def _is_start(path: Path, state: TrainingState) -> bool:
    """Whether it is the checkpoint before the first step, and the run has left it behind."""
    return int(path.name) == 0 < state.step


def save_checkpoint(state: TrainingState, folder: Path) -> Path:
    """Write everything that a run needs to go on from this step.

    Returns:
        the checkpoint, ``folder/STEP``. One that exists already and is whole stays as it is.
    """
    path = folder / f"{state.step:08d}"
    if path.exists():
        if _is_whole(path):
            return path
        remove(path)
    best = None if state.step == state.n_steps else state.best  # which the model is then
    kept = {f"{_BEST}{name}": value for name, value in (best.tensors if best else {}).items()}
    tensors = {_MODEL: state.model.state_dict(), _OPTIMIZER: _optimizer_tensors(state) | kept}
    record = {
        "step": state.step,
        "n_totals": state.n_totals,
        "term_names": state.term_names,
        "fade": state.last_fade,
        "best_step": best.step if best else 0,
        "best_elbo": best.elbo if best else None,
        "pending": state.pending,
        "observation": asdict(state.model.observation),
        "config": config_to_dict(state.config),
        "data": state.data,
    }
    _write(path, tensors, record)
    return path


def save_model_only(
    model: FacetModel, folder: Path, step: int, fade: tuple[float, ...], data: str | None = None
) -> Path:
    """Write a checkpoint to be used and not to be trained further: a model, no optimiser.

    Args:
        model: the model.
        folder: of all checkpoints of the run, where this step has none.
        step: steps done.
        fade: weights of the facets then.
        data: fingerprint of the data, where it is known.

    Returns:
        the checkpoint, ``folder/STEP``.
    """
    path = folder / f"{step:08d}"
    observation = asdict(model.observation)
    record = {"step": step, "fade": fade, "observation": observation, "data": data}
    _write(path, {_MODEL: model.state_dict()}, record)
    return path


def checkpoints(folder: Path) -> list[Path]:
    """All checkpoints in a folder, the newest first.

    Raises:
        RunError: if the folder is a link.
    """
    if not own_folder(folder).is_dir():
        return []
    found = [p for p in folder.iterdir() if re.fullmatch("[0-9]{8,}", p.name)]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def newest_checkpoint(folder: Path) -> Checkpoint:
    """The newest checkpoint that is whole. Warns of damaged ones that are newer.

    Raises:
        RunError: if there is none.
    """
    damaged: list[str] = []
    for path in (found := checkpoints(folder)):
        try:
            checkpoint = read_checkpoint(path)
        except RunError as error:
            if not path.exists() and checkpoints(folder) != found:  # training has gone on meanwhile
                return newest_checkpoint(folder)
            damaged.append(str(error))
            continue
        if damaged:
            message = f"{'; '.join(damaged)}; taking {path} instead"
            warnings.warn(message, DamagedCheckpointWarning, stacklevel=2)
        return checkpoint
    found_instead = f": {'; '.join(damaged)}" if damaged else ""
    raise RunError(f"{folder} holds no checkpoint that can be used{found_instead}; train a new run")


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint whose files are what they were when they were written.

    Raises:
        RunError: if a file is missing or damaged.
    """
    try:
        record = read_json(own_folder(path) / _STATE, partial(validated, dict[str, Any]), "")
        own = record.pop("checksum", None)
        checkpoint = validated(Checkpoint, {**record, "path": path})
        same = {_STATE: own == _digest(record)}
        same |= {name: _checksum(path / name) == c for name, c in checkpoint.checksums.items()}
    except (OSError, ValueError) as error:
        raise RunError(f"checkpoint {path} is damaged ({error})") from None
    if changed := [name for name, is_same in same.items() if not is_same]:
        raise RunError(f"checkpoint {path} is damaged: {', '.join(changed)} has changed since")
    if _MODEL not in same or checkpoint.step != int(path.name):
        raise RunError(f"checkpoint {path} is damaged: {_STATE} is that of another checkpoint")
    return checkpoint


def load_model(model: FacetModel, checkpoint: Checkpoint) -> None:
    """Give a model the parameters, buffers and fade weights that a checkpoint holds.

    Raises:
        RuntimeError: if they are those of another model.
        ValueError: if they are no numbers.
    """
    tensors = checkpoint.model_tensors()
    tensors["fade"] = torch.tensor(checkpoint.fade)
    own = model.state_dict().keys()
    for name in [n for n in tensors if n.startswith(_HEADS) and n not in own]:
        for guide in model.guides:  # which has owned its network since version 0.1
            tensors[f"guides.{guide}.network.{name.removeprefix(_HEADS)}"] = tensors.pop(name)
    model.load_state_dict(tensors)
    spoilt = [name for name, value in model.named_parameters() if not bool(value.isfinite().all())]
    spoilt += [name for name, value in model.named_buffers() if bool(value.isnan().any())]
    if spoilt:
        raise ValueError(f"{', '.join(spoilt)} must hold finite numbers")


def restore(state: TrainingState, checkpoint: Checkpoint) -> None:
    """Put a fresh state where the checkpoint left the run.

    Raises:
        RunError: if the checkpoint has no optimiser, belongs to another model, or was written
            under other settings or with other data.
    """
    path = checkpoint.path
    if not checkpoint.has_optimizer:
        raise RunError(
            f"checkpoint {path} holds a model without its optimiser, to be used and not to be "
            "trained further"
        )
    checkpoint.check_settings(state.config)
    if checkpoint.data != state.data:
        raise RunError(
            f"the data have changed since checkpoint {path} was written: other observations, or "
            "another split; give those that the run was begun with, or train a new run"
        )
    tensors = checkpoint.optimizer_tensors()
    totals = tensors.pop(_TOTALS, None)
    kept = {name: tensors.pop(name) for name in [*tensors] if name.startswith(_BEST)}
    best = {name.removeprefix(_BEST): value.to(state.fade.device) for name, value in kept.items()}
    try:
        load_model(state.model, checkpoint)
        moments = _moments(state.optimizer, tensors, checkpoint.step)
        state.optimizer.load_state_dict({**state.optimizer.state_dict(), "state": moments})
        sums = (len(checkpoint.term_names),) if checkpoint.n_totals else None
        if sums != (None if totals is None else tuple(totals.shape)):
            raise ValueError(f"{_OPTIMIZER} has no sum for each of term_names")
        known = {} if checkpoint.best_elbo is None else state.model.state_dict()
        if best.keys() != known.keys() or any(best[n].shape != known[n].shape for n in known):
            raise ValueError(f"{_OPTIMIZER} has not the model that did best")
    except (RuntimeError, ValueError) as error:
        raise RunError(f"checkpoint {path} does not fit the settings of its run: {error}") from None
    state.step, state.n_totals = checkpoint.step, checkpoint.n_totals
    state.pending = checkpoint.pending
    state.term_names = checkpoint.term_names
    state.totals = None if totals is None else totals.to(state.fade.device)
    if checkpoint.best_elbo is not None:
        state.best = Best(checkpoint.best_elbo, checkpoint.best_step, best)


def _moments(
    optimizer: torch.optim.Optimizer, tensors: Mapping[str, Tensor], n_steps: int
) -> dict[int, dict[str, Tensor]]:
    """Adam's state by the number of the parameter, of tensors that ``_optimizer_tensors`` names.

    Raises:
        ValueError: if there is anything else, a parameter lacks its state after some steps, or
            the parameters have other shapes.
    """
    known, rest = dict[int, dict[str, Tensor]](), dict(tensors)
    for i, parameter in enumerate(_parameters(optimizer)):
        shapes = {"step": torch.Size(), "exp_avg": parameter.shape, "exp_avg_sq": parameter.shape}
        own = {name: rest.pop(f"{i}.{name}") for name in shapes if f"{i}.{name}" in rest}
        if (own or n_steps) and {name: value.shape for name, value in own.items()} != shapes:
            raise ValueError(f"{_OPTIMIZER} does not fit parameter {i}, {tuple(parameter.shape)}")
        if own:
            known[i] = own
    if rest:
        raise ValueError(f"{_OPTIMIZER} has unknown tensors {', '.join(rest)}")
    return known


def _parameters(optimizer: torch.optim.Optimizer) -> list[Tensor]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def _write(path: Path, tensors: Mapping[str, Mapping[str, Tensor]], record: dict[str, Any]) -> None:
    """Write a checkpoint's files of tensors and its record aside, and rename them into place."""
    try:
        with making(path) as new:
            for name, values in tensors.items():
                save_file(_on_cpu(values), new / name)
            record = record | {"checksums": {name: _checksum(new / name) for name in tensors}}
            record = json.loads(json.dumps(record))  # as it will be read
            text = json.dumps({**record, "checksum": _digest(record)}, indent=2)
            (new / _STATE).write_text(text + "\n")
    except SafetensorError as error:  # what a full disk comes as
        raise OSError(f"{path} cannot be written: {error}") from None


def _optimizer_tensors(state: TrainingState) -> dict[str, Tensor]:
    """Adam's state of every parameter; of one without a gradient so far, what it begins with."""
    found, tensors = state.optimizer.state_dict()["state"], dict[str, Tensor]()
    for i, parameter in enumerate(_parameters(state.optimizer)):
        entry = found.get(i) or {
            "step": torch.tensor(0.0),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        tensors |= {f"{i}.{name}": torch.as_tensor(value) for name, value in entry.items()}
    if state.totals is not None and state.n_totals:
        tensors[_TOTALS] = state.totals
    return tensors


def _on_cpu(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    # Copies, as safetensors takes no two tensors of one memory: tied weights come under each name.
    return {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}


def _load(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise RunError(f"{path} cannot be read as safetensors ({error})") from None


def _checksum(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()
