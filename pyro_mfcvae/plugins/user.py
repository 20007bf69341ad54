"""Models and guides of a person's own: loaded, taken into settings, and found again for them."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pyro_mfcvae.config import Config, GuideConfig, ModelConfig, ModelSource
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.config.options import check_options
from pyro_mfcvae.errors import ConfigError, OtherModelWarning
from pyro_mfcvae.guides import GUIDES, Guide, build_guide
from pyro_mfcvae.models import MODELS, FacetModel
from pyro_mfcvae.plugins.files import Files, Kind, is_file, load, loaded_parts

_PARTS = ("observation", "facets", "likelihood", "encoder", "decoder")
_MODEL = Kind("model", FacetModel, _PARTS, has_options=True, registry=MODELS, is_named=False)
_GUIDE = Kind("guide", Guide, ("model",), has_options=False, registry=GUIDES, is_named=True)
_KINDS = {kind.name: kind for kind in (_MODEL, _GUIDE)}


def load_model_file(text: str) -> ModelSource:
    """Import ``path/to/file.py:Name`` or ``package.module:Name`` for settings that record it.

    Guides, likelihoods and so on that it registers are known by their names. Its folder is not
    searched for other modules. A file is imported once, and anew after a change, which replaces
    everything that it registered before.

    Returns:
        the file and its checksum.

    Raises:
        ConfigError: if there is no such file or model, the file cannot be imported or registers a
            name that is taken, or the model cannot be made as settings make one.
    """
    return load(text, _MODEL).source


def load_guide_file(text: str) -> ModelSource:
    """Import a file or module, and make one of its guides known by the name of its class.

    All else is as for :func:`load_model_file`; a guide must be made of a model alone.
    """
    return load(text, _GUIDE).source


def load_again(files: Files) -> None:
    """Load in a further process what ``loaded_files`` told in the one that started it.

    Raises:
        ConfigError: if a file has changed meanwhile, or as for :func:`load_model_file`.
    """
    for (kind, text), source in files.items():
        if load(text, _KINDS[kind]).source != source:
            raise ConfigError(f"{source.path} has changed since this was started; start it again")


def with_model(config: Config, text: str) -> Config:
    """Settings with another model, and all else as it was.

    It is a registered name, or what :func:`load_model_file` takes, which loads it.

    Raises:
        ConfigError: if there is no such model, or as for :func:`load_model_file`.
    """
    return _with_part(config, _MODEL, text)


def with_guide(config: Config, text: str) -> Config:
    """Settings with another guide, and all else as it was.

    It is a registered name, or what :func:`load_guide_file` takes, which loads it. Where a guide of
    this name was loaded, its file is recorded.

    Raises:
        ConfigError: if there is no such guide, or as for :func:`load_guide_file`.
    """
    return _with_part(config, _GUIDE, text)


def guide_name(text: str) -> str:
    """The name of a guide; what :func:`load_guide_file` takes is loaded for it.

    Raises:
        ConfigError: as for :func:`load_guide_file`.
    """
    return load(text, _GUIDE).part.__name__ if is_file(text) else text


def check_given_once(kind: str, paths: Iterable[str]) -> None:
    """Refuse a ``"model"`` or ``"guide"`` that is given and then replaced by settings.

    Raises:
        ConfigError: if one of the dotted paths that are set besides says which it is.
    """
    for path in paths:
        if path in (kind, f"{kind}.name") or path.startswith(f"{kind}.source"):
            raise ConfigError(f"the {kind} is given and set by {path}, too; leave one out")


def model_class(config: ModelConfig) -> type[FacetModel]:
    """The class that the settings of a model mean. Nothing is imported for it.

    Raises:
        ConfigError: if there is none, or its file was not loaded.
    """
    return _find(config, _MODEL)


def guide_class(config: GuideConfig) -> type[Guide]:
    """The class that the settings of a guide mean, as :func:`model_class` finds it."""
    return _find(config, _GUIDE)


def build_model(
    config: ModelConfig, observation: ObservationSpec, guide: GuideConfig | None = None
) -> FacetModel:
    """The model that the settings describe, for observations of this kind.

    With settings of a guide, the model is made with it, and owns and saves it.

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


def _with_part(config: Config, kind: Kind, text: str) -> Config:
    if is_file(text):
        name, source = text.rpartition(":")[2], load(text, kind).source
    else:
        part = kind.registry[text]
        loaded = [known.source for known in loaded_parts(kind.name, text) if known.part is part]
        name, source = text, next(iter(loaded), None)
    return replace(
        config, **{kind.name: replace(getattr(config, kind.name), name=name, source=source)}
    )


def _find(config: ModelConfig | GuideConfig, kind: Kind) -> type[Any]:
    """The registered class, or the loaded one: that of the recorded file or else the only one."""
    name, source = config.name, config.source
    if source is None:
        return kind.registry[name]
    loaded = {known.source.sha256: known.part for known in loaded_parts(kind.name, name)}
    if source.sha256 in loaded:
        return loaded[source.sha256]
    recorded = f"this run's {kind.name} is {name} of {source.file} (sha256 {source.sha256[:8]}…)"
    if not loaded:
        raise ConfigError(
            f"{recorded}; nothing is executed that a run folder names: pass --{kind.name} "
            f"{source.named(name)}, or in Python give it to load_{kind.name}_file first"
        )
    given = ", ".join(f"sha256 {sha256[:8]}…" for sha256 in loaded)
    if len(loaded) > 1:
        raise ConfigError(
            f"{recorded}; the given files have {kind.name}s of this name, but none is that one "
            f"({given}): give one file only"
        )
    warnings.warn(
        f"{recorded}, but the given file is another one or has changed ({given}); it is used",
        OtherModelWarning,
        stacklevel=1,  # one place, so that it is told once
    )
    return next(iter(loaded.values()))
