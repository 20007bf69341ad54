"""Settings that nothing reads beside the others."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import NamedTuple

from pyro_mfcvae.config import config_to_dict
from pyro_mfcvae.config.options import leaves
from pyro_mfcvae.errors import NoEffectWarning
from pyro_mfcvae.guides import temperature_of
from pyro_mfcvae.training.state import TrainingState


class _Unread(NamedTuple):
    """Settings, by their dotted paths, which nothing reads if something is so, and what to do."""

    settings: str
    is_so: Callable[[TrainingState], bool]
    advice: str


_TABLE = (
    _Unread(
        "guide.temperature guide.temperature_epochs",
        lambda s: temperature_of(s.objective.guide) is None,
        "the guide has no temperature: choose guide relaxed, or one with a buffer of this name",
    ),
    _Unread(
        "model.initial_spread",
        lambda s: not s.config.model.initialisation.startswith("data-dependent"),
        "it is for data-dependent initialisation: set model.initialisation=data-dependent",
    ),
    _Unread(
        "model.mixture_initialisation",
        lambda s: (
            s.config.model.mixture_initialisation != "random"
            and not any(f.learns_components for f in s.model.structure.facets)
        ),
        "no facet has components to place: networks make them, or there is one cluster only",
    ),
    _Unread(
        "model.facets.J.initial_variance model.facets.J.softplus_beta",
        # Facets with one cluster alone are not worth a word: --facets makes them of others.
        lambda s: (
            bool(s.model.structure.clustered)
            and not any(facet.learns_components for facet in s.model.structure.facets)
        ),
        "networks make the variances of these facets",
    ),
    _Unread(
        "training.learning_rate_decay training.decay_every training.learning_rate_floor",
        lambda s: s.config.training.learning_rate_schedule != "step",
        "it is for steps: set training.learning_rate_schedule=step",
    ),
    _Unread(
        "training.mixture_learning_rate",
        lambda s: not any(p.requires_grad for p in s.model.facets.parameters()),
        "the facets' priors have nothing to learn: give one of them clusters",
    ),
    _Unread(
        "training.kl_warm_up",
        lambda s: s.config.training.kl_start == 1,
        "the KL terms have their full weight from the start: set training.kl_start below 1",
    ),
    _Unread(
        "training.precision",
        lambda s: s.config.training.precision == "tf32" and s.fade.device.type != "cuda",
        "tf32 is for CUDA devices: choose bf16",
    ),
    _Unread(
        "training.fade_in_shape training.kl_floor",
        lambda s: len(s.config.training.epochs_per_step) == 1,
        "all facets train from the start: give training.epochs_per_step an entry for each facet",
    ),
    _Unread(
        "training.fade_in_shape",
        lambda s: (
            len(s.config.training.epochs_per_step) > 1 and not s.config.training.n_fade_in_batches
        ),
        "facets come in at once: set training.n_fade_in_batches",
    ),
)


def warn_of_no_effect(state: TrainingState) -> None:
    """Warn of settings with another value than their default that change nothing.

    Args:
        state: before the first step.
    """
    given = [path for path, _ in leaves(config_to_dict(state.config, defaults=False))]
    own = " ".join(f"model.options.{name}" for name in state.model.structure.unread_options)
    of_model = _Unread(own, lambda _: True, "the model has no use for it with these facets")
    for row in (*_TABLE, of_model):
        settings = row.settings.split()
        named = [path for path in given if re.sub(r"\.\d+\.", ".J.", path) in settings]
        if named and row.is_so(state):
            warnings.warn(
                f"{', '.join(named)}: without effect; {row.advice}, or leave it out",
                NoEffectWarning,
                stacklevel=1,  # one place, so that it is told once
            )
