"""One evaluation of the objective before anything is written: what fails does so at once."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pyro
import torch
from pyro.util import get_rng_state, set_rng_state
from torch import Tensor

from pyro_mfcvae.data.observations import as_float
from pyro_mfcvae.enumeration import run_guide
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES, check_guide
from pyro_mfcvae.noise import Noise
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.state import TrainingState

_FEW = 4  # observations


def check_trial(state: TrainingState) -> bool:
    """Evaluate the objective on a few observations, with a copy of the model.

    The model, random states and Pyro's store of parameters stay as they are. A model that cannot
    be copied is let pass.

    Args:
        state: before its first step.

    Returns:
        whether fade weights have a part in the objective.

    Raises:
        ConfigError: if that fails, also with the whole first batch, or clusters that
            ``training.min_information`` is about have no KL of their own.
    """
    with _all_else_unchanged(state.fade.device):
        try:
            copy.deepcopy(state.model)
        except Exception:  # of whatever a person's model may hold
            return True
        try:
            gradient, terms = _tried(state, state.config.guide.name)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            raise _refused(state, error) from error
        if state.config.training.min_information:
            _check_information(state, terms)
    return bool(gradient.any())


def _few(state: TrainingState) -> Tensor:
    return as_float(state.batches.x[:_FEW].to(state.fade.device), state.fade.dtype)


def _tried(state: TrainingState, guide: str) -> tuple[Tensor, dict[str, float]]:
    """As :func:`_evaluated`, on a few observations, or else on a whole batch."""
    try:
        return _evaluated(state, _few(state), guide)
    except torch.OutOfMemoryError:
        raise
    except Exception:  # a person's model may need whole batches
        return _evaluated(state, state.batches(0), guide)


def _evaluated(state: TrainingState, x: Tensor, guide: str) -> tuple[Tensor, dict[str, float]]:
    """The loss's gradient for the fade weights, (J,), and the terms, under the guide so called."""
    config = replace(state.config, guide=replace(state.config.guide, name=guide))
    objective = Objective(copy.deepcopy(state.model), config).train()
    fade = state.fade.detach().clone().requires_grad_()
    loss, values = objective(x, fade, Noise(config.seed))
    terms = dict(zip(objective.term_names, values.tolist(), strict=True))
    (gradient,) = torch.autograd.grad(loss, fade, allow_unused=True)
    return torch.zeros_like(fade) if gradient is None else gradient, terms


def _refused(state: TrainingState, error: Exception) -> ConfigError:
    """The error that names the guides that fit, if there are any."""
    guide, fitting = state.config.guide.name, []
    for name in sorted(GUIDES.keys() - {guide}):
        try:
            check_guide(name, state.model)
            _tried(state, name)
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


def _check_information(state: TrainingState, terms: dict[str, float]) -> None:
    """Refuse a minimum of information of clusters whose KL is no term of its own."""
    without = [
        str(j)
        for j, facet in enumerate(state.model.facets)
        if facet.n_clusters > 1 and not terms.get(f"kl_c_{j}")
    ]
    if without:  # or it is 0 because q(c | x) is p(c) at first
        objective = Objective(copy.deepcopy(state.model), state.config)
        x = _few(state)
        with objective.model.evaluating(), pyro.validation_enabled(False), Noise(0):
            sites = run_guide(objective.guide, objective.n_samples, (x, state.fade), {})
        without = [j for j in without if f"c_{j}" not in {site["name"] for site in sites}]
    if without:
        raise ConfigError(
            "training.min_information is about the KL of the clusters, which those of facet "
            f"{', '.join(without)} do not have under guide {state.config.guide.name!r}: they are "
            "summed out of the model; leave it out, or choose a guide such as vade"
        )


@contextmanager
def _all_else_unchanged(device: torch.device) -> Iterator[None]:
    """Random states and Pyro's store afterwards are what they were."""
    random_state, store = get_rng_state(), pyro.get_param_store()
    devices = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=devices), store.scope(store.get_state()):
            yield
    finally:
        set_rng_state(random_state)
