"""The runs of a sweep, checked before any of them is trained."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.plugins import check_given_once, with_guide, with_model
from pyro_mfcvae.studies.papers.definition import Arm
from pyro_mfcvae.studies.papers.running import Datasets, placed, run_folder
from pyro_mfcvae.studies.sweep.spec import Spec, Values
from pyro_mfcvae.training.begin import prepare
from pyro_mfcvae.training.no_effect import warn_of_no_effect
from pyro_mfcvae.training.preflight import check_objective_once


@dataclass(frozen=True, eq=False)
class Trial:
    """One run of a sweep.

    Attributes:
        arm: its settings, which it shares with the trials that differ by the seed only.
        values: what its settings differ in from those of other trials, by dotted path.
        config: its settings with its seed.
        folder: of the run.
    """

    arm: Arm
    values: Values
    config: Config
    folder: Path

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.config.seed

    @property
    def name(self) -> str:
        """The same wherever and whenever these settings are trained with this seed."""
        return self.folder.name

    def __str__(self) -> str:
        return f"{self.arm.label}, seed {self.seed}"


def all_trials(
    spec: Spec,
    out: Path,
    data_dir: Path | None = None,
    device: str | None = None,
    model: str | None = None,
    guide: str | None = None,
) -> list[Trial]:
    """Every setting with every seed, seed by seed.

    Args:
        spec: the sweep.
        out: the folder with the folder ``runs``.
        data_dir: folder of the data's files.
        device: to train on; None leaves the settings as they are.
        model: a model's name, or ``path/to/file.py:Name``; None leaves the settings as they are.
        guide: likewise of a guide, which the sweep may still vary by name.

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
    base = _changed(base, spec.set, "set")
    names = short_names(spec.varied)
    found: dict[Path, str] = {}
    arms = []
    for values in spec.settings():
        label = in_words(values, names) or base.preset or base.data.name
        config = placed(_changed(base, values, label), data_dir, device)
        same = found.setdefault(run_folder(out, config), label)
        if same != label:
            raise ConfigError(f"{same} and {label} are one model; vary what makes a difference")
        arms.append((Arm(label, config, label), values))
    return [
        Trial(arm, values, config, run_folder(out, config))
        for seed in spec.seeds
        for arm, values in arms
        for config in [replace(arm.config, seed=seed)]
    ]


def check(trials: Sequence[Trial], spec: Spec, datasets: Datasets) -> None:
    """Tell before hours of work what does not fit, is missing or has no effect.

    Args:
        trials: of which one per setting is built and initialised.
        spec: the sweep, with the objective.
        datasets: keeps the data.

    Raises:
        ConfigError, DataError: with the setting that it is about.
    """
    one_of_each = {trial.arm.label: trial for trial in reversed(trials)}.values()
    for trial in one_of_each:
        with _named(trial.arm.label):
            dataset = datasets.load(trial.config.data)
            spec.objective.check(trial.config, dataset)
            _, state = prepare(trial.config, dataset)
            check_objective_once(state)
            warn_of_no_effect(state)


@contextmanager
def _named(label: str) -> Iterator[None]:
    """Let errors name the settings that they are about."""
    try:
        yield
    except (ConfigError, DataError) as error:
        raise type(error)(f"{label}: {error}") from None


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


def _changed(config: Config, values: Values, label: str) -> Config:
    with _named(label):
        config = override(config, _assignments(values))
        by_name = "guide.name" in values and "guide.source" not in values
        return with_guide(config, config.guide.name) if by_name else config


def _assignments(values: Values) -> list[str]:
    return [f"{path}={json.dumps(value)}" for path, value in values.items()]
