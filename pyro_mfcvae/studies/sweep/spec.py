"""What a sweep is made of, read from YAML or JSON: unknown keys are refused."""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import BeforeValidator, ConfigDict, Field, JsonValue, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pyro_mfcvae.config import Config, Count, Whole, config_from_json
from pyro_mfcvae.config.text import parse_yaml
from pyro_mfcvae.errors import ConfigError, explain, names_in
from pyro_mfcvae.inference.noise import derive_seed
from pyro_mfcvae.presets import DEFAULT, get_preset
from pyro_mfcvae.studies.sweep.objective import Criterion

Values = dict[str, JsonValue]  # by dotted path

EXAMPLE = (Path(__file__).parent / "example.yaml").read_text()

_DIGITS = 4  # significant ones of drawn numbers
_DRAWS_PER_TRIAL = 100
_MOST_TRIALS = 100_000

_part = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))


def _count_seeds(given: Any) -> Any:
    is_number = isinstance(given, int) and not isinstance(given, bool)
    return tuple(range(min(given, _MOST_TRIALS + 1))) if is_number else given


Choices = Annotated[tuple[JsonValue, ...], Field(min_length=1)]
Seeds = Annotated[tuple[Whole, ...], Field(min_length=1), BeforeValidator(_count_seeds)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
StrictInt = Annotated[int, Field(strict=True)]


@_part
class Space:
    """What a setting is drawn from: exactly one of these.

    Attributes:
        choice: values, all as likely.
        uniform: between two numbers.
        log_uniform: between two positive numbers, the logarithm uniform.
        integer: whole numbers from the first to the second, both included.
    """

    choice: Choices | None = None
    uniform: tuple[Finite, Finite] | None = None
    log_uniform: tuple[Finite, Finite] | None = None
    integer: tuple[StrictInt, StrictInt] | None = None

    def __post_init__(self) -> None:
        given = [kind for kind in vars(self) if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(
                "expected exactly one of choice, uniform, log_uniform and integer, got "
                f"{' and '.join(given) or 'none'}"
            )
        bounds = self.uniform or self.log_uniform or self.integer
        if bounds and not bounds[0] < bounds[1]:
            raise ValueError(f"expected the lower bound first, got {bounds[0]} and {bounds[1]}")
        if bounds and not math.isfinite(bounds[1] - bounds[0]):
            raise ValueError(f"expected closer bounds, got {bounds[0]} and {bounds[1]}")
        if self.log_uniform and self.log_uniform[0] <= 0:
            raise ValueError(f"log_uniform needs positive bounds, got {self.log_uniform[0]}")

    def draw(self, generator: np.random.Generator) -> JsonValue:
        """One value; numbers that are not whole are rounded to four digits."""
        if self.choice is not None:
            return self.choice[generator.integers(len(self.choice))]
        if self.integer is not None:
            return int(generator.integers(*self.integer, endpoint=True))
        if self.log_uniform is not None:
            low, high = self.log_uniform
            value = math.exp(generator.uniform(math.log(low), math.log(high)))
        else:
            assert self.uniform is not None  # as validation says: there is exactly one
            low, high = self.uniform
            value = generator.uniform(low, high)
        return min(max(float(f"{value:.{_DIGITS}g}"), low), high)


@_part
class Random:
    """Settings drawn at random.

    Attributes:
        n_trials: how many different ones; each is trained with every seed.
        space: what each setting is drawn from, by dotted path.
        seed: of the draws. With more trials the settings drawn before stay the same; with another
            setting in the space so do the values of the others, unless some came twice.
    """

    n_trials: Count
    space: Annotated[dict[str, Space], Field(min_length=1)]
    seed: Whole = 0

    def draws(self) -> Iterator[Values]:
        """All settings, each once.

        Raises:
            ConfigError: if the space has fewer.
        """
        generators = {
            path: np.random.default_rng(derive_seed(self.seed, path)) for path in self.space
        }
        seen: set[str] = set()
        for _ in range(_DRAWS_PER_TRIAL * self.n_trials):
            values = {path: space.draw(generators[path]) for path, space in self.space.items()}
            key = json.dumps(values, sort_keys=True)
            if key not in seen:
                seen.add(key)
                yield values
            if len(seen) == self.n_trials:
                return
        raise ConfigError(
            f"random: expected {self.n_trials} different settings, but the space gave only "
            f"{len(seen)}; lower n_trials, or give them as a grid"
        )


@_part
class Spec:
    """A sweep.

    Attributes:
        preset: name of the settings to begin with; of neither this nor base the default one.
        base: a file of settings instead, as a run's ``config.json``.
        set: settings for all trials, by dotted path.
        seeds: of every setting; a number counts from 0.
        grid: values by dotted path, of which every combination is trained.
        random: settings drawn at random instead.
        objective: what the trials are judged by.
    """

    preset: str | None = None
    base: Path | None = None
    set: Values = Field(default_factory=dict)
    seeds: Seeds = (0,)
    grid: dict[str, Choices] = Field(default_factory=dict)
    random: Random | None = None
    objective: Criterion = Criterion()

    def __post_init__(self) -> None:
        _exclusive("preset", self.preset, "base", self.base)
        _exclusive("grid", self.grid, "random", self.random)
        n_settings = math.prod(map(len, self.grid.values()))
        n_settings = self.random.n_trials if self.random else n_settings
        if n_settings * len(self.seeds) > _MOST_TRIALS:
            raise ValueError(
                f"expected at most {_MOST_TRIALS:,} trials, got {n_settings:,} settings with "
                f"{len(self.seeds):,} seeds each"
            )
        if len({*self.seeds}) < len(self.seeds):
            raise ValueError(f"seeds: expected different ones, got {[*self.seeds]}")
        for path, values in self.grid.items():
            if len({json.dumps(value) for value in values}) < len(values):
                raise ValueError(f"grid.{path}: expected different values, got {[*values]}")
        for path in [*self.set, *self.varied]:
            if path.strip() == "seed":
                raise ValueError("the seeds of a sweep are given under 'seeds'")
        if twice := [path for path in self.varied if path in self.set]:
            raise ValueError(f"{twice[0]} is varied and given under 'set'; leave one out")

    @property
    def varied(self) -> tuple[str, ...]:
        """Dotted paths of the settings that differ between trials."""
        return tuple(self.grid if self.random is None else self.random.space)

    @property
    def log_uniform(self) -> tuple[str, ...]:
        """Those that are drawn with a uniform logarithm."""
        space = {} if self.random is None else self.random.space
        return tuple(path for path, drawn in space.items() if drawn.log_uniform)

    def settings(self) -> Iterator[Values]:
        """What differs between trials, setting by setting."""
        if self.random is not None:
            yield from self.random.draws()
            return
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))

    def config(self) -> Config:
        """The settings that all trials begin with, without those under ``set``."""
        if self.base is None:
            return get_preset(self.preset or DEFAULT).config
        try:
            return config_from_json(self.base.read_text())
        except (OSError, ValueError) as error:
            raise ConfigError(f"base {self.base} cannot be used: {error}") from None


def _exclusive(name: str, value: object, other: str, other_value: object) -> None:
    if value and other_value:
        raise ValueError(f"{name} and {other} exclude each other; give one of them")


def read_spec(path: Path) -> Spec:
    """A sweep from a YAML or JSON file; a relative ``base`` is searched beside it.

    Raises:
        ConfigError: if the file cannot be read, or a key or value does not fit.
    """
    try:
        spec = spec_from_dict(parse_yaml(path.read_text()))
    except (OSError, UnicodeError, ConfigError) as error:
        raise ConfigError(f"{path} cannot be used: {error}") from None
    if spec.base is None:
        return spec
    base = path.parent / spec.base.expanduser()
    return replace(spec, base=base)  # type: ignore[type-var]  # pydantic's dataclass, too


def spec_from_dict(values: Any) -> Spec:
    """A sweep from plain lists and dictionaries.

    Raises:
        ConfigError: if a key is unknown, or a value does not fit.
    """
    if not isinstance(values, dict):
        raise ConfigError(f"expected keys such as preset, seeds and grid, got {values!r}")
    try:
        return _adapter().validate_python(values)
    except ValidationError as error:
        known = names_in(_adapter().json_schema())
        problems = [explain(problem, known) for problem in error.errors()]
        raise ConfigError("; ".join(problems)) from None


def spec_to_dict(spec: Spec) -> dict[str, Any]:
    """The sweep as plain lists and dictionaries."""
    return _adapter().dump_python(spec, mode="json", exclude_none=True)


@functools.cache
def _adapter() -> TypeAdapter[Spec]:
    return TypeAdapter(Spec)
