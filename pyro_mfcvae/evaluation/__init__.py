"""Measuring trained models: arrays in, arrays out."""

from pyro_mfcvae.evaluation.accuracies import (
    agreement,
    class_weighted_accuracy,
    contingency,
    hungarian_accuracy,
    majority_accuracy,
    majority_map,
    mapped_accuracy,
    normalized_mutual_information,
    occupied_clusters,
)
from pyro_mfcvae.evaluation.compare import compare_guides
from pyro_mfcvae.evaluation.evaluate import evaluate
from pyro_mfcvae.evaluation.held_out import HeldOutLog, held_out_metrics
from pyro_mfcvae.evaluation.latents import Projection, project
from pyro_mfcvae.evaluation.predictions import (
    Predictions,
    elbo_means,
    predict,
    reconstruct,
    sample_clusters,
)

__all__ = [
    "HeldOutLog",
    "Predictions",
    "Projection",
    "agreement",
    "class_weighted_accuracy",
    "compare_guides",
    "contingency",
    "elbo_means",
    "evaluate",
    "held_out_metrics",
    "hungarian_accuracy",
    "majority_accuracy",
    "majority_map",
    "mapped_accuracy",
    "normalized_mutual_information",
    "occupied_clusters",
    "predict",
    "project",
    "reconstruct",
    "sample_clusters",
]
