"""What the package offers; imported when it is first asked for, as it needs torch."""

from pyro_mfcvae.evaluation.accuracies import (
    adjusted_rand_index,
    assignment_entropy,
    class_weighted_accuracy,
    contingency,
    exemplar_accuracy,
    homogeneity,
    hungarian_accuracy,
    majority_accuracy,
    majority_map,
    mapped_accuracy,
    normalized_assignment_entropy,
    normalized_mutual_information,
    occupied_clusters,
    redundancy,
)
from pyro_mfcvae.evaluation.bound import importance_weighted_bound
from pyro_mfcvae.evaluation.compare import compare_guides
from pyro_mfcvae.evaluation.conditional import prior_log_density, traverse_condition
from pyro_mfcvae.evaluation.diversity import pixel_diversity
from pyro_mfcvae.evaluation.evaluating import evaluate
from pyro_mfcvae.evaluation.groups import GroupKind, draw_groups, group_latents, values_of
from pyro_mfcvae.evaluation.health import Vitals, examine, find_illnesses
from pyro_mfcvae.evaluation.held_out import (
    ON_TRAINING,
    HeldOutLog,
    KeepBest,
    best_kept,
    held_out_metrics,
)
from pyro_mfcvae.evaluation.interventions import (
    cluster_means,
    interpolate,
    swap_facets,
    swap_pairs,
    traverse,
    traverse_dimensions,
)
from pyro_mfcvae.evaluation.latents import Projection, neighbour_embedding, project
from pyro_mfcvae.evaluation.layers import resample_facets, sample_components
from pyro_mfcvae.evaluation.measures import (
    MEASURES,
    Measure,
    View,
    agreement,
    agreement_matrices,
    register_measure,
)
from pyro_mfcvae.evaluation.perceptual import perceptual_diversity, require_lpips
from pyro_mfcvae.evaluation.predictions import (
    Predictions,
    check_facet,
    elbo_means,
    predict,
    reconstruct,
    sample,
    sample_clusters,
)
from pyro_mfcvae.evaluation.probing import probe
from pyro_mfcvae.evaluation.results import Comparison, Evaluation
from pyro_mfcvae.evaluation.separability import classify_groups, tell_apart
from pyro_mfcvae.evaluation.shared_latents import between_groups, domain_follows, shared_and_own
from pyro_mfcvae.evaluation.watching import HealthWatch

__all__ = [
    "MEASURES",
    "ON_TRAINING",
    "Comparison",
    "Evaluation",
    "GroupKind",
    "HealthWatch",
    "HeldOutLog",
    "KeepBest",
    "Measure",
    "Predictions",
    "Projection",
    "View",
    "Vitals",
    "adjusted_rand_index",
    "agreement",
    "agreement_matrices",
    "assignment_entropy",
    "best_kept",
    "between_groups",
    "check_facet",
    "class_weighted_accuracy",
    "classify_groups",
    "cluster_means",
    "compare_guides",
    "contingency",
    "domain_follows",
    "draw_groups",
    "elbo_means",
    "evaluate",
    "examine",
    "exemplar_accuracy",
    "find_illnesses",
    "group_latents",
    "held_out_metrics",
    "homogeneity",
    "hungarian_accuracy",
    "importance_weighted_bound",
    "interpolate",
    "majority_accuracy",
    "majority_map",
    "mapped_accuracy",
    "neighbour_embedding",
    "normalized_assignment_entropy",
    "normalized_mutual_information",
    "occupied_clusters",
    "perceptual_diversity",
    "pixel_diversity",
    "predict",
    "prior_log_density",
    "probe",
    "project",
    "reconstruct",
    "redundancy",
    "register_measure",
    "require_lpips",
    "resample_facets",
    "sample",
    "sample_clusters",
    "sample_components",
    "shared_and_own",
    "swap_facets",
    "swap_pairs",
    "tell_apart",
    "traverse",
    "traverse_condition",
    "traverse_dimensions",
    "values_of",
]
