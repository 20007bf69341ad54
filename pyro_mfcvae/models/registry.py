"""Names of models, which class the settings of a run mean, and building it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from pyro_mfcvae.config import GuideConfig, ModelConfig, ModelSource
from pyro_mfcvae.config.options import check_options
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import build_guide, guide_class
from pyro_mfcvae.plugins.files import not_given, recorded, warn_of_another

if TYPE_CHECKING:
    from pyro_mfcvae.config.observation import ObservationSpec
    from pyro_mfcvae.models.base import FacetModel

MODELS: dict[str, type[FacetModel]] = {}

_FROM = "@"  # between the name of a class and the checksum of its file


def register_model(name: str) -> Callable[[type[FacetModel]], type[FacetModel]]:
    """Class decorator: make a model known as ``name`` to settings and the command line."""

    def register(model: type[FacetModel]) -> type[FacetModel]:
        MODELS[name] = model
        return model

    return register


def name_of(name: str, source: ModelSource) -> str:
    """What a model from a file is registered as, so that no other can be mistaken for it."""
    return f"{name}{_FROM}{source.sha256}"


def model_names() -> list[str]:
    """The models that need no file, sorted."""
    return sorted(name for name in MODELS if _FROM not in name)


def unknown_model(name: str) -> ConfigError:
    """The error for a name that no model has."""
    return ConfigError(
        f"unknown model {name!r}; choose one of {', '.join(model_names())}, or one of your own as "
        "FILE.py:Name"
    )


def model_class(config: ModelConfig) -> type[FacetModel]:
    """The class that the settings mean. Nothing is imported for it.

    A model from a file is one that :func:`~pyro_mfcvae.models.load_model_file` has made known: that
    of the file with the recorded checksum or else, with an ``OtherModelWarning``, the only one of
    this name.

    Raises:
        ConfigError: if there is none, or several could be meant.
    """
    name, source = config.name, config.source
    if source is None:
        if name not in MODELS:
            raise unknown_model(name)
        return MODELS[name]
    if (key := name_of(name, source)) in MODELS:
        return MODELS[key]
    others = [key for key in MODELS if key.startswith(f"{name}{_FROM}")]
    if not others:
        raise not_given("model", name, source)
    checksums = [key.rpartition(_FROM)[2] for key in others]
    if len(others) > 1:
        given = ", ".join(f"sha256 {checksum[:8]}…" for checksum in checksums)
        raise ConfigError(
            f"{recorded('model', name, source)}; the given files have models of this name, but "
            f"none is that one ({given}): give one file only"
        )
    warn_of_another("model", name, source, checksums)
    return MODELS[others[0]]


def build_model(
    config: ModelConfig, observation: ObservationSpec, guide: GuideConfig | None = None
) -> FacetModel:
    """The model that the settings describe, for observations of this kind.

    Args:
        config: settings of the model.
        observation: what one observation looks like.
        guide: settings of a guide that the model is made with, which it then owns and saves.

    Raises:
        ConfigError: if the model, one of its parts or the guide is unknown or does not fit.
        DataError: if the likelihood cannot describe the observations.
    """
    kind = model_class(config)
    check_options(kind, config.options, f"model {config.name!r}", n_given=5)
    model = kind(
        observation,
        config.facets,
        config.likelihood,
        config.encoder,
        config.decoder,
        **config.options,
    )
    if guide is not None:
        guide_class(guide)
        model.guides[guide.name] = build_guide(guide.name, model)
    return model
