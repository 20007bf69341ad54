"""Models of points in the plane: densities, samples and latents, beside a Gaussian mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyro_mfcvae import evaluation
from pyro_mfcvae.figures.marks import cluster_colors, draw_ellipse
from pyro_mfcvae.figures.seen import Seen

Array = NDArray[np.floating]
IntArray = NDArray[np.int64]
Window = tuple[float, float, float, float]

_PANEL = 2.9  # inches
_N_GRID, _N_DRAWS, _N_SAMPLES = 90, 30_000, 200


@dataclass(frozen=True, eq=False)
class Plane:
    """One panel: points, a density, or both.

    Attributes:
        title: above it.
        points: (N, 2).
        groups: cluster or class of each point, (N,); None draws all in grey.
        density: on a grid over the window, (G, G), rows from below; None leaves it out.
        means: of mixture components, (K, 2), each with its number.
        covariances: of these, (K, 2, 2), as ellipses of one standard deviation.
        window: left, right, lower and upper end; None fits the points.
    """

    title: str
    points: Array | None = None
    groups: IntArray | None = None
    density: Array | None = None
    means: Array | None = None
    covariances: Array | None = None
    window: Window | None = None


def window_around(points: Array, margin: float = 0.1) -> Window:
    """Left, right, lower and upper end of a square around points (N, 2)."""
    low, high = points.min(0), points.max(0)
    half = (0.5 + margin) * max((high - low).max(), 1e-6)
    center = 0.5 * (low + high)
    return (center[0] - half, center[0] + half, center[1] - half, center[1] + half)


def grid_points(window: Window, n: int) -> Array:
    """Points of an n x n grid over a window, (n * n, 2), row by row from below."""
    x, y = np.linspace(*window[:2], n), np.linspace(*window[2:], n)
    return np.stack(np.meshgrid(x, y), -1).reshape(-1, 2)


def draw_planes(rows: Sequence[Sequence[Plane | None]], title: str = "", note: str = "") -> Figure:
    """Panels in rows; None leaves a place empty.

    Args:
        rows: of panels.
        title: above all.
        note: below all.

    Raises:
        ValueError: if there is no panel.
    """
    n_columns = max((len(row) for row in rows), default=0)
    if not n_columns:
        raise ValueError("expected panels to draw, got none")
    size = (_PANEL * n_columns, 0.8 + (_PANEL + 0.2) * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(len(rows), n_columns, squeeze=False)
    for places, row in zip(axes, rows, strict=True):
        for place, plane in zip(places, [*row, *[None] * (n_columns - len(row))], strict=True):
            if plane is None:
                place.remove()
            else:
                _draw(place, plane)
    figure.suptitle(title, fontsize=11)
    if note:
        figure.supxlabel(note, fontsize=8, color="0.35")
    return figure


def _draw(axes: Axes, plane: Plane) -> None:
    if plane.density is not None and plane.window is not None:
        axes.imshow(plane.density, origin="lower", extent=plane.window, cmap="magma", vmin=0)
    if plane.points is not None:
        colors: str | Array = "0.5"
        if plane.groups is not None:
            colors = cluster_colors(int(plane.groups.max()) + 1)[plane.groups]
        axes.scatter(*plane.points.T, c=colors, s=3, lw=0)
    if plane.means is not None:
        _draw_components(axes, plane)
    if plane.window is not None:
        axes.set_xlim(plane.window[:2])
        axes.set_ylim(plane.window[2:])
    axes.set_aspect("equal", "box" if plane.window is not None else "datalim")
    axes.set_title(plane.title, fontsize=9)
    axes.tick_params(labelsize=7)


def _draw_components(axes: Axes, plane: Plane) -> None:
    assert plane.means is not None
    color = "black" if plane.density is None else "white"
    if plane.covariances is not None:
        for mean, covariance in zip(plane.means, plane.covariances, strict=True):
            draw_ellipse(axes, mean, covariance, color)
    for k, mean in enumerate(plane.means):
        axes.annotate(str(k), mean, fontsize=7, color=color, ha="center", va="center")


def draw_models_of_points(models: Mapping[str, Seen], training: Array, title: str = "") -> Figure:
    """Each model's density, samples of its components and its latents; the first row has the data.

    Source: Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
    Autoencoders", 2016, Figure 2.

    Args:
        models: {title: model and held-out points}, of the same points.
        training: points that a plain Gaussian mixture is fitted to, (N, 2).
        title: above all.

    Raises:
        ValueError: if the data are no points in the plane.
    """
    first = next(iter(models.values()))
    x = first.observed(np.arange(len(first.x)))
    if x.shape[1:] != (2,):
        raise ValueError(f"expected points in the plane, (N, 2), got observations {x.shape}")
    window = window_around(x)
    classes = next(iter(first.labels.values()), None)
    rows = [
        [
            Plane("held-out points, by class", x, classes, window=window),
            *_gaussian_mixture(training, x, first.model.facets[0].n_clusters, window),
        ]
    ]
    rows += [_row(name, seen, x, window) for name, seen in models.items()]
    note = (
        "numbers: components; ellipses: one standard deviation, of latents at the style's mean\n"
        "densities: black is 0, the brightest colour each panel's own maximum"
    )
    return draw_planes(rows, title, note)


def _gaussian_mixture(
    training: np.ndarray, x: np.ndarray, n_clusters: int, window: Window
) -> list[Plane]:
    """The density and the clusters of a plain Gaussian mixture."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(n_clusters, random_state=0).fit(training)
    density = mixture.score_samples(grid_points(window, _N_GRID))
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


def _row(name: str, seen: Seen, x: np.ndarray, window: Window) -> list[Plane]:
    """Density, samples of components and latents of one model."""
    model, clusters = seen.model, seen.predictions.clusters[0]
    grid = torch.from_numpy(grid_points(window, _N_GRID)).float()
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
