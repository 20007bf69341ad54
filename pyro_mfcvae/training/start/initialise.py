"""A model's state before its first step: network weights, then the mixtures."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from pyro.distributions import Independent
from torch import Tensor

from pyro_mfcvae.data.observations import Observations, as_float, select
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.inference.noise import derive_seed, site_noise
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.nets.initialise import draw_glorot, scale_to_data
from pyro_mfcvae.priors.conditional import ConditionalMixture
from pyro_mfcvae.priors.mixture import Covariance, MixturePrior
from pyro_mfcvae.training.start.subspaces import MOST_SEARCHED, start_in_subspaces

_BATCH = 1000


class _Fitted(NamedTuple):
    """Components (K, D), (K, D[, D]) and (K,) of a mixture that was fitted to latents."""

    means: Tensor
    covariances: Tensor
    weights: Tensor


def initialise_networks(
    model: FacetModel, x: Observations, how: str, spread: float = 1.0, seed: int = 0
) -> None:
    """Set the weights of encoder, heads and decoder.

    Args:
        model: the model.
        x: training observations (N, *event), of which data-dependent initialisation takes up to
            a thousand, evenly spread: data may be sorted.
        how: ``"default"`` (PyTorch's own), ``"glorot"``, ``"data-dependent"``,
            ``"data-dependent-published"`` or ``"subspaces"``.
        spread: standard deviation of each layer's output, where it depends on data.
        seed: of the search for subspaces.

    Raises:
        ConfigError: if the model cannot begin with subspaces.
    """
    if how == "glorot":
        draw_glorot(model)
    elif how == "subspaces":
        most = max(MOST_SEARCHED, *(facet.n_clusters for facet in model.structure.facets))
        start_in_subspaces(model, draw_observations(x, seed, most), seed)
    elif how.startswith("data-dependent"):
        parameter = next(model.parameters())
        batch = as_float(x[:: -(-len(x) // _BATCH)].to(parameter.device), parameter.dtype)
        model.train()
        scale_to_data(
            model,
            lambda: model.decode([q.mean for q in model.encode(batch)]),
            spread,
            published=how == "data-dependent-published",
        )


@torch.no_grad()
def initialise_mixtures(
    model: FacetModel, x: Observations, how: str, seed: int, max_observations: int = 10_000
) -> None:
    """Set the mixtures' means; weights and variances stay as they are but for one choice.

    Source: MFCVAE, Appendix D.4; ``"gmm-complete"`` after Jiang et al., "Variational Deep
    Embedding", IJCAI 2017, Section 4.1 and its code.

    Args:
        model: the model, with an untrained or pretrained encoder.
        x: training observations (N, *event).
        how: ``"gmm"`` puts the means where a Gaussian mixture finds clusters of the encoder's
            means, ``"gmm-complete"`` takes over its covariances and weights as well (weights
            that are not learnt stay as they are), ``"gmm-posterior"`` adds the mean variance of
            q(z | x) to these covariances, ``"glorot"`` draws the means from
            N(0, 2 / (K + D)), ``"random"`` leaves them as they are: drawn from N(0, 1).
        seed: of the draws, of the choice of observations and of the Gaussian mixture's own start.
        max_observations: fit to so many, drawn at random.
    """
    if how.startswith("gmm"):
        _fit_mixtures(model, x, how, seed, max_observations)
    elif how == "glorot":
        for j, facet in enumerate(model.facets):
            if not model.structure.facets[j].learns_components:
                continue
            loc = cast(MixturePrior, facet).loc
            noise = site_noise(seed, 0, f"mixture/{j}", loc.shape, loc)
            loc.copy_(noise * math.sqrt(2 / sum(loc.shape)))


@torch.no_grad()
def fit_mixture(facet: MixturePrior | ConditionalMixture, z: Tensor, seed: int) -> None:
    """Fit a mixture anew, covariances and weights included, to latents z (N, D).

    Of samples of q(z | x) it makes the prior that is best for the encoder as it is: the ELBO has
    E log p(z) over them.
    """
    alpha = facet.weight_concentration if isinstance(facet, MixturePrior) else None
    facet.set_components(*_fit_mixture(facet, z, facet.covariance, seed, alpha))


def _fit_mixtures(
    model: FacetModel, x: Observations, how: str, seed: int, max_observations: int
) -> None:
    stated, complete = model.structure.facets, how != "gmm"
    if not any(facet.learns_components for facet in stated):
        return
    x = draw_observations(x, seed, max_observations)
    for j, (prior, posteriors) in enumerate(zip(model.facets, _posteriors(model, x), strict=True)):
        if not stated[j].learns_components:
            continue
        facet, z = cast(MixturePrior, prior), _means(posteriors)
        covariance: Covariance = facet.covariance if complete else "diagonal"
        alpha = facet.weight_concentration
        fitted = _fit_mixture(facet, z, covariance, seed, alpha if complete else None)
        if how == "gmm-posterior":
            own = torch.cat([q.variance for q in posteriors]).mean(0).to(fitted.covariances)
            wider = fitted.covariances + (own.diag() if covariance == "full" else own)
            fitted = fitted._replace(covariances=wider)
        if complete:
            facet.set_components(*fitted)
        else:
            facet.loc.copy_(fitted.means)


def draw_observations(x: Observations, seed: int, n: int) -> Observations:
    """Up to n observations, drawn at random."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "mixture"))
    x = select(x, torch.randperm(len(x), generator=generator)[:n])
    if isinstance(x, StreamedObservations):
        x = x.in_file_order()  # so that the file is read once
    return x


def _fit_mixture(
    facet: MixturePrior | ConditionalMixture,
    z: Tensor,
    covariance: Covariance,
    seed: int,
    alpha: float | None,
) -> _Fitted:
    """A mixture fitted to z (N, D), on its device.

    With alpha the weights have a Dirichlet prior, which switches off what latents do not need.

    Raises:
        TrainingError: if the latents are not finite, or so much alike that there is nothing to fit.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import BayesianGaussianMixture, GaussianMixture

    settings = {
        "n_components": facet.n_clusters,
        "covariance_type": "full" if covariance == "full" else "diag",
        "random_state": derive_seed(seed) % 2**31,
    }
    mixture = GaussianMixture(**settings)
    if alpha is not None:
        mixture = BayesianGaussianMixture(
            **settings,
            weight_concentration_prior_type="dirichlet_distribution",
            weight_concentration_prior=alpha,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a start need not be a fit
        try:
            mixture.fit(z.double().cpu().numpy())
        except ValueError as error:
            raise TrainingError(
                f"no mixture of {facet.n_clusters} clusters can be fitted to latents from "
                f"{z.min():.6g} to {z.max():.6g}, which may not vary, as x may not, or lie too far "
                "apart; look at the values of x, or set model.mixture_initialisation=random "
                f"({' '.join(str(error).split())})"
            ) from error
    fitted = (mixture.means_, mixture.covariances_, mixture.weights_)
    return _Fitted(*(torch.from_numpy(v).to(z.device) for v in fitted))


def posterior_means(model: FacetModel, x: Observations) -> list[Tensor]:
    """Means of q(z_j | x) in evaluation mode: x (N, *event) -> J tensors (N, D_j)."""
    return [_means(own) for own in _posteriors(model, x)]


def _means(posteriors: Sequence[Independent]) -> Tensor:
    return torch.cat([q.mean for q in posteriors])


def _posteriors(model: FacetModel, x: Observations) -> list[tuple[Independent, ...]]:
    """q(z_j | x) of each facet, batch by batch."""
    parameter = next(model.parameters())
    with model.evaluating():
        parts = [
            model.encode(as_float(batch.to(parameter.device), parameter.dtype))
            for batch in x.split(_BATCH)
        ]
    return list(zip(*parts, strict=True))
