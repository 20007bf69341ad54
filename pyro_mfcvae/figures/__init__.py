"""Evaluation results as matplotlib figures; nothing here calls a model."""

from pyro_mfcvae.figures.curves import training_curves
from pyro_mfcvae.figures.pictures import (
    cluster_examples,
    cluster_order,
    cluster_samples,
    picture_grid,
    reconstructions,
)

__all__ = [
    "cluster_examples",
    "cluster_order",
    "cluster_samples",
    "picture_grid",
    "reconstructions",
    "training_curves",
]
