"""Settings changed as a person names them: by dotted paths, or facets as ``D:K,D:K``."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from pyro_mfcvae.config.parts import MOST, FacetConfig
from pyro_mfcvae.config.run import Config, config_from_dict, config_to_dict
from pyro_mfcvae.config.text import parse_json
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.registry import unknown


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Settings with some replaced, each given as ``dotted.path=value``.

    The value is read as JSON where it is JSON, else as text. Numbers in the path index lists.
    Another name of the model or guide leaves the file of the old one behind.

    Example:
        >>> from pyro_mfcvae.presets import get_preset
        >>> shapes = get_preset("shapes").config
        >>> config = override(shapes, ["training.learning_rate=0.01", "seed=3"])
        >>> config.training.learning_rate, config.seed
        (0.01, 3)

    Raises:
        ConfigError: if an assignment has no ``=``, its path is unknown or its value is wrong.
    """
    values, parsed = config_to_dict(config), [_parse(assignment) for assignment in assignments]
    with_file = {path.partition(".source")[0] for path, _ in parsed if ".source" in path}
    for path, value in parsed:
        _assign(values, path, value)
        part, _, name = path.partition(".")
        is_named = name == "name" and part in ("model", "guide") and part not in with_file
        if is_named and value != getattr(config, part).name:
            values[part]["source"] = None
    return config_from_dict(values)


def parse_facets(text: str) -> tuple[FacetConfig, ...]:
    """Facets from ``D:K,D:K``, shallow first.

    Example:
        >>> [(facet.latent_dim, facet.n_clusters) for facet in parse_facets("10:80,2:40")]
        [(10, 80), (2, 40)]

    Raises:
        ConfigError: if the text has another form, or a number is out of bounds.
    """
    facets = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})\s*:\s*([0-9]{1,18})\s*", part)
        if not match or not all(1 <= int(number) <= MOST for number in match.groups()):
            raise ConfigError(
                "facets are given as D:K,D:K (latent dimensions and clusters, both from 1 "
                f"to {MOST:,}, shallow facet first), such as 10:80,2:40; got {text!r}"
            )
        latent_dim, n_clusters = map(int, match.groups())
        facets.append(FacetConfig(latent_dim=latent_dim, n_clusters=n_clusters))
    return tuple(facets)


def parse_clusters(text: str) -> tuple[list[int], list[int] | None]:
    """K and D of each facet from ``K,K``, where D is None, or from ``D:K,D:K``, shallow first.

    Raises:
        ConfigError: if the text has another form, or a number is not positive.
    """
    if ":" in text:
        facets = parse_facets(text)
        return [f.n_clusters for f in facets], [f.latent_dim for f in facets]
    if not re.fullmatch(r"\s*0*[1-9][0-9]{0,17}\s*(,\s*0*[1-9][0-9]{0,17}\s*)*", text):
        raise ConfigError(
            "facets are given as K,K or D:K,D:K (clusters, or latent dimensions and clusters, all "
            f"at least 1, shallow facet first), such as 6,4 or 2:6,2:4; got {text!r}"
        )
    return [int(part) for part in text.split(",")], None


def with_facets(config: Config, text: str) -> Config:
    """Settings with other facets, given as ``D:K,D:K``; the rest is fitted to their number.

    A facet keeps the covariance and so on of the one in its place, or of the first. With another
    number of facets, each progressive step but the last is as long as the first was.

    Raises:
        ConfigError: if the text has another form, or other settings do not fit the facets.
    """
    old = config.model.facets
    facets = parse_facets(text)
    likes = old if len(old) == len(facets) else old[:1] * len(facets)
    facets = tuple(
        replace(like, latent_dim=facet.latent_dim, n_clusters=facet.n_clusters)
        for facet, like in zip(facets, likes, strict=True)
    )
    steps = config.training.epochs_per_step
    if len(steps) > 1 and len(facets) != len(old):
        steps = (sum(steps),) if len(facets) == 1 else steps[:1] * (len(facets) - 1) + steps[-1:]
    values = config_to_dict(config)
    values["model"]["facets"] = facets
    values["training"]["epochs_per_step"] = steps
    return config_from_dict(values)


def _parse(assignment: str) -> tuple[str, Any]:
    """A dotted path and its value."""
    path, equals, text = assignment.partition("=")
    if not equals:
        raise ConfigError(
            f"expected dotted.path=value, such as training.learning_rate=1e-3, got {assignment!r}"
        )
    path = path.strip()
    try:
        return path, parse_json(text)
    except json.JSONDecodeError:
        return path, text
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None


def _assign(values: Any, path: str, value: Any) -> None:
    *parents, last = path.split(".")
    free = False  # below "options" the part that takes them says what there is
    for depth, key in enumerate(parents):
        if free and isinstance(values, dict):
            values.setdefault(key, {})
        values = _member(values, key, ".".join(parents[: depth + 1]), path)
        free = free or key == "options"
    if not (free and isinstance(values, dict)):
        _member(values, last, path, path)
    old = values.get(last) if isinstance(values, dict) else None
    is_part = isinstance(old, dict) and old.keys() == {"name", "options"}
    new = {"name": value, "options": {}} if is_part and isinstance(value, str) else value
    values[int(last) if isinstance(values, list) else last] = new


def _member(values: Any, key: str, so_far: str, path: str) -> Any:
    if isinstance(values, list):
        if key in map(str, range(len(values))):
            return values[int(key)]
        raise ConfigError(f"{so_far} in {path!r}: expected a number from 0 to {len(values) - 1}")
    if not isinstance(values, dict):
        raise ConfigError(f"unknown setting {path!r}: {so_far.rpartition('.')[0]} has no parts")
    if key not in values:
        raise unknown("setting", so_far, values)
    return values[key]
