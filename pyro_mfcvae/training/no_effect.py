"""Settings that a person gave and nothing reads."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any, NamedTuple

from pyro_mfcvae.config import Config, config_to_dict
from pyro_mfcvae.config.options import leaves
from pyro_mfcvae.errors import NoEffectWarning
from pyro_mfcvae.guides import temperature_of
from pyro_mfcvae.presets.registry import PRESETS
from pyro_mfcvae.training.state import TrainingState


class _Unread(NamedTuple):
    """Settings, by their dotted paths, without effect if something is so, and what to do."""

    is_so: bool
    settings: tuple[str, ...]
    advice: str


def warn_of_no_effect(state: TrainingState, fades: bool) -> None:
    """Warn of settings that a person gave and that have no effect beside the others.

    Given are values that are neither the default nor the preset's (any preset's, if the settings
    name none): those stay behind where a person swaps a guide or a model.

    Args:
        state: before the first step.
        fades: whether fade weights have a part in the objective.
    """
    given = _given(state.config)
    rows = [*_of_parts(state), *_of_training(state), *_of_fade_in(state, fades)]
    for is_so, settings, advice in rows:
        named = [path for path in given if is_so and _of_any_facet(path) in settings]
        if named:
            warnings.warn(
                f"{', '.join(named)}: without effect; {advice}, or leave it out",
                NoEffectWarning,
                stacklevel=1,  # one place, so that it is told once
            )


def _given(config: Config) -> list[str]:
    named = PRESETS.get(config.preset or "")
    usual: dict[str, list[Any]] = defaultdict(list)
    for preset in PRESETS.values() if named is None else [named]:
        for path, value in leaves(config_to_dict(preset.config)):
            usual[_of_any_facet(path)].append(value)
    own = leaves(config_to_dict(config, defaults=False))
    return [path for path, value in own if value not in usual[_of_any_facet(path)]]


def _of_any_facet(path: str) -> str:
    return re.sub(r"\.\d+\.", ".J.", path)


def _of_parts(state: TrainingState) -> Iterator[_Unread]:
    """Those of model and guide."""
    model, guide, config = state.model, state.objective.guide, state.config
    structure = model.structure
    is_relaxed = temperature_of(guide) is not None and bool(structure.clustered)
    learns = any(facet.learns_components for facet in structure.facets)
    yield _Unread(
        not is_relaxed,
        ("guide.temperature", "guide.temperature_epochs"),
        f"guide {config.guide.name} has no temperature, or there are no clusters: choose guide "
        "relaxed, or one of your own with a buffer of this name, and a facet with clusters",
    )
    yield _Unread(
        not config.model.initialisation.startswith("data-dependent"),
        ("model.initial_spread",),
        "it is for data-dependent initialisation: set model.initialisation=data-dependent",
    )
    yield _Unread(
        config.model.mixture_initialisation != "random" and not learns,
        ("model.mixture_initialisation",),
        "no facet has components to place: networks make them, or there are no clusters",
    )
    yield _Unread(
        not learns,
        tuple(f"model.facets.J.{name}" for name in ("initial_variance", "softplus_beta")),
        "no facet has variances to learn: networks make them, or there are no clusters",
    )
    yield _Unread(
        True,
        tuple(f"model.options.{name}" for name in structure.unread_options),
        f"model {config.model.name} has no use for it with these facets and options",
    )


def _of_training(state: TrainingState) -> Iterator[_Unread]:
    training = state.config.training
    yield _Unread(
        training.learning_rate_schedule != "step",
        tuple(
            f"training.{name}"
            for name in ("learning_rate_decay", "decay_every", "learning_rate_floor")
        ),
        "it is for steps: set training.learning_rate_schedule=step",
    )
    yield _Unread(
        not any(p.requires_grad for p in state.model.facets.parameters()),
        ("training.mixture_learning_rate",),
        "the facets' priors have nothing to learn: give one of them clusters",
    )
    yield _Unread(
        training.kl_start == 1,
        ("training.kl_warm_up",),
        "the KL terms have their full weight from the start: set training.kl_start below 1",
    )
    yield _Unread(
        training.precision == "tf32" and state.fade.device.type != "cuda",
        ("training.precision",),
        "tf32 is for CUDA devices: choose bf16",
    )


def _of_fade_in(state: TrainingState, fades: bool) -> Iterator[_Unread]:
    training = state.config.training
    if not fades:
        yield _Unread(
            len(training.epochs_per_step) > 1,
            tuple(
                f"training.{name}" for name in ("n_fade_in_batches", "fade_in_shape", "kl_floor")
            ),
            "fade weights have no part in this model's objective: give training.epochs_per_step "
            "a single number",
        )
    yield _Unread(
        len(training.epochs_per_step) == 1,
        tuple(f"training.{name}" for name in ("n_fade_in_batches", "fade_in_shape", "kl_floor")),
        "all facets train from the start: give training.epochs_per_step an entry for each facet",
    )
    yield _Unread(
        len(training.epochs_per_step) > 1 and not training.n_fade_in_batches,
        ("training.fade_in_shape",),
        "facets come in at once: set training.n_fade_in_batches",
    )
