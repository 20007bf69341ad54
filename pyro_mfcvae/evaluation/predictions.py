"""A trained model's view of many observations, as arrays."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pyro.distributions import Independent
from torch import Tensor

from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.data.memory import observations_of
from pyro_mfcvae.data.observations import Observations, as_float, find_limits
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.guides import Guide
from pyro_mfcvae.inference.elbo import Weights, term_means
from pyro_mfcvae.inference.noise import Noise, SameNoise
from pyro_mfcvae.models.base import FacetModel

Array = NDArray[np.floating]

BATCH_SIZE = 500
_N_SAMPLES = 16  # of z for each observation
_FAR = 10  # widths of the range that training saw


@dataclass(frozen=True, eq=False)
class Predictions:
    """Per facet, for N observations.

    Attributes:
        responsibilities: J arrays (N, K_j), q(c_j | x) from the mean of q(z_j | x).
        z_mean: J arrays (N, D_j).
    """

    responsibilities: list[Array]
    z_mean: list[Array]

    @property
    def clusters(self) -> list[NDArray[np.int64]]:
        """The most probable cluster of each facet, J arrays (N,)."""
        return [r.argmax(1) for r in self.responsibilities]


def predict(
    model: FacetModel, x: Observations | ArrayLike, batch_size: int = BATCH_SIZE
) -> Predictions:
    """Clusters and latents of observations x (N, *event), uint8 or real, in evaluation mode.

    Arrays and data frames are read as those in a file: grey pictures (N, height, width), channels
    in the last place, booleans and 16 bits are welcome. The batch size is without influence on the
    result.

    Raises:
        DataError: if x has other shapes, missing values, or values far from those of the training.
    """
    if not isinstance(x, StreamedObservations):  # which a data set has looked through
        x = observations_of(x, model.observation.shape)
        check_range(model, x.split(batch_size))
    group = find_group(model, x.split(batch_size))
    parts = [predict_batch(model, batch, group) for batch in x.split(batch_size)]
    return Predictions(
        [np.concatenate(facet) for facet in zip(*(p.responsibilities for p in parts), strict=True)],
        [np.concatenate(facet) for facet in zip(*(p.z_mean for p in parts), strict=True)],
    )


def predict_batch(model: FacetModel, x: Tensor, group: Independent | None) -> Predictions:
    """As :func:`predict`, of observations (B, *event) whose range was checked.

    ``group`` is what :func:`find_group` makes of all observations.
    """
    with model.evaluating():
        batch = as_model_input(model, x)
        zs = [posterior.mean for posterior in model.encode(batch, group=group)]
        assigned = model.assign(batch, zs)
    return Predictions([r.cpu().numpy() for r in assigned], [z.cpu().numpy() for z in zs])


def find_group(model: FacetModel, batches: Iterable[Tensor]) -> Independent | None:
    """What is shared by all observations, of which these are batches, where groups share a latent.

    Other models read no batch.
    """
    with model.evaluating():
        return model.summarise_group(as_model_input(model, batch) for batch in batches)


def check_range(
    model: FacetModel, batches: Iterable[Tensor], what: str = "x", feature_names: Sequence[str] = ()
) -> None:
    """Raise a DataError if values are missing, or so far off that training saw none like them."""
    seen, takes_missing = model.observation, model.likelihood.takes_missing
    low, high, missing = find_limits(batches, what, feature_names, may_be_missing=takes_missing)
    margin = _FAR * ((seen.high - seen.low) or 1.0)
    if low < seen.low - margin or high > seen.high + margin:
        raise DataError(
            f"{what} has values from {low:g} to {high:g}, and the model was trained on "
            f"{seen.low:g} to {seen.high:g}; give them in the unit of the training data"
        )
    model.likelihood.check(ObservationSpec(seen.shape, low, high, missing))


def elbo_means(
    model: FacetModel,
    x: Observations,
    guide: str | Guide = "vade",
    n_samples: int = 1,
    weights: Weights | None = None,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
) -> dict[str, float]:
    """Every term of the ELBO, averaged over all observations x (N, *event).

    Args:
        model: the model.
        x: observations.
        guide: a guide or its name.
        n_samples: S.
        weights: of the terms; None takes the model's fade weights.
        seed: of the noise.
        batch_size: observations at a time.
    """
    totals: dict[str, float] = {}
    weights = Weights(model.kl_fade) if weights is None else weights
    at_once = model.structure.group_size or batch_size  # a group is what was trained
    for step, batch in enumerate(batches(model, x, at_once)):
        with Noise(seed, step):
            terms = model(batch, guide, n_samples)
        for name, value in term_means(terms, weights).items():
            totals[name] = totals.get(name, 0.0) + value.item() * len(batch)
    return {name: total / len(x) for name, total in totals.items()}


def elbo_of_rows(
    model: FacetModel, x: Observations, guide: str, alone: bool = False
) -> NDArray[np.float64]:
    """The ELBO of every observation, (N,), in nats, of 16 samples of z.

    Args:
        model: the model.
        x: observations (N, *event).
        guide: name of the guide.
        alone: give every observation the same noise, so that its ELBO depends on no other one. Else
            the noise differs, and its error in the mean falls as N grows.
    """
    parts = []
    with torch.no_grad():
        for step, batch in enumerate(batches(model, x)):
            with SameNoise(0) if alone else Noise(0, step):
                parts.append(model(batch, guide, _N_SAMPLES).elbo.cpu().numpy())
    return np.concatenate(parts)


def reconstruct(model: FacetModel, x: Tensor) -> Array:
    """Means of p(x | z) at the means of q(z | x): (N, *event) -> (N, *event)."""
    parts = [
        model.decode([q.mean for q in posteriors]).mean
        for _, posteriors in encode_batches(model, x)
    ]
    return torch.cat(parts).cpu().numpy()


def sample(model: FacetModel, n_samples: int, temperature: float = 1.0, seed: int = 0) -> Array:
    """Means of p(x | z), (n_samples, *event), with every facet drawn from its prior.

    Every component's covariance becomes temperature times Sigma.

    Raises:
        ValueError: if there are no samples, or the temperature is negative.
    """
    if n_samples < 1:
        raise ValueError(f"expected at least one sample, got {n_samples}")
    generator = torch.Generator().manual_seed(seed)
    zs = model.sample_prior((n_samples,), temperature=temperature, generator=generator)
    with model.evaluating():
        parts = [
            model.decode(batch).mean
            for batch in zip(*(z.split(BATCH_SIZE) for z in zs), strict=True)
        ]
    return torch.cat(parts).cpu().numpy()


def sample_clusters(
    model: FacetModel,
    facet: int,
    clusters: Sequence[int],
    n_samples: int,
    temperature: float = 1.0,
    seed: int = 0,
) -> Array:
    """Means of p(x | z) with facet j (from 0) drawn from R clusters, the others from their priors.

    Every component's covariance becomes temperature times Sigma. Source: MFCVAE, Section 4.4 and
    Figure 6.

    Returns:
        pictures (R, n_samples, *event).

    Raises:
        ValueError: if the facet or a cluster does not exist, there is nothing to draw, or the
            temperature is negative or not finite.
    """
    check_facet(model, facet)
    check_draws(len(clusters), n_samples, temperature, "cluster")
    generator = torch.Generator().manual_seed(seed)
    shape = (len(clusters), n_samples)
    chosen = {facet: torch.tensor(clusters).unsqueeze(-1)}
    zs = model.sample_prior(shape, chosen, temperature, generator)
    return decode_means(model, zs)


def decode_means(model: FacetModel, zs: Sequence[Tensor]) -> Array:
    """Means of p(x | z) for latents (..., D_j) of every facet, a batch at a time: (..., *event)."""
    shape = zs[0].shape[:-1]
    flat = [z.reshape(-1, z.shape[-1]) for z in zs]
    with model.evaluating():
        parts = [
            model.decode(batch).mean.cpu().numpy()
            for batch in zip(*(z.split(BATCH_SIZE) for z in flat), strict=True)
        ]
    return np.concatenate(parts).reshape(*shape, *parts[0].shape[1:])


def check_facet(model: FacetModel, facet: int) -> None:
    """Raise a ValueError if the model has no such facet."""
    if not 0 <= facet < model.n_facets:
        raise ValueError(f"expected a facet from 0 to {model.n_facets - 1}, got {facet}")


def check_draws(n: int, n_samples: int, temperature: float, what: str) -> None:
    """Raise a ValueError if there is nothing to draw, or no such temperature."""
    if n < 1 or n_samples < 1:
        raise ValueError(
            f"expected at least one {what} and one sample of each, got {n} and {n_samples}"
        )
    if not 0 <= temperature < math.inf:
        raise ValueError(f"expected a temperature from 0 on, got {temperature}")


def latent_means(model: FacetModel, x: Observations) -> list[Tensor]:
    """Means of q(z_j | x), J tensors (N, D_j), of observations that are one group."""
    parts = [[q.mean for q in posteriors] for _, posteriors in encode_batches(model, x)]
    return [torch.cat(facet) for facet in zip(*parts, strict=True)]


def batches(model: FacetModel, x: Observations, batch_size: int = BATCH_SIZE) -> Iterator[Tensor]:
    """Batches as the model takes them, with the model in evaluation mode in between."""
    with model.evaluating():
        for batch in x.split(batch_size):
            yield as_model_input(model, batch)


def encode_batches(
    model: FacetModel, x: Observations, batch_size: int = BATCH_SIZE
) -> Iterator[tuple[Tensor, list[Independent]]]:
    """Batches as the model takes them, and q(z_j | x) of each, in evaluation mode.

    Where observations of a group share a latent, all of x is one group.
    """
    group = find_group(model, x.split(batch_size))
    for batch in batches(model, x, batch_size):
        yield batch, model.encode(batch, group=group)


def as_model_input(model: FacetModel, x: Tensor) -> Tensor:
    """Observations (B, *event), uint8 or floating point, as the model takes them."""
    parameter = next(model.parameters())
    return as_float(x.to(parameter.device), parameter.dtype)
