"""What is known before the first step: whether the objective can be computed, and what to mind."""

from __future__ import annotations

import copy
import timeit
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor

from pyro_mfcvae.allocator import is_out_of_memory
from pyro_mfcvae.data.observations import as_float
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.inference.noise import Noise
from pyro_mfcvae.inference.threads import one_thread
from pyro_mfcvae.training.checks import STANDARDISE, check_state, has_batch_norm, large_values
from pyro_mfcvae.training.no_effect import warn_of_no_effect
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.say import Say
from pyro_mfcvae.training.state import TrainingState

_AT_ONCE = 1000  # observations


def check(state: TrainingState, say: Say) -> None:
    """Evaluate the objective once, and say what a person may not have meant.

    Args:
        state: before its first step.
        say: is told of what the run will not have come to by its end, and of large values.

    Raises:
        ConfigError: if the objective cannot be computed, or checkpoints cannot hold the model.
        DataError: if values are too large.
    """
    check_state(state.model)
    _check_large_values(state, say)
    state.engine.on_all(lambda: check_objective_once(state))
    state.engine.on_writer(lambda: warn_of_no_effect(state))
    _warn_of_what_comes_too_late(state, say)
    _warn_of_slow_products(state, say)
    if has_batch_norm(state.model) and not state.engine.joins_batch_norm:
        say(
            "warning: on CPUs batch norm takes its statistics from each process's part of a batch, "
            "and those of process 0 are saved; the steps are not those of one process"
        )


def check_objective_once(state: TrainingState) -> None:
    """Evaluate the objective of the first batch with a copy of the model.

    The model, random states and Pyro's store of parameters stay as they are. A model that cannot
    be copied is let pass.

    Args:
        state: before its first step.

    Raises:
        ConfigError: if that fails, or the loss is not finite.
        DataError: if the loss is not finite, or KL terms are lost in it, and values are large.
    """
    try:
        model = copy.deepcopy(state.model)
    except Exception:  # of whatever a person's model may hold
        return
    x = state.batches(0)
    x = x[: max(len(x) // state.engine.n_processes, 1)]
    with one_thread(), _all_else_unchanged(state.fade.device), torch.no_grad():
        try:
            objective = Objective(model, state.config).train()
            _check_loss(state, objective, x)
        except Exception as error:
            if isinstance(error, DataError) or is_out_of_memory(error):
                raise
            told = " ".join(f"{type(error).__name__}: {error}".split())
            raise ConfigError(
                f"model {state.config.model.name!r} cannot be trained with guide "
                f"{state.config.guide.name!r}: on the first batch the objective fails with {told}; "
                "choose another guide (--guide), mend the model (mfcvae --debug shows where), or "
                "standardise real numbers"
            ) from error
        objective.check_weights(x)


def _check_loss(state: TrainingState, objective: Objective, x: Tensor) -> None:
    """Evaluate the loss of a batch and, if values are large, with the largest one in it."""
    loss, values = objective(x, Noise(state.config.seed))
    large = large_values(state.model.observation, state.config)
    is_lost = bool(large) and bool(loss * torch.finfo(loss.dtype).eps > 1)  # nats
    if large and loss.isfinite() and not is_lost:
        largest = [rows.abs().flatten(1).amax(1) for rows in state.batches.x.split(_AT_ONCE)]
        row = int(torch.cat(largest).argmax())
        x = torch.cat([as_float(state.batches.x[row : row + 1].to(x.device), x.dtype), x[1:]])
        loss, values = objective(x, Noise(state.config.seed))
    if loss.isfinite() and not is_lost:
        return
    told = f"a loss of {loss.item():.6g}"
    if large:
        raise DataError(f"{large}, with which the first batch has {told}; {STANDARDISE}")
    terms = dict(zip(objective.term_names, values.tolist(), strict=True))
    raise ValueError(f"{told}: {terms}")


@contextmanager
def _all_else_unchanged(device: torch.device) -> Iterator[None]:
    """Random states and Pyro's store afterwards are what they were."""
    store, random_state = pyro.get_param_store(), get_rng_state()
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices), store.scope(store.get_state()):
            yield
    finally:
        set_rng_state(random_state)


def _warn_of_what_comes_too_late(state: TrainingState, say: Say) -> None:
    training = state.config.training
    late = [epoch for epoch in training.refit_mixtures if epoch >= training.n_epochs]
    if late:
        say(
            f"warning: training.refit_mixtures has {', '.join(map(str, late))}, but this run ends "
            f"after {training.n_epochs} epochs: those mixtures will not be fitted"
        )
    if training.kl_start < 1 and training.kl_warm_up[1] > training.n_epochs:
        say(
            f"warning: training.kl_warm_up ends at epoch {training.kl_warm_up[1]}, but this run "
            f"after {training.n_epochs}: the KL terms will not have their full weight"
        )
    for j, weight in enumerate(state.schedule(state.n_steps - 1)):
        if weight < 1:
            say(
                f"warning: facet {j} will have a fade weight of {weight:.2f} at the end of this "
                "run; train longer (training.epochs_per_step) or lower training.n_fade_in_batches"
            )


def _warn_of_slow_products(state: TrainingState, say: Say) -> None:
    if state.config.training.precision != "bf16" or state.fade.device.type != "cpu":
        return
    full, short = (
        product_time(torch.ones(512, 512, dtype=dtype)) for dtype in (torch.float32, torch.bfloat16)
    )
    if short > full:
        say(
            f"warning: training.precision bf16 is for CPUs that compute with it; on this one a "
            f"product takes {short / full:.1f} times as long as with precision full"
        )


def product_time(x: Tensor) -> float:
    """The shortest of ten times that a product of x (N, N) with itself took, in seconds."""
    return min(timeit.repeat(lambda: x @ x, number=1, repeat=10))


def _check_large_values(state: TrainingState, say: Say) -> None:
    seen, limits = state.model.observation, torch.finfo(state.fade.dtype)
    large = large_values(seen, state.config)
    if large and max(-seen.low, seen.high) > limits.max**0.5:
        raise DataError(
            f"{large}, whose squares {limits.dtype} cannot hold; leave rows and columns out that "
            f"hold such a number for want of a value; {STANDARDISE}"
        )
    if large:
        say(f"warning: {large}; training may diverge: {STANDARDISE}")
