"""What can be told of a model from its settings alone, before there are any data."""

from __future__ import annotations

import torch

from pyro_mfcvae.config import Config, ModelConfig
from pyro_mfcvae.data.observations import ObservationSpec
from pyro_mfcvae.guides import check_guide
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.models.registry import build_model, model_class

_SHAPES = ((3, 32, 32), (1, 28, 28), (3, 64, 64), (2,))


def check_fit(config: Config) -> None:
    """Refuse a guide that does not fit the model, as far as that does not depend on the data.

    Raises:
        ConfigError: if the model or the guide is unknown, or the guide does not fit.
    """
    model_class(config.model)
    check_guide(config.guide.name, stand_in(config.model))


def stand_in(config: ModelConfig) -> FacetModel | None:
    """The model for observations of some shape that its networks take; None if none is known."""
    for shape in _SHAPES:
        try:
            with torch.random.fork_rng(devices=[]):
                return build_model(config, ObservationSpec(shape))
        except (ValueError, TypeError, RuntimeError):
            continue  # another shape may do; what is wrong besides shows with the data
    return None
