"""Models and guides of one's own, from Python files: loaded, and taken into settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pyro_mfcvae.config import Config, ModelSource
from pyro_mfcvae.data.registry import DATASETS
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import GUIDES, Guide
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.models.registry import MODELS, model_names, name_of, unknown_model
from pyro_mfcvae.nets.registry import DECODERS, ENCODERS, LIKELIHOODS
from pyro_mfcvae.plugins.files import Files, Kind, given_files, is_file, load

_REGISTRIES: dict[str, dict[str, Any]] = {
    "model": MODELS,
    "guide": GUIDES,
    "likelihood": LIKELIHOODS,
    "encoder": ENCODERS,
    "decoder": DECODERS,
    "data set": DATASETS,
}
_PARTS = ("observation", "facets", "likelihood", "encoder", "decoder")
_MODEL = Kind("model", FacetModel, _PARTS, has_options=True, table=MODELS, key=name_of)
_GUIDE = Kind(
    "guide", Guide, ("model",), has_options=False, table=GUIDES, key=lambda name, source: name
)


def load_model_file(text: str) -> ModelSource:
    """Import a file, and make one of its models known to settings that record the file.

    Guides, likelihoods and so on that it registers are known by their names. Its folder is not
    searched for other modules. A file is imported once, and anew after a change, which replaces
    everything that it registered before.

    Args:
        text: ``path/to/file.py:Name``.

    Returns:
        the file and its checksum.

    Raises:
        ConfigError: if there is no such file or model, the file cannot be imported or registers a
            name that is taken, or the model cannot be made as settings make one.
    """
    return load(text, _MODEL, _REGISTRIES)


def load_guide_file(text: str) -> ModelSource:
    """Import a file, and make one of its guides known by the name of its class.

    All else is as for :func:`load_model_file`.

    Args:
        text: ``path/to/file.py:Name``.

    Returns:
        the file and its checksum.

    Raises:
        ConfigError: if there is no such file or guide, the file cannot be imported, a name is
            taken, or the guide cannot be made of a model alone.
    """
    return load(text, _GUIDE, _REGISTRIES)


def load_again(files: Files) -> None:
    """Load in a further process what ``loaded_files`` told in the one that started it.

    Raises:
        ConfigError: if a file has changed meanwhile, or as for :func:`load_model_file`.
    """
    kinds = {kind.name: kind for kind in (_MODEL, _GUIDE)}
    for (kind, text), source in files.items():
        if load(text, kinds[kind], _REGISTRIES) != source:
            raise ConfigError(f"{source.path} has changed since this was started; start it again")


def check_given_once(kind: str, paths: Iterable[str]) -> None:
    """Refuse a model or guide that is given and then replaced by settings.

    Args:
        kind: ``"model"`` or ``"guide"``, of which one is given.
        paths: dotted paths of what is set besides.

    Raises:
        ConfigError: if one of them says which model or guide it is.
    """
    for path in paths:
        if path in (kind, f"{kind}.name") or path.startswith(f"{kind}.source"):
            raise ConfigError(f"the {kind} is given and set by {path}, too; leave one out")


def with_model(config: Config, text: str) -> Config:
    """Settings with another model, and all else as it was.

    Args:
        config: the settings.
        text: a registered name, or ``path/to/file.py:Name`` of a file that is loaded with it.

    Raises:
        ConfigError: if there is no such model, or as for :func:`load_model_file`.
    """
    if text in model_names():
        name, source = text, None
    elif is_file(text):
        source, name = load_model_file(text), text.rpartition(":")[2]
    else:
        raise unknown_model(text)
    return replace(config, model=replace(config.model, name=name, source=source))


def with_guide(config: Config, text: str) -> Config:
    """Settings with another guide, and all else as it was.

    Args:
        config: the settings.
        text: the name of a guide that is known, or ``path/to/file.py:Name`` of a file that is
            loaded with it.

    Raises:
        ConfigError: if there is no such guide, or as for :func:`load_guide_file`.
    """
    if is_file(text):
        source, name = load_guide_file(text), text.rpartition(":")[2]
        return replace(config, guide=replace(config.guide, name=name, source=source))
    if text not in GUIDES:
        raise GUIDES.unknown(text)
    return guide_recorded(replace(config, guide=replace(config.guide, name=text)))


def guide_named(text: str) -> str:
    """The name that a guide has, or will have, of a file that is loaded for it.

    Args:
        text: a name, or ``path/to/file.py:Name``.

    Raises:
        ConfigError: as for :func:`load_guide_file`.
    """
    if not is_file(text):
        return text
    load_guide_file(text)
    return text.rpartition(":")[2]


def guide_recorded(config: Config) -> Config:
    """Settings that record the file of their guide, if it was loaded from one."""
    source = next(iter(given_files("guide", config.guide.name)), None)
    return replace(config, guide=replace(config.guide, source=source))
