"""Models of points in the plane: densities, samples and latents, beside a Gaussian mixture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.drawing.held_out import HeldOut, look
from pyro_mfcvae.figures import Plane
from pyro_mfcvae.runs.run import Run

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_GRID, _N_DRAWS, _N_SAMPLES = 90, 30_000, 200


def data_and_latents(runs: Mapping[str, tuple[Run, Dataset]], title: str = "") -> Figure:
    """Each model's density, samples of its components and its latents; the first row has the data.

    Source: Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
    Autoencoders", 2016, Figure 2.

    Args:
        runs: {title: run and its data}, of the same points.
        title: above all.

    Raises:
        ValueError: if the data are no points in the plane.
    """
    all_seen = {name: look(run, dataset) for name, (run, dataset) in runs.items()}
    (_, dataset), first = next(iter(runs.values())), next(iter(all_seen.values()))
    x = first.observed(np.arange(len(first.x)))
    if x.shape[1:] != (2,):
        raise ValueError(f"expected points in the plane, (N, 2), got observations {x.shape}")
    window = figures.window_around(x)
    classes = next(iter(first.labels.values()), None)
    training = dataset.split("train")[0].cpu().numpy()
    rows = [
        [
            Plane("held-out points, by class", x, classes, window=window),
            *_gaussian_mixture(training, x, first.model.facets[0].n_clusters, window),
        ]
    ]
    rows += [_row(name, seen, x, window) for name, seen in all_seen.items()]
    note = (
        "numbers: components; ellipses: one standard deviation, of latents at the style's mean\n"
        "densities: black is 0, the brightest colour each panel's own maximum"
    )
    return figures.planes(rows, title, note)


def _gaussian_mixture(
    training: np.ndarray, x: np.ndarray, n_clusters: int, window: figures.Window
) -> list[Plane]:
    """The density and the clusters of a plain Gaussian mixture."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_clusters, random_state=0).fit(training)
    density = mixture.score_samples(figures.grid_points(window, _N_GRID))
    components = {"means": mixture.means_, "covariances": mixture.covariances_, "window": window}
    name = f"Gaussian mixture, K = {n_clusters}"
    return [
        Plane(
            f"{name}: density\nheld out: mean log p(x) {mixture.score(x):.2f} nats",
            density=np.exp(density).reshape(_N_GRID, _N_GRID),
            window=window,
        ),
        Plane(f"{name}: clusters", x, mixture.predict(x), **components),
    ]


def _row(name: str, seen: HeldOut, x: np.ndarray, window: figures.Window) -> list[Plane]:
    """Density, samples of components and latents of one model."""
    model, clusters = seen.model, seen.predictions.clusters[0]
    grid = torch.from_numpy(figures.grid_points(window, _N_GRID)).float()
    density = evaluation.prior_log_density(model, grid, _N_DRAWS)
    held_out = evaluation.prior_log_density(model, torch.from_numpy(x), _N_DRAWS).mean()
    chosen = list(range(model.facets[0].n_clusters))
    drawn = evaluation.sample_clusters(model, 0, chosen, _N_SAMPLES)
    with torch.no_grad():
        prior = model.facets[0].at_origin()
        means = prior.loc.double().cpu().numpy()
        factors = prior.scale_tril.double().cpu().numpy()
    return [
        Plane(
            f"{name}: density\nheld out: mean log p(x) {held_out:.2f} nats",
            density=np.exp(density).reshape(_N_GRID, _N_GRID),
            window=window,
        ),
        Plane(
            f"{name}:\nmeans of samples, by component",
            drawn.reshape(-1, 2),
            np.repeat(chosen, _N_SAMPLES),
            window=window,
        ),
        Plane(
            f"{name}:\nlatents of held-out points, by cluster",
            seen.predictions.z_mean[0],
            clusters,
            means=means,
            covariances=factors @ factors.swapaxes(1, 2),
        ),
    ]
