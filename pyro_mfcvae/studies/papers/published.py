"""Numbers that the papers printed, by the label of the arm that they belong beside."""

from __future__ import annotations

from collections.abc import Mapping

# Table 1: latents of the first facet, of the second, of both. Mean (sd) of 3 runs.
PROBES: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("mnist", "digit"): ("17.34 (0.24)", "94.95 (0.04)", "95.27 (0.07)"),
    ("shapes3d-1", "shape"): ("95.00 (0.45)", "32.43 (1.38)", "95.18 (0.42)"),
    ("shapes3d-1", "floor_hue"): ("20.00 (0.68)", "100.00 (0.00)", "100.00 (0.00)"),
    ("shapes3d-2", "shape"): ("98.26 (0.16)", "24.41 (1.34)", "98.19 (0.30)"),
    ("shapes3d-2", "wall_hue"): ("73.40 (1.48)", "100.00 (0.00)", "99.97 (0.06)"),
    ("svhn", "digit"): ("69.46 (0.36)", "22.30 (0.16)", "70.39 (0.29)"),
}

# Table 2 and Section 4.3: majority accuracy with a map of its own (Appendix E.5).
ACCURACIES: Mapping[tuple[str, str], str] = {
    ("mnist", "digit"): "92.02 (3.18), 10 seeds",
    ("svhn", "digit"): "56.25 (0.93), 10 seeds",
    ("shapes3d-1", "floor_hue"): "99.46 (1.10), 10 seeds",
    ("shapes3d-1", "shape"): "88.47 (1.82), 10 seeds",
    ("shapes3d-2", "wall_hue"): "100.00 (0.00), 10 seeds",
    ("shapes3d-2", "shape"): "90.05 (2.65), 10 seeds",
}
# Appendix E.2.
MNIST_TRAINING, MNIST_TEST = "91.85 (3.09), 10 seeds", "92.02 (3.02), 10 seeds"


def _rerun(number: str, own: str = "") -> Mapping[str, str]:
    """Of MFCVAE's re-run of VaDE: its metric is one of these two, which one is not said."""
    text = f"{number}, by one of the two accuracies"
    return {"majority_accuracy": text, "hungarian_accuracy": f"{text}{own}"}


# Table 2, and VaDE's own paper.
VADE: Mapping[str, Mapping[str, str]] = {
    "vade-mnist": _rerun(
        "89.09 (3.32)", "; 94.46 in its own paper, best of ten, on all 70,000 images"
    ),
    "vade-conv-mnist": _rerun("92.65 (1.14)"),
    "vade-svhn": _rerun("27.03 (1.53)"),
    "vade-conv-svhn": _rerun("30.80 (1.99)"),
}

# Table 7: LPIPS of real images, and of samples.
DIVERSITY: Mapping[tuple[str, str], str] = {
    ("mnist", "data"): "0.112",
    ("mnist", "samples"): "0.116",
    ("vade-mnist", "samples"): "0.111",
    ("svhn", "data"): "0.227",
    ("svhn", "samples"): "0.182",
    ("vade-svhn", "samples"): "0.187",
}

# UG-VAE, Table 1: accuracy on training and on held-out batches, by arm, comparison and kernel.
BATCHES: Mapping[tuple[str, str, str, str], tuple[str, str]] = {
    ("ugvae-celeba", "black, blond", "apart", "linear"): ("100", "95"),
    ("ugvae-celeba", "black, blond", "apart", "rbf"): ("100", "98"),
    ("ugvae-celeba", "black, blond", "with_random", "linear"): ("91", "54"),
    ("ugvae-celeba", "black, blond", "with_random", "rbf"): ("85", "56"),
    ("ugvae-celeba", "male, female", "apart", "linear"): ("100", "85"),
    ("ugvae-celeba", "male, female", "apart", "rbf"): ("100", "85"),
    ("ugvae-celeba", "male, female", "with_random", "linear"): ("84", "66"),
    ("ugvae-celeba", "male, female", "with_random", "rbf"): ("89", "63"),
}
