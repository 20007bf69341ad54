"""A facet's latent space: observations as points, mixture components as ellipses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from typing_extensions import override

from pyro_mfcvae import evaluation
from pyro_mfcvae.evaluation.latents import Projection
from pyro_mfcvae.figures.confusion import factors_by_agreement
from pyro_mfcvae.figures.marks import class_colors, cluster_colors, draw_ellipse, name_apart
from pyro_mfcvae.figures.names import class_labels, cluster_labels, readable, thin
from pyro_mfcvae.figures.registry import RunFigure, register_figure
from pyro_mfcvae.figures.seen import Seen
from pyro_mfcvae.naming import Names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = NDArray[np.floating]
IntArray = NDArray[np.int64]

_PANEL = 5.0  # inches, width
_N_POINTS = 2000  # observations drawn at most, picked at random


@dataclass(frozen=True, eq=False)
class LatentSpace:
    """N observations and K components of one facet.

    Attributes:
        projection: of both.
        clusters: of the observations, (N,).
        labels: class of each observation, (N,); None where there are no labels.
        factor: of which these are the classes.
        class_names: of all its classes.
        title: above the panels.
        names: of the clusters.
    """

    projection: Projection
    clusters: IntArray
    labels: IntArray | None = None
    factor: str = ""
    class_names: Sequence[str] = ()
    title: str = ""
    names: Names = field(default_factory=dict)


@register_figure("latents")
class Latents(RunFigure[LatentSpace]):
    """Observations coloured by class and by cluster, and the components that have any of them.

    Where there is one component only, clusters are left out beside classes.

    A cross marks a component's mean, an ellipse (in one dimension a bar) one standard deviation
    around it. The name of a cluster stands beside its mean unless that of a larger one is in
    the way. One dimension is drawn as a strip, in which the height has no meaning.
    """

    heading = "Latent space"
    shows = "held-out observations at the mean of q(z | x), and the prior over them"
    per = ("facet",)
    place = 10

    @override
    def fits(self, seen: Seen, facet: int) -> str | None:
        if not seen.is_constant(facet):
            return None
        why = ", which a batch shares" * seen.has_groups
        return f"all observations have one latent of this facet{why}"

    @override
    def compute(self, seen: Seen, facet: int) -> LatentSpace:
        p = seen.model.facets[facet].at_origin()
        projection = evaluation.project(
            seen.predictions.z_mean[facet],
            p.loc.detach().cpu().numpy(),
            (p.scale_tril @ p.scale_tril.mT).detach().cpu().numpy(),
        )
        component = "a component" if facet in seen.clustered else "the prior"
        if seen.is_conditional(facet):
            component += ", where the facet that it depends on is 0"
        title = (
            f"{seen.facet_title(facet)}: held-out observations at the mean of q(z | x)\n"
            f"+ and line around it: mean and one standard deviation of {component}"
        )
        clusters, names = seen.predictions.clusters[facet], seen.names(facet)
        for factor in factors_by_agreement(seen, facet)[:1]:
            labels, classes = seen.labels[factor], seen.class_names[factor]
            return LatentSpace(projection, clusters, labels, factor, classes, title, names)
        return LatentSpace(projection, clusters, title=title, names=names)

    @override
    def draw(self, result: LatentSpace) -> Figure:
        from matplotlib.figure import Figure

        # In random order too, so that no class always lies on top of the others.
        picked = np.random.default_rng(0).permutation(len(result.clusters))[:_N_POINTS]
        scene = lay_out(result, picked)
        n_components = len(result.projection.means)
        has_clusters = result.labels is None or n_components > 1
        n_panels = (result.labels is not None) + has_clusters
        width, height = scene.window[1] - scene.window[0]
        ratio = 0.6 if result.projection.points.shape[1] == 1 else height / width
        size = ((_PANEL + 1) * n_panels, _PANEL * ratio + 1.3)
        figure = Figure(figsize=size, layout="constrained")
        panels = figure.subplots(1, n_panels, squeeze=False)[0]
        if result.labels is not None:
            colors = np.vstack([class_colors(len(result.class_names)), np.full(3, 0.8)])
            grays = np.full((len(scene.used), 3), 0.25)
            _draw(panels[0], scene, colors[result.labels[picked]], grays)  # -1 is the last
            panels[0].set_title(f"colour: {readable(result.factor)}", fontsize=9)
            _explain_colors(panels[0], colors[:-1], class_labels(result.factor, result.class_names))
        figure.suptitle(result.title, fontsize=10, x=0.01, ha="left")
        if has_clusters:
            colors = cluster_colors(len(scene.used))
            rank = np.empty(n_components, dtype=np.int64)
            rank[scene.used] = np.arange(len(scene.used))
            _draw(panels[-1], scene, colors[rank[result.clusters[picked]]], 0.6 * colors)
            size = np.ptp(scene.window, axis=0)
            room = np.array([0.045, 0.03]) * size.max()
            if not scene.names[1]:
                room = np.array([0.045, 0.06]) * size
            names = cluster_labels(result.names, scene.used.tolist())
            room[0] *= max(1, max(map(len, names)) / 3)
            name_apart(panels[-1], names, scene.centers, room)
            panels[-1].set_title("colour: cluster", fontsize=9)
        return figure

    @override
    def details(self, seen: Seen, facet: int) -> Iterable[str]:
        if facet not in seen.clustered:
            yield "The prior has one component, of which cross and line show mean and spread."
        else:
            where = ", as it is where the facet that it depends on is 0"
            where *= seen.is_conditional(facet)
            yield f"Crosses and lines show mean and spread of each component in use{where}."


@dataclass(frozen=True, eq=False)
class Layout:
    """Where everything stands on a map of a facet.

    Attributes:
        points: of n observations, (n, 2).
        used: numbers of the components that have observations, the largest first, (R,).
        centers: of these components, (R, 2).
        covariances: of these components, (R, P, P).
        window: lower left and upper right corner, (2, 2).
        names: of the axes; an empty one has no scale.
    """

    points: Array
    used: IntArray
    centers: Array
    covariances: Array
    window: Array
    names: tuple[str, str]


def lay_out(space: LatentSpace, picked: IntArray) -> Layout:
    """Where observations and components stand on a map.

    Args:
        space: of one facet.
        picked: observations that are shown, (n,).
    """
    projection, clusters = space.projection, space.clusters
    sizes = np.bincount(clusters, minlength=len(projection.means))
    used = np.argsort(-sizes, kind="stable")[: np.count_nonzero(sizes)]
    points, centers = projection.points[picked], projection.means[used]
    shown = [points, centers]
    if len(projection.means) == 1:  # else a plain prior that few use would lie out of sight
        scale = np.sqrt(projection.covariances[0].diagonal())
        shown += [centers - scale, centers + scale]
    window = _window(np.concatenate(shown))
    names = ("latent dimension 0", "latent dimension 1")
    if projection.shares is not None:
        first, second = (f"{share:.0%} of variance" for share in projection.shares)
        names = (f"first principal axis, {first}", f"second principal axis, {second}")
    elif points.shape[1] == 1:  # components stand one below the other, below the points
        heights = np.random.default_rng(1).uniform(size=len(points))
        points = np.stack([points[:, 0], heights], axis=1)
        below = -0.1 - 0.8 * (np.arange(len(used)) + 0.5) / len(used)
        centers = np.stack([centers[:, 0], below], axis=1)
        window = np.stack([window[:, 0], (-1, 1.1)], axis=1)
        names = (names[0], "")
    return Layout(points, used, centers, projection.covariances[used], window, names)


def _window(points: Array) -> Array:
    """Corners (2, P) of a box around points (n, P) that is not too narrow."""
    low, high = points.min(0), points.max(0)
    size = (high - low).max() or 1.0
    half = np.maximum(0.5 * (high - low) + 0.05 * size, 0.25 * size)
    return np.stack([0.5 * (low + high) - half, 0.5 * (low + high) + half])


def _draw(axes: Axes, scene: Layout, point_colors: Array, component_colors: Array) -> None:
    """Draw one panel, with colours (n, 3) of the points and (R, 3) of the components."""
    size = np.clip(6000 / len(scene.points), 6, 30)
    axes.scatter(*scene.points.T, c=point_colors, s=size, alpha=0.7, linewidths=0)
    for center, covariance, color in zip(
        scene.centers, scene.covariances, component_colors, strict=True
    ):
        if len(covariance) == 2:
            draw_ellipse(axes, center, covariance, color)
        else:
            scale = np.sqrt(covariance.item())
            axes.hlines(center[1], center[0] - scale, center[0] + scale, color=color, lw=1)
    axes.scatter(*scene.centers.T, marker="+", c=component_colors, s=30, linewidths=1)
    axes.set_xlim(*scene.window[:, 0])
    axes.set_ylim(*scene.window[:, 1])
    axes.set_xlabel(scene.names[0], fontsize=9)
    axes.set_ylabel(scene.names[1], fontsize=9)
    axes.tick_params(labelsize=8)
    if scene.names[1]:
        axes.set_aspect("equal")
    else:
        axes.set_yticks([])


def _explain_colors(axes: Axes, colors: Array, names: Sequence[str]) -> None:
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import BoundaryNorm, ListedColormap
    from matplotlib.lines import Line2D

    if len(names) <= 10:
        handles = [Line2D([], [], marker="o", ls="", color=color) for color in colors]
        style = {"fontsize": 8, "frameon": False, "handletextpad": 0.2}
        axes.legend(handles, names, loc="center left", bbox_to_anchor=(1, 0.5), **style)
        return
    norm = BoundaryNorm(np.arange(len(names) + 1) - 0.5, len(names))
    shown, mapped = thin(len(names), 25), ScalarMappable(norm, ListedColormap(list(colors)))
    bar = axes.figure.colorbar(mapped, ax=axes, ticks=shown, fraction=0.04, pad=0.02)
    bar.ax.set_yticklabels([names[i] for i in shown], fontsize=7)
    bar.ax.tick_params(length=0)
