"""How a preset is written: rows of numbers, in the order of the papers' tables."""

from __future__ import annotations

import sys
from typing import Any

from pyro_mfcvae.config import Component, Config, FacetConfig, GuideConfig, ModelConfig
from pyro_mfcvae.config import TrainingConfig as Training
from pyro_mfcvae.presets.registry import PRESETS, Preset


def preset(
    name: str,
    description: str,
    data: Component | str,
    model: ModelConfig,
    training: Training,
    guide: GuideConfig | None = None,
    *,
    source: str,
    expected: str,
    sampling_temperature: float = 1.0,
) -> Preset:
    """Register settings under a name: arguments as of Preset and Config."""
    config = Config(
        preset=name,
        data=part(data) if isinstance(data, str) else data,
        model=model,
        guide=guide or GuideConfig(),
        training=training,
        sampling_temperature=sampling_temperature,
    )
    made = Preset(config, description, source, expected)
    PRESETS.put(name, made, sys._getframe(1).f_globals["__name__"])
    return made


def part(name: str, /, **options: Any) -> Component:
    """Something from a registry, with its options."""
    return Component(name=name, options=options)


def facets(*sizes: tuple[int, int], **shared: Any) -> tuple[FacetConfig, ...]:
    """Facets of sizes (K, D), shallow first, with settings that all share."""
    return tuple(FacetConfig(n_clusters=k, latent_dim=dim, **shared) for k, dim in sizes)


def model(
    facets: tuple[FacetConfig, ...],
    likelihood: Component,
    encoder: Component,
    decoder: Component,
    name: str = "mfcvae",
    **more: Any,
) -> ModelConfig:
    """A model and its parts."""
    return ModelConfig(
        name=name, facets=facets, likelihood=likelihood, encoder=encoder, decoder=decoder, **more
    )


def training(
    batch_size: int,
    learning_rate: float,
    epochs: tuple[int, ...],
    n_fade_in: int = 0,
    saved: int = 0,
    judged: int = 0,
    **more: Any,
) -> Training:
    """How to train.

    Args:
        batch_size: B.
        learning_rate: of Adam.
        epochs: of each progressive step, the deepest facet's first.
        n_fade_in: batches that a facet takes to fade in.
        saved: epochs between checkpoints.
        judged: epochs between measurements on held-out data.
        **more: further settings of a training.
    """
    return Training(
        batch_size=batch_size,
        learning_rate=learning_rate,
        epochs_per_step=epochs,
        n_fade_in_batches=n_fade_in,
        checkpoint_every=saved,
        evaluate_every=judged,
        **more,
    )


BERNOULLI = part("bernoulli")
FULL = {"covariance": "full", "learn_weights": False}
UNMEASURED = "not measured with this library yet"


def gaussian(scale: float, **options: Any) -> Component:
    """p(x | z) with this standard deviation."""
    return part("gaussian", scale=scale, **options)


def squashed_gaussian(scale: float) -> Component:
    """A Gaussian whose mean is between 0 and 1."""
    return gaussian(scale, output_activation="sigmoid")
