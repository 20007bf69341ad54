"""Evaluation results as matplotlib figures; nothing here calls a model."""

from pyro_mfcvae.figures.comparison import guide_comparison
from pyro_mfcvae.figures.confusion import confusion
from pyro_mfcvae.figures.curves import training_curves
from pyro_mfcvae.figures.latents import latent_space
from pyro_mfcvae.figures.pictures import (
    cluster_examples,
    cluster_members,
    cluster_order,
    cluster_samples,
    picture_grid,
    reconstructions,
    swaps,
)
from pyro_mfcvae.figures.seeds import accuracy_over_epochs
from pyro_mfcvae.figures.weights import mixture_weights

__all__ = [
    "accuracy_over_epochs",
    "cluster_examples",
    "cluster_members",
    "cluster_order",
    "cluster_samples",
    "confusion",
    "guide_comparison",
    "latent_space",
    "mixture_weights",
    "picture_grid",
    "reconstructions",
    "swaps",
    "training_curves",
]
