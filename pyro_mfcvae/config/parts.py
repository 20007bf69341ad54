"""Settings of a model and its guide, and what all settings are made of."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar, cast, dataclass_transform

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

Count = Annotated[int, Field(ge=1, lt=2**63, strict=True)]
Whole = Annotated[int, Field(ge=0, lt=2**63, strict=True)]
MOST = 2**20
"""Units, dimensions, clusters or samples at most: 64 bits count the bytes of their products."""
Size = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Options = dict[str, Any]

T = TypeVar("T")
SAME_RUN = "another value is still the same run"
SameRun = Annotated[T, SAME_RUN]
"""The type of a setting that changes no result of a run, such as where it is computed."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """Make a class a frozen dataclass that checks its values and refuses unknown names."""
    checked = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
    return cast(type[T], checked(cls))


@settings
class FacetConfig:
    """One facet's mixture prior.

    Attributes:
        n_clusters: K_j, number of clusters; 1 means that the facet has no clusters and the prior
            N(0, I).
        latent_dim: D_j, dimensions of the latent.
        covariance: form of the covariances of p(z | c).
        learn_weights: learn pi_j, or leave it at 1/K_j; None learns it where the model can.
        initial_variance: variance of p(z | c) at the start, along every axis.
        softplus_beta: sharpness of the softplus behind the variances; smaller is slower.
        weight_concentration: alpha of a symmetric Dirichlet prior over pi_j, under which a facet
            chooses how many of its clusters it uses: few if it is far below 1, all if it is large.
            ``learn_weights`` is then not read. None leaves pi_j without a prior.
    """

    n_clusters: Size
    latent_dim: Size
    covariance: Literal["diagonal", "full"] = "diagonal"
    learn_weights: bool | None = None
    initial_variance: Positive = 0.01
    softplus_beta: Positive = 10.0
    weight_concentration: Positive | None = None

    @property
    def has_clusters(self) -> bool:
        """Whether there are clusters to tell apart: one is none."""
        return self.n_clusters > 1


@settings
class Component:
    """Something looked up in a registry by name, with the options that it takes."""

    name: str
    options: Options = Field(default_factory=dict)


Part = Annotated[
    Component, BeforeValidator(lambda given: {"name": given} if isinstance(given, str) else given)
]


@settings
class ModelSource:
    """The file of a model, or of a guide, of one's own.

    Attributes:
        path: path of the file; of a package's file the name of the module.
        sha256: checksum of what the file held.
    """

    path: SameRun[str]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]

    @property
    def file(self) -> str:
        """The file's name without its folder."""
        return PurePath(self.path).name

    def named(self, name: str) -> str:
        """How to name a class of it; where its folder is by now is open."""
        return f"{'path/to/' * self.path.endswith('.py')}{self.file}:{name}"

    def without_folder(self) -> ModelSource:
        """The same file, with nothing but its name for a path."""
        return replace(self, path=self.file)


@settings
class ModelConfig:
    """Which model, and its parts.

    Attributes:
        name: a registered model, or a class in a file.
        source: file of a model of one's own. It is never imported because settings name it.
        facets: the facets, shallow first.
        likelihood: a registered likelihood p(x | z).
        encoder: a registered network from x to features for q(z | x).
        decoder: a registered network from z to parameters of p(x | z).
        options: further options of this model.
        initialisation: first values of the networks' weights. ``"data-dependent-published"`` leaves
            the weights of weight-normalised convolutions as they are, as the first authors' code
            does.
            ``"subspaces"`` begins with linear maps to subspaces of the data that have clusters of
            their own, one for each facet; encoder and decoder are ``shared`` with ``linear`` then.
        initial_spread: standard deviation of each layer's output after data-dependent
            initialisation.
        mixture_initialisation: first values of the mixtures' means: ``"gmm"`` fits a Gaussian
            mixture to the untrained (or pretrained) encoder's means, ``"glorot"`` draws them with
            variance 2 / (K + D), ``"random"`` with variance 1. ``"gmm-complete"`` takes the
            covariances and, where they are learnt, the weights of the fit as well, and
            ``"gmm-posterior"`` adds the mean variance of q(z | x) to these covariances.
    """

    name: str = "mfcvae"
    source: ModelSource | None = None
    facets: Annotated[tuple[FacetConfig, ...], Field(min_length=1)]
    likelihood: Part
    encoder: Part
    decoder: Part
    options: Options = Field(default_factory=dict)
    initialisation: Literal[
        "default", "glorot", "data-dependent", "data-dependent-published", "subspaces"
    ] = "default"
    initial_spread: Positive = 1.0
    mixture_initialisation: Literal["gmm", "gmm-complete", "gmm-posterior", "glorot", "random"] = (
        "gmm"
    )


@settings
class GuideConfig:
    """Which guide.

    Attributes:
        name: a registered guide, or a class in a file.
        source: file of a guide of one's own. It is never imported because settings name it.
        n_samples: S, samples of z per observation.
        temperature: temperature of guides that have one, such as ``relaxed``, at first and in the
            end; it falls exponentially.
        temperature_epochs: epochs over which the temperature falls; 0 takes the whole run.
    """

    name: str = "vade"
    source: ModelSource | None = None
    n_samples: Size = 1
    temperature: tuple[Positive, Positive] = (1.0, 0.5)
    temperature_epochs: Whole = 0
