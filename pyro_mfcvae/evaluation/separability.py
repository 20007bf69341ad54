"""Kinds of groups told apart by the latent that a group shares.

Groups to train on are drawn from training observations, groups to judge by from held-out ones.

Source: Peis et al., "Unsupervised Learning of Global Factors in Deep Generative Models", 2020,
Section 4.3 and Table 1. How many groups there were, and the machines' settings, it does not say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.evaluation.groups import RANDOM, GroupKind, IntArray, draw_groups, group_latents
from pyro_mfcvae.evaluation.measures import Part
from pyro_mfcvae.evaluation.predictions import Array
from pyro_mfcvae.models.base import FacetModel

N_TRAIN, N_TEST = 100, 50  # groups of each kind


def draw_latents(latents: tuple[Array, Array], seed: int = 0) -> Array:
    """One sample of each group's latent (G, D), from means and standard deviations (G, D)."""
    mean, deviation = latents
    noise = np.random.default_rng(seed).standard_normal(mean.shape)
    return mean + deviation * noise.astype(mean.dtype)


def tell_apart(
    train: tuple[Array, IntArray], test: tuple[Array, IntArray], standardised: bool = False
) -> dict[str, dict[str, float]]:
    """Accuracies of scikit-learn's ``SVC`` as it comes, linear and with radial basis functions.

    Latents (G, D) and classes (G,) are given to train on, and others to judge by; ``standardised``
    brings every dimension to mean 0 and variance 1 first.

    Returns:
        ``{"linear" | "rbf": {"train" | "test": accuracy}}``.
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    before = [StandardScaler()] if standardised else []
    found = {}
    for kernel in ("linear", "rbf"):
        machine = make_pipeline(*before, SVC(kernel=kernel)).fit(*train)
        found[kernel] = {"train": float(machine.score(*train)), "test": float(machine.score(*test))}
    return found


def classify_groups(
    model: FacetModel,
    dataset: Dataset,
    comparisons: Mapping[str, Sequence[GroupKind]],
    group_size: int | None = None,
    n_train: int = N_TRAIN,
    n_test: int = N_TEST,
    seed: int = 0,
) -> dict[str, Any]:
    """How well kinds of groups are told apart by the latent that each group shares.

    A sample of q(z_1 | X) has what the group says of the latent and how sure it is. Its mean alone
    tells much more, standardised, even where the sample's noise hides all of it.

    Args:
        model: the model.
        dataset: with the factors that groups are chosen by.
        comparisons: {name: kinds to be told apart}.
        group_size: B; None takes the model's own, or 128 where it has none.
        n_train: groups of each kind to train on.
        n_test: groups of each kind to judge by.
        seed: of groups and samples.

    Returns:
        ``{"group_size", "n_train", "n_test", "comparisons": {name: {"kinds", "apart",
        "with_random"}}}``. The last two are ``{"samples" | "means": ...}`` as of
        :func:`tell_apart`; in the last one random groups are one more class.

    Raises:
        DataError: if a factor is missing, or a kind has too few observations for a group.
    """
    size = group_size or model.structure.group_size or 128
    numbers: dict[Part, int] = {"train": n_train, "test": n_test}
    kinds = list(dict.fromkeys(kind for group in comparisons.values() for kind in group))
    kinds.append(RANDOM)
    latents: dict[str, dict[str, Array]] = {"samples": {}, "means": {}}
    classes = {}
    for part, n_groups in numbers.items():
        x, labels = dataset.split(part)
        values = {factor: given.cpu().numpy() for factor, given in labels.items()}
        groups = draw_groups(values, kinds, n_groups, size, seed)
        found = group_latents(model, x, groups.rows)
        latents["samples"][part], latents["means"][part] = draw_latents(found, seed), found[0]
        classes[part] = groups.classes

    def apart(of: Sequence[GroupKind]) -> dict[str, dict[str, dict[str, float]]]:
        chosen = [kinds.index(kind) for kind in of]
        kept = {part: np.isin(given, chosen) for part, given in classes.items()}
        return {
            name: tell_apart(
                (z["train"][kept["train"]], classes["train"][kept["train"]]),
                (z["test"][kept["test"]], classes["test"][kept["test"]]),
                standardised=name == "means",
            )
            for name, z in latents.items()
        }

    return {
        "group_size": size,
        "n_train": n_train,
        "n_test": n_test,
        "comparisons": {
            name: {
                "kinds": [kind.name for kind in of],
                "apart": apart(of),
                "with_random": apart([*of, RANDOM]),
            }
            for name, of in comparisons.items()
        },
    }
