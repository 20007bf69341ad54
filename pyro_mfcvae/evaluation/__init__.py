"""Measuring trained models: arrays in, arrays out."""

from pyro_mfcvae.evaluation.accuracies import (
    adjusted_rand_index,
    agreement,
    assignment_entropy,
    class_weighted_accuracy,
    contingency,
    homogeneity,
    hungarian_accuracy,
    majority_accuracy,
    majority_map,
    mapped_accuracy,
    normalized_mutual_information,
    occupied_clusters,
    redundancy,
)
from pyro_mfcvae.evaluation.bound import importance_weighted_bound
from pyro_mfcvae.evaluation.compare import compare_guides
from pyro_mfcvae.evaluation.diversity import pixel_diversity
from pyro_mfcvae.evaluation.evaluate import evaluate
from pyro_mfcvae.evaluation.held_out import HeldOutLog, held_out_metrics
from pyro_mfcvae.evaluation.interventions import (
    cluster_means,
    interpolate,
    swap_facets,
    swap_pairs,
    traverse,
    traverse_dimensions,
)
from pyro_mfcvae.evaluation.latents import Projection, project
from pyro_mfcvae.evaluation.matrices import (
    agreement_matrices,
    majority_maps,
    stored_factors,
    stored_matrices,
)
from pyro_mfcvae.evaluation.perceptual import perceptual_diversity, require_lpips
from pyro_mfcvae.evaluation.predictions import (
    Predictions,
    elbo_means,
    predict,
    reconstruct,
    sample,
    sample_clusters,
)
from pyro_mfcvae.evaluation.probe import probe

__all__ = [
    "HeldOutLog",
    "Predictions",
    "Projection",
    "adjusted_rand_index",
    "agreement",
    "agreement_matrices",
    "assignment_entropy",
    "class_weighted_accuracy",
    "cluster_means",
    "compare_guides",
    "contingency",
    "elbo_means",
    "evaluate",
    "held_out_metrics",
    "homogeneity",
    "hungarian_accuracy",
    "importance_weighted_bound",
    "interpolate",
    "majority_accuracy",
    "majority_map",
    "majority_maps",
    "mapped_accuracy",
    "normalized_mutual_information",
    "occupied_clusters",
    "perceptual_diversity",
    "pixel_diversity",
    "predict",
    "probe",
    "project",
    "reconstruct",
    "redundancy",
    "require_lpips",
    "sample",
    "sample_clusters",
    "stored_factors",
    "stored_matrices",
    "swap_facets",
    "swap_pairs",
    "traverse",
    "traverse_dimensions",
]
