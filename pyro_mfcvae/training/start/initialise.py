"""A model's state before its first step: network weights, then the mixtures."""

from __future__ import annotations

import math
import warnings
from typing import cast

import torch
from torch import Tensor

from pyro_mfcvae.data.observations import Observations, as_float, select
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.inference.noise import derive_seed, site_noise
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.nets.initialise import draw_glorot, scale_to_data
from pyro_mfcvae.priors.conditional import ConditionalMixture
from pyro_mfcvae.priors.mixture import Covariance, MixturePrior

_BATCH = 1000


def initialise_networks(model: FacetModel, x: Observations, how: str, spread: float = 1.0) -> None:
    """Set the weights of encoder, heads and decoder.

    Args:
        model: the model.
        x: training observations (N, *event), of which data-dependent initialisation takes up to
            a thousand, evenly spread: data may be sorted.
        how: ``"default"`` (PyTorch's own), ``"glorot"``, ``"data-dependent"`` or
            ``"data-dependent-published"``.
        spread: standard deviation of each layer's output, where it depends on data.
    """
    if how == "glorot":
        draw_glorot(model)
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
            that are not learnt stay as they are), ``"glorot"`` draws the means from
            N(0, 2 / (K + D)), ``"random"`` leaves them as they are: drawn from N(0, 1).
        seed: of the draws, of the choice of observations and of the Gaussian mixture's own start.
        max_observations: fit to so many, drawn at random.
    """
    if how in ("gmm", "gmm-complete"):
        _fit_mixtures(model, x, seed, max_observations, complete=how == "gmm-complete")
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
    facet.set_components(*_fit_mixture(facet, z, facet.covariance, seed))


def _fit_mixtures(
    model: FacetModel, x: Observations, seed: int, max_observations: int, complete: bool
) -> None:
    stated = model.structure.facets
    if not any(facet.learns_components for facet in stated):
        return
    means = posterior_means(model, draw_observations(x, seed, max_observations))
    for j, (prior, z) in enumerate(zip(model.facets, means, strict=True)):
        if not stated[j].learns_components:
            continue
        facet = cast(MixturePrior, prior)
        covariance: Covariance = facet.covariance if complete else "diagonal"
        fitted = _fit_mixture(facet, z, covariance, seed)
        if complete:
            facet.set_components(*fitted)
        else:
            facet.loc.copy_(fitted[0])


def draw_observations(x: Observations, seed: int, n: int) -> Observations:
    """Up to n observations, drawn at random."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "mixture"))
    x = select(x, torch.randperm(len(x), generator=generator)[:n])
    if isinstance(x, StreamedObservations):
        x = x.in_file_order()  # so that the file is read once
    return x


def _fit_mixture(
    facet: MixturePrior | ConditionalMixture, z: Tensor, covariance: Covariance, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Means, (co)variances and weights of a mixture fitted to z (N, D), on its device.

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
    if isinstance(facet, MixturePrior) and facet.weight_concentration is not None:
        mixture = BayesianGaussianMixture(
            **settings,
            weight_concentration_prior_type="dirichlet_distribution",
            weight_concentration_prior=facet.weight_concentration,
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
    means, covariances, weights = (torch.from_numpy(v).to(z.device) for v in fitted)
    return means, covariances, weights


def posterior_means(model: FacetModel, x: Observations) -> list[Tensor]:
    """Means of q(z_j | x) in evaluation mode: x (N, *event) -> J tensors (N, D_j)."""
    parameter = next(model.parameters())
    with model.evaluating():
        parts = [
            [q.mean for q in model.encode(as_float(batch.to(parameter.device), parameter.dtype))]
            for batch in x.split(_BATCH)
        ]
    return [torch.cat(facet) for facet in zip(*parts, strict=True)]
