"""What is known before the first step: whether the objective can be computed, and what to mind."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import pyro
import torch
from pyro.util import get_rng_state, set_rng_state

from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.inference.noise import Noise
from pyro_mfcvae.training.checks import has_batch_norm
from pyro_mfcvae.training.no_effect import warn_of_no_effect
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.say import Say
from pyro_mfcvae.training.state import TrainingState

_LARGE = 100.0  # for a value
_STANDARDISE = "standardise them (mean 0, standard deviation 1), or bring them to [0, 1]"


def check(state: TrainingState, say: Say) -> None:
    """Evaluate the objective once, and say what a person may not have meant.

    Args:
        state: before its first step.
        say: is told of what the run will not have come to by its end, and of large values.

    Raises:
        ConfigError, DataError: if the objective cannot be computed.
    """
    _warn_of_large_values(state, say)
    state.engine.on_all(lambda: check_objective_once(state))
    state.engine.on_writer(lambda: warn_of_no_effect(state))
    _warn_of_what_comes_too_late(state, say)
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
        DataError: likewise, where values are so large that they are the cause.
    """
    try:
        model = copy.deepcopy(state.model)
    except Exception:  # of whatever a person's model may hold
        return
    x = state.batches(0)
    x = x[: max(len(x) // state.engine.n_processes, 1)]
    with _all_else_unchanged(state.fade.device), torch.no_grad():
        try:
            objective = Objective(model, state.config).train()
            loss, values = objective(x, Noise(state.config.seed))
            if not loss.isfinite():
                terms = dict(zip(objective.term_names, values.tolist(), strict=True))
                raise ValueError(f"a loss of {loss.item()}: {terms}")
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            told = " ".join(f"{type(error).__name__}: {error}".split())
            if is_large := _large_values(state):
                raise DataError(
                    f"{is_large}, and on the first batch the objective fails with {told}; "
                    f"{_STANDARDISE}"
                ) from error
            raise ConfigError(
                f"model {state.config.model.name!r} cannot be trained with guide "
                f"{state.config.guide.name!r}: on the first batch the objective fails with {told}; "
                "choose another guide (--guide), mend the model (mfcvae --debug shows where), or "
                "standardise real numbers"
            ) from error
        objective.check_weights(x)


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


def _warn_of_large_values(state: TrainingState, say: Say) -> None:
    """Networks start from features of about one, and what is far from that makes them diverge."""
    if state.config.model.likelihood.name != "gaussian":
        return  # counts are what they are
    if is_large := _large_values(state):
        say(f"warning: {is_large}; training may diverge: {_STANDARDISE}")


def _large_values(state: TrainingState) -> str:
    """What to say of values that are far from one; nothing where there are none."""
    seen = state.model.observation
    largest = max(-seen.low, seen.high)
    return f"values of x go up to {largest:,.6g}" if largest > _LARGE else ""
