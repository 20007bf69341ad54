"""Settings of a model and its guide, and what all settings are made of."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.dataclasses import dataclass

Count = Annotated[int, Field(ge=1, strict=True)]
Whole = Annotated[int, Field(ge=0, strict=True)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Options = dict[str, Any]

settings = dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))


@settings
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


@settings
class Component:
    """Something looked up in a registry by name, with the options that it takes."""

    name: str
    options: Options = Field(default_factory=dict)


Part = Annotated[
    Component, BeforeValidator(lambda given: {"name": given} if isinstance(given, str) else given)
]


@settings
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


@settings
class GuideConfig:
    """Which guide, and S, the samples of z per observation."""

    name: str = "vade"
    n_samples: Count = 1
