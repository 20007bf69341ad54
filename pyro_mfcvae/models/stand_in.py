"""What can be told of a model from its settings alone, before there are any data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

import torch

from pyro_mfcvae.config import Config, ModelConfig
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.config.options import leaves
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import check_guide, guide_class
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.models.registry import build_model, model_class

_SHAPES = ((3, 32, 32), (1, 28, 28), (3, 64, 64), (2,))
_LEARN = r"model\.facets\.\d+\.learn_weights"


def check_fit(config: Config) -> None:
    """Refuse a guide that does not fit the model, as far as that does not depend on the data.

    Raises:
        ConfigError: if the model or the guide is unknown, or the guide does not fit.
    """
    model_class(config.model)
    guide_class(config.guide)
    check_guide(config.guide.name, stand_in(config.model))


def check_given(config: Config, assignments: Iterable[str]) -> None:
    """Refuse what a person asks for by name and the model does not do.

    Args:
        config: the settings that came of it.
        assignments: each ``dotted.path=value``.

    Raises:
        ConfigError: if weights are to be learnt that are 1/K by the model's story, or the model is
            unknown.
    """
    for assignment in assignments:
        path, _, text = assignment.partition("=")
        given = _leaves(path.strip(), text)
        if not any(re.fullmatch(_LEARN, name) and value is True for name, value in given):
            continue
        model = stand_in(config.model)
        clustered = [] if model is None else [f for f in model.structure.facets if f.has_clusters]
        if clustered and not any(facet.learns_components for facet in clustered):
            raise ConfigError(
                f"the weights of mixtures are 1/K in model {config.model.name!r} and not learnt, "
                "whatever learn_weights of its facets says; leave it out, or choose another model, "
                "such as mfcvae"
            )


def _leaves(path: str, text: str) -> Iterator[tuple[str, Any]]:
    try:
        return leaves(json.loads(text), path)
    except json.JSONDecodeError:
        return iter([(path, text)])


def stand_in(config: ModelConfig) -> FacetModel | None:
    """The model for observations of some shape that its networks take; None if none is known."""
    for shape in _SHAPES:
        try:
            with torch.random.fork_rng(devices=[]):
                return build_model(config, ObservationSpec(shape))
        except (ValueError, TypeError, RuntimeError):
            continue  # another shape may do; what is wrong besides shows with the data
    return None
