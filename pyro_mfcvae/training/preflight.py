"""One evaluation of the objective before anything is written: what fails does so at once."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import NamedTuple

import pyro
import torch
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from pyro_mfcvae.data.observations import as_float
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES, check_guide
from pyro_mfcvae.inference.noise import Noise
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.state import TrainingState

_FEW = 4  # observations


class _Tried(NamedTuple):
    """What an evaluation has told.

    Attributes:
        objective: around a copy of the model.
        x: the observations (B, *event).
        fades: whether its gradient for the fade weights is other than zero.
        terms: by their names.
    """

    objective: Objective
    x: Tensor
    fades: bool
    terms: dict[str, float]


def check_trial(state: TrainingState) -> bool:
    """Evaluate the objective on a few observations, with a copy of the model.

    The model, random states and Pyro's store of parameters stay as they are. A model that cannot
    be copied is let pass.

    Args:
        state: before its first step.

    Returns:
        whether fade weights have a part in the objective.

    Raises:
        ConfigError: if that fails or gives NaN, also with the whole first batch, or clusters that
            ``training.min_information`` is about have no KL of their own.
    """
    guide = state.config.guide.name
    with _all_else_unchanged(state):
        try:
            model = copy.deepcopy(state.model)
        except Exception:  # of whatever a person's model may hold
            return True
        try:
            tried = _tried(state, model, guide)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise _refused(state, error) from error
        tried.objective.check_weights(tried.x)
        return tried.fades or _fades_by_steps(state, tried)


def _few(state: TrainingState) -> Tensor:
    return as_float(state.batches.x[:_FEW].to(state.fade.device), state.fade.dtype)


def _tried(state: TrainingState, model: FacetModel, guide: str) -> _Tried:
    """As :func:`_evaluated`, on a few observations, or else on a whole batch."""
    try:
        return _evaluated(state, model, _few(state), guide)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a person's model may need whole batches
        return _evaluated(state, _copied(state, guide), state.batches(0), guide)


def _evaluated(state: TrainingState, model: FacetModel, x: Tensor, guide: str) -> _Tried:
    """Evaluate the objective of a copy of the model under the guide so called."""
    config = replace(state.config, guide=replace(state.config.guide, name=guide))
    objective = Objective(model, config).train()
    fade = model.fade.detach().clone().requires_grad_()
    model.fade = fade
    loss, values = objective(x, Noise(config.seed))
    terms = dict(zip(objective.term_names, values.tolist(), strict=True))
    if loss.isnan():
        wrong = [name for name, value in terms.items() if math.isnan(value)]
        raise ValueError(
            f"the loss is NaN, and so are its terms {', '.join(wrong)}, as with a wrong guide or "
            "with observations that are far from standardised"
        )
    (gradient,) = torch.autograd.grad(loss, fade, allow_unused=True)
    fades = gradient is not None and bool(gradient.any())
    return _Tried(objective, x, fades, terms)


def _fades_by_steps(state: TrainingState, tried: _Tried) -> bool:
    """Whether the loss depends on fade weights, though its gradient for them is zero."""
    ones = torch.ones_like(state.fade)
    try:
        first, *others = (
            _loss_again(tried, fade, state.config.seed)
            for fade in (ones, *(1 - torch.eye(len(ones), dtype=ones.dtype, device=ones.device)))
        )
    except torch.OutOfMemoryError:
        raise
    except Exception:  # which depends on them, then
        return True
    return any(not torch.equal(first, other) for other in others)


@torch.no_grad()
def _loss_again(tried: _Tried, fade: Tensor, seed: int) -> Tensor:
    """The loss with other fade weights, all else alike."""
    with _tensors_unchanged(tried.objective), _randomness_unchanged(fade.device):
        tried.objective.model.fade = fade
        return tried.objective(tried.x, Noise(seed))[0]


def _copied(state: TrainingState, guide: str) -> FacetModel:
    """A copy of the model, without the run's guide if it is for another one."""
    model = copy.deepcopy(state.model)
    if guide != state.config.guide.name:
        del model.guides[state.config.guide.name]
    return model


def _refused(state: TrainingState, error: Exception) -> ConfigError:
    """The error that names the guides that fit, if there are any."""
    guide, fitting = state.config.guide.name, []
    for name in sorted(GUIDES.keys() - {guide}):
        try:
            check_guide(name, state.model)
            _tried(state, _copied(state, name), name)
        except Exception:
            continue
        fitting.append(name)
    told = " ".join(f"{type(error).__name__}: {error}".split())
    advice = (
        f"choose a guide that fits (--guide): {', '.join(fitting)}"
        if fitting
        else "no other guide fits either, so look at the model itself: mfcvae --debug shows where"
    )
    return ConfigError(
        f"model {state.config.model.name!r} cannot be trained with guide {guide!r}; {advice}. On "
        f"the first observations it failed with {told}"
    )


@contextmanager
def _all_else_unchanged(state: TrainingState) -> Iterator[None]:
    """The model, random states and Pyro's store afterwards are what they were."""
    store = pyro.get_param_store()
    with (
        _tensors_unchanged(state.model),  # a copy's closures and hooks still hold the original
        _randomness_unchanged(state.fade.device),
        store.scope(store.get_state()),
    ):
        yield


@contextmanager
def _tensors_unchanged(module: nn.Module) -> Iterator[None]:
    """Dense parameters and buffers afterwards are what they were, but lazy ones without values."""
    before = [
        (tensors, name, tensor, tensor.detach().clone())
        for part in module.modules()
        for tensors in (part._parameters, part._buffers)
        for name, tensor in tensors.items()
        if tensor is not None and not is_lazy(tensor) and tensor.layout == torch.strided
    ]
    try:
        yield
    finally:
        for tensors, name, tensor, values in before:
            tensors[name] = tensor
            if not torch.equal(tensor, values):
                tensor.detach().copy_(values)


@contextmanager
def _randomness_unchanged(device: torch.device) -> Iterator[None]:
    random_state = get_rng_state()
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices):
            yield
    finally:
        set_rng_state(random_state)
