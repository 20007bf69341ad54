"""Settings of a run: frozen dataclasses to and from JSON, unknown keys refused.

Built directly, the dataclasses raise pydantic's ``ValidationError`` (a ``ValueError``) for values
of the wrong type or range; the functions below turn it into one ``ConfigError``.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from pyro_mfcvae.errors import ConfigError, explain

VERSION = 1

Count = Annotated[int, Field(ge=1, strict=True)]
Whole = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Options = dict[str, Any]

_settings = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))


@_settings
class FacetConfig:
    """One facet's mixture prior.

    Attributes:
        n_clusters: K_j.
        latent_dim: D_j.
        covariance: of p(z | c).
        learn_weights: learn pi_j; otherwise it stays 1/K_j.
        initial_variance: of p(z | c), along every axis.
        softplus_beta: sharpness of the softplus behind the variances; smaller is slower.
    """

    n_clusters: Count
    latent_dim: Count
    covariance: Literal["diagonal", "full"] = "diagonal"
    learn_weights: bool = True
    initial_variance: Positive = 0.01
    softplus_beta: Positive = 10.0


@_settings
class Component:
    """Something looked up in a registry by name, with the options that it takes."""

    name: str
    options: Options = Field(default_factory=dict)


Part = Annotated[
    Component, BeforeValidator(lambda given: {"name": given} if isinstance(given, str) else given)
]


def _one_as_tuple(given: Any) -> Any:
    return (given,) if isinstance(given, int) else given


@_settings
class ModelConfig:
    """Which model, and its parts.

    Attributes:
        name: a registered model.
        facets: shallow first.
        likelihood: p(x | z).
        encoder: features for q(z | x).
        decoder: parameters of p(x | z).
        initialisation: of the networks' weights. ``"data-dependent-published"`` leaves the weights
            of weight-normalised convolutions as they are, as the first authors' code does.
        initial_spread: standard deviation of each layer's output after data-dependent
            initialisation.
        mixture_initialisation: of the mixtures' means: ``"gmm"`` fits a Gaussian mixture to the
            untrained (or pretrained) encoder's means, ``"glorot"`` draws them with variance
            2 / (K + D), ``"random"`` with variance 1. ``"gmm-complete"`` takes the covariances
            and, where they are learnt, the weights of the fit as well.
    """

    name: str = "mfcvae"
    facets: Annotated[tuple[FacetConfig, ...], Field(min_length=1)]
    likelihood: Part
    encoder: Part
    decoder: Part
    initialisation: Literal["default", "glorot", "data-dependent", "data-dependent-published"] = (
        "default"
    )
    initial_spread: Positive = 1.0
    mixture_initialisation: Literal["gmm", "gmm-complete", "glorot", "random"] = "gmm"


@_settings
class GuideConfig:
    """Which guide, and S, the samples of z per observation."""

    name: str = "vade"
    n_samples: Count = 1


@_settings
class WarpConfig:
    """How far random warps of pictures go.

    Attributes:
        rotation: up to so many degrees, either way.
        shear: up to so much of the distance from the middle.
        scale: either axis by a factor from exp(-scale) to exp(scale).
        shift: up to so many pixels, either way.
        elastic: standard deviation, in pixels, of smooth displacements.
        facets: whose encoder sees the warped pictures; None means all. What a warp changes is
            left to the others.
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    shear: Annotated[float, Field(ge=0, le=2)] = 0.0
    scale: Annotated[float, Field(ge=0, le=2)] = 0.0
    shift: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    elastic: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    facets: Annotated[tuple[Whole, ...], Field(min_length=1)] | None = None


@_settings
class TrainingConfig:
    """How to train.

    Attributes:
        batch_size: B.
        learning_rate: of Adam.
        mixture_learning_rate: of Adam for the mixtures' parameters; None takes learning_rate.
        learning_rate_schedule: ``"constant"``, ``"cosine"`` down to 0 over the whole run, or
            ``"step"`` as the next three say.
        learning_rate_decay: what every step multiplies the learning rates with.
        decay_every: epochs between steps.
        learning_rate_floor: no step goes below it.
        learning_rate_warm_up: steps over which the learning rates rise from 0 to the schedule's.
        adam_eps: epsilon of Adam.
        pretraining: of encoder and decoder, before the mixtures are placed; None leaves it out.
        epochs_per_step: epochs of each progressive step in order of time (the first belongs to
            the deepest facet), one per facet; a single number trains all facets at once.
        n_fade_in_batches: batches that a facet takes to fade in.
        fade_in_shape: how its weight rises.
        kl_floor: weight of a facet's KL terms before its turn; they rise from there to 1 as the
            facet fades in.
        kl_start: what all KL terms are multiplied with at first.
        kl_warm_up: epochs between which that rises to 1.
        refit_mixtures: epochs before which the mixtures of the facets that train by then are
            fitted anew, with covariances and weights, to samples of q(z | x).
        warp: random warps of the pictures that encoders see, while the decoder has to give the
            pictures as they are; None leaves that out.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        dtype: of parameters and activations.
        precision: of the networks' products: ``"full"``, ``"tf32"`` (CUDA only: 10 bits of
            mantissa) or ``"bf16"`` (7 bits). Parameters, densities and the optimiser keep dtype.
        cuda_graph: on CUDA, capture the step once and replay it, which spares the launches.
        n_threads: CPU threads; 0 leaves them as they are.
        log_every: steps between log points.
        checkpoint_every: epochs between checkpoints; 0 keeps the last one only.
        evaluate_every: epochs between measurements on held-out data; 0 leaves them to the end.
    """

    batch_size: Count
    learning_rate: Positive
    mixture_learning_rate: Positive | None = None
    learning_rate_schedule: Literal["constant", "cosine", "step"] = "constant"
    learning_rate_decay: Annotated[float, Field(gt=0, le=1)] = 0.9
    decay_every: Count = 10
    learning_rate_floor: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    learning_rate_warm_up: Whole = 0
    adam_eps: Positive = 1e-8
    pretraining: Part | None = None
    epochs_per_step: Annotated[
        tuple[Count, ...], Field(min_length=1), BeforeValidator(_one_as_tuple)
    ]
    n_fade_in_batches: Whole = 0
    fade_in_shape: Literal["linear", "cosine"] = "linear"
    kl_floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    kl_start: Annotated[float, Field(ge=0, le=1)] = 1.0
    kl_warm_up: tuple[Whole, Whole] = (0, 0)
    refit_mixtures: tuple[Whole, ...] = ()
    warp: WarpConfig | None = None
    device: str = "auto"
    dtype: Literal["float32", "float64"] = "float32"
    precision: Literal["full", "tf32", "bf16"] = "full"
    cuda_graph: bool = True
    n_threads: Whole = 0
    log_every: Count = 50
    checkpoint_every: Whole = 0
    evaluate_every: Whole = 0

    def __post_init__(self) -> None:
        first, last = self.kl_warm_up
        if last < first:
            raise ValueError(f"kl_warm_up must be two epochs in order, got {first} and {last}")
        if self.kl_start < 1 and not last:
            raise ValueError(
                f"kl_start {self.kl_start:g} needs kl_warm_up, the epochs between which it rises "
                "to 1, such as [5,15]"
            )
        if self.precision != "full" and self.dtype != "float32":
            raise ValueError(f"precision {self.precision} is for dtype float32, got {self.dtype}")

    @property
    def n_epochs(self) -> int:
        """Epochs of all progressive steps together."""
        return sum(self.epochs_per_step)


@_settings
class Config:
    """A whole run.

    Attributes:
        version: of this layout.
        preset: name of the settings that these come from.
        seed: of weights, order and noise.
        data: the data set.
        model: the model.
        guide: the guide.
        training: how to train.
        sampling_temperature: tau of the figures' samples, drawn with covariances tau * Sigma.
    """

    version: Literal[1] = VERSION
    preset: str | None = None
    seed: Whole = 0
    data: Part
    model: ModelConfig
    guide: GuideConfig = GuideConfig()
    training: TrainingConfig
    sampling_temperature: Positive = 1.0

    def __post_init__(self) -> None:
        n_steps, n_facets = len(self.training.epochs_per_step), len(self.model.facets)
        warp = self.training.warp
        if warp is not None and max(warp.facets or (0,)) >= n_facets:
            raise ValueError(
                f"training.warp.facets must be from 0 to {n_facets - 1}, got {list(warp.facets)}"
            )
        if n_steps not in (1, n_facets):
            raise ValueError(
                f"training.epochs_per_step needs one entry per facet ({n_facets}) or a single one "
                f"to train all facets at once, got {n_steps}"
            )


@functools.cache
def _adapter() -> TypeAdapter[Config]:
    return TypeAdapter(Config)


def config_to_dict(config: Config, defaults: bool = True) -> dict[str, Any]:
    """The settings as plain lists and dictionaries, on request without those at their default."""
    return _adapter().dump_python(config, mode="json", exclude_defaults=not defaults)


def config_from_dict(values: dict[str, Any]) -> Config:
    """Settings from plain lists and dictionaries.

    Raises:
        ConfigError: if a key is unknown or missing, or a value has the wrong type or range.
    """
    try:
        return _adapter().validate_python(values)
    except ValidationError as error:
        raise ConfigError("; ".join(explain(problem) for problem in error.errors())) from None


def config_to_json(config: Config) -> str:
    """The settings as indented JSON."""
    return json.dumps(config_to_dict(config), indent=2) + "\n"


def config_from_json(text: str) -> Config:
    """Settings from JSON.

    Raises:
        ConfigError: if the text is no JSON object, or as for :func:`config_from_dict`.
    """
    try:
        values = json.loads(text)
    except json.JSONDecodeError as error:
        raise ConfigError(f"the settings are not JSON: {error}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"the settings must be a JSON object, got {type(values).__name__}")
    return config_from_dict(values)


def override(config: Config, assignments: Iterable[str]) -> Config:
    """Settings with some replaced, each given as ``dotted.path=value``.

    The value is read as JSON where it is JSON, else as text. Numbers in the path index lists.

    Raises:
        ConfigError: if an assignment has no ``=``, its path is unknown or its value is wrong.
    """
    values = config_to_dict(config)
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(
                "expected dotted.path=value, such as training.learning_rate=1e-3, got "
                f"{assignment!r}"
            )
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        _assign(values, path.strip(), value)
    return config_from_dict(values)


def parse_facets(text: str) -> tuple[FacetConfig, ...]:
    """Facets from ``D:K,D:K``, shallow first.

    Raises:
        ConfigError: if the text has another form, or a number is not positive.
    """
    facets = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*:\s*(\d+)\s*", part)
        if not match or not all(int(number) for number in match.groups()):
            raise ConfigError(
                "facets are given as D:K,D:K (latent dimensions and clusters, both at least 1, "
                f"shallow facet first), such as 10:80,2:40; got {text!r}"
            )
        latent_dim, n_clusters = map(int, match.groups())
        facets.append(FacetConfig(latent_dim=latent_dim, n_clusters=n_clusters))
    return tuple(facets)


def with_facets(config: Config, text: str) -> Config:
    """Settings with other facets, given as ``D:K,D:K``; the rest is fitted to their number.

    A facet keeps the covariance and so on of the one in its place, or of the first. With another
    number of facets, each progressive step but the last is as long as the first was.

    Raises:
        ConfigError: if the text has another form.
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
    return replace(
        config,
        model=replace(config.model, facets=facets),
        training=replace(config.training, epochs_per_step=steps),
    )


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
    key = int(last) if isinstance(values, list) else last
    old = values.get(key) if isinstance(values, dict) else None
    is_part = isinstance(old, dict) and old.keys() == {"name", "options"}
    values[key] = {"name": value, "options": {}} if is_part and isinstance(value, str) else value


def _member(values: Any, key: str, so_far: str, path: str) -> Any:
    if isinstance(values, list):
        if key.isdecimal() and int(key) < len(values):
            return values[int(key)]
        raise ConfigError(f"{so_far} in {path!r}: expected a number from 0 to {len(values) - 1}")
    if not isinstance(values, dict):
        raise ConfigError(f"unknown setting {path!r}: {so_far.rpartition('.')[0]} has no parts")
    if key not in values:
        raise ConfigError(f"unknown setting {path!r}: choose one of {', '.join(values)}")
    return values[key]
