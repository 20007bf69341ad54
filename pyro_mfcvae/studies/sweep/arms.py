"""The settings of a sweep, and their short names."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.plugins import check_given_once, with_guide, with_model
from pyro_mfcvae.studies.engine import check_distinct, naming, relocate
from pyro_mfcvae.studies.jobs import Arm
from pyro_mfcvae.studies.sweep.spec import Spec, Values


def make_arms(
    spec: Spec,
    data_dir: Path | None = None,
    device: str | None = None,
    model: str | None = None,
    guide: str | None = None,
) -> list[Arm]:
    """An arm for every setting: arguments as of :class:`~pyro_mfcvae.studies.sweep.Sweep`.

    Raises:
        ConfigError: if a setting does not fit, or two settings are one model.
    """
    base = spec.config()
    if model is not None:
        check_given_once("model", [*spec.set, *spec.varied])
        base = with_model(base, model)
    if guide is not None:
        check_given_once("guide", spec.set)
        base = with_guide(base, guide)
    base = _change(base, spec.set, "set")
    names, arms = short_names(spec.varied), []
    for values in spec.settings():
        label = in_words(values, names) or base.preset or base.data.name
        config = relocate(_change(base, values, label), data_dir, device)
        arms.append(Arm(label, config, label, values=values))
    check_distinct(arms)
    return arms


def short_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest end of each dotted path that tells it from the others.

    An end begins neither with a number nor with ``name``, which says nothing by itself.
    """
    names = {}
    for path in paths:
        parts = path.split(".")
        for start in range(len(parts) - 1, -1, -1):
            name = ".".join(parts[start:])
            same = [other for other in paths if f".{other}".endswith(f".{name}")]
            if same == [path] and not (parts[start].isdecimal() or parts[start] == "name"):
                break
        names[path] = name
    return names


def in_words(values: Mapping[str, object], names: Mapping[str, str]) -> str:
    """Values by their short names, in one line."""
    return ", ".join(f"{names[path]} {as_text(value)}" for path, value in values.items())


def as_text(value: object) -> str:
    """A value as it stands in tables, text without quotes."""
    return value if isinstance(value, str) else json.dumps(value)


def _change(config: Config, values: Values, label: str) -> Config:
    with naming(label):
        config = override(config, _assignments(values))
        by_name = "guide.name" in values and "guide.source" not in values
        return with_guide(config, config.guide.name) if by_name else config


def _assignments(values: Values) -> list[str]:
    return [f"{path}={json.dumps(value)}" for path, value in values.items()]
