"""Evaluation results as matplotlib figures; nothing here calls a model."""

from pyro_mfcvae.figures.ablation import changed_settings
from pyro_mfcvae.figures.aspects import clusters_needed, latent_spaces
from pyro_mfcvae.figures.comparison import guide_comparison
from pyro_mfcvae.figures.confusion import confusion
from pyro_mfcvae.figures.curves import training_curves
from pyro_mfcvae.figures.grids import Panel, picture_grid, picture_panels
from pyro_mfcvae.figures.groups import between_groups_grid, group_points, shared_and_own_grids
from pyro_mfcvae.figures.interventions import (
    cluster_mean_grid,
    cluster_mean_matrix,
    interpolation,
    swapped_pairs,
    traversal,
)
from pyro_mfcvae.figures.latents import latent_space
from pyro_mfcvae.figures.layers import component_columns, resampled_facets
from pyro_mfcvae.figures.matrix import agreement_matrices
from pyro_mfcvae.figures.over_epochs import Curve, spread_over_epochs
from pyro_mfcvae.figures.over_steps import term_over_steps
from pyro_mfcvae.figures.pictures import (
    cluster_examples,
    cluster_members,
    cluster_order,
    cluster_samples,
    facet_examples,
    facet_samples,
    reconstructions,
    swaps,
)
from pyro_mfcvae.figures.plane import Plane, Window, grid_points, planes, window_around
from pyro_mfcvae.figures.points import PointFigures
from pyro_mfcvae.figures.trials import all_trials
from pyro_mfcvae.figures.weights import mixture_weights

__all__ = [
    "Curve",
    "Panel",
    "Plane",
    "PointFigures",
    "Window",
    "agreement_matrices",
    "all_trials",
    "between_groups_grid",
    "changed_settings",
    "cluster_examples",
    "cluster_mean_grid",
    "cluster_mean_matrix",
    "cluster_members",
    "cluster_order",
    "cluster_samples",
    "clusters_needed",
    "component_columns",
    "confusion",
    "facet_examples",
    "facet_samples",
    "grid_points",
    "group_points",
    "guide_comparison",
    "interpolation",
    "latent_space",
    "latent_spaces",
    "mixture_weights",
    "picture_grid",
    "picture_panels",
    "planes",
    "reconstructions",
    "resampled_facets",
    "shared_and_own_grids",
    "spread_over_epochs",
    "swapped_pairs",
    "swaps",
    "term_over_steps",
    "training_curves",
    "traversal",
    "window_around",
]
