"""Measuring trained models: arrays in, arrays out."""

from pyro_mfcvae.evaluation.accuracies import (
    agreement,
    class_weighted_accuracy,
    contingency,
    hungarian_accuracy,
    majority_accuracy,
    majority_map,
    mapped_accuracy,
    occupied_clusters,
)
from pyro_mfcvae.evaluation.evaluate import evaluate
from pyro_mfcvae.evaluation.predictions import (
    Predictions,
    elbo_means,
    predict,
    reconstruct,
    sample_clusters,
)

__all__ = [
    "Predictions",
    "agreement",
    "class_weighted_accuracy",
    "contingency",
    "elbo_means",
    "evaluate",
    "hungarian_accuracy",
    "majority_accuracy",
    "majority_map",
    "mapped_accuracy",
    "occupied_clusters",
    "predict",
    "reconstruct",
    "sample_clusters",
]
