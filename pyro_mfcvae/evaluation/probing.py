"""How much of each factor a classifier can read out of each facet's latent.

Source: MFCVAE, Table 1 and Appendix E.3: an MLP on sampled latents, trained on training inputs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import torch

from pyro_mfcvae.config.observation import MISSING
from pyro_mfcvae.data.observations import Dataset, select, spread
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.evaluation.predictions import Array, encode_batches
from pyro_mfcvae.evaluation.results import Probe
from pyro_mfcvae.inference.noise import derive_seed, site_noise
from pyro_mfcvae.models.base import FacetModel


def probe(
    model: FacetModel,
    dataset: Dataset,
    seed: int = 0,
    max_train: int | None = None,
    on_fit: Callable[[], None] = lambda: None,
) -> Probe:
    """Held-out accuracy of a classifier of every factor, from every facet and from all together.

    The classifier is scikit-learn's ``MLPClassifier`` as it comes: one hidden layer of 100. It
    sees one sample of q(z_j | x) per observation.

    Args:
        model: the model, on any device.
        dataset: with labels.
        seed: of the samples and the classifiers.
        max_train: train on so many training observations, evenly spread; None takes all.
        on_fit: called after every classifier.

    Returns:
        accuracies of held-out observations.

    Raises:
        DataError: if there are no labels.
        ValueError: if there is nothing to train on.
    """
    if max_train is not None and max_train < 1:
        raise ValueError(f"expected at least one training observation, got {max_train}")
    if not dataset.labels:
        raise DataError(f"{dataset.name}: a probe needs labels, and there are none")
    train_rows = spread(dataset.train, max_train or len(dataset.train))
    rows = {"train": train_rows, "test": dataset.test}
    latents = {part: _sample(model, dataset, r, seed, part) for part, r in rows.items()}
    labels = {
        factor: {part: values[r].cpu().numpy() for part, r in rows.items()}
        for factor, values in dataset.labels.items()
    }
    known = {
        factor: {part: np.flatnonzero(values != MISSING) for part, values in classes.items()}
        for factor, classes in labels.items()
    }
    labels = {
        factor: {part: values[known[factor][part]] for part, values in classes.items()}
        for factor, classes in labels.items()
    }

    def accuracies(js: Sequence[int]) -> dict[str, float]:
        found = {}
        for factor, classes in labels.items():
            x = {
                part: np.concatenate([zs[j] for j in js], 1)[known[factor][part]]
                for part, zs in latents.items()
            }
            found[factor] = _accuracy(x, classes, seed)
            on_fit()
        return found

    return Probe(
        n_train=len(train_rows),
        n_test=len(dataset.test),
        facets=[accuracies([j]) for j in range(model.n_facets)],
        all_facets=accuracies(range(model.n_facets)),
        most_frequent_class={factor: _chance(classes) for factor, classes in labels.items()},
    )


def _sample(
    model: FacetModel, dataset: Dataset, rows: torch.Tensor, seed: int, part: str
) -> list[Array]:
    """One sample of q(z_j | x) per observation, J arrays (N, D_j)."""
    parts = []
    for i, (_, posteriors) in enumerate(encode_batches(model, select(dataset.x, rows))):
        zs = []
        for j, q in enumerate(posteriors):
            eps = site_noise(derive_seed(seed, part), i, f"z_{j}", q.mean.shape, q.mean)
            zs.append((q.mean + q.stddev * eps).cpu().numpy())
        parts.append(zs)
    return [np.concatenate(facet) for facet in zip(*parts, strict=True)]


def _accuracy(x: dict[str, Array], classes: dict[str, np.ndarray], seed: int) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    if len(np.unique(classes["train"])) == 1:
        return _chance(classes)
    classifier = MLPClassifier(random_state=derive_seed(seed) % 2**31)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # 200 epochs, as published
        classifier.fit(x["train"], classes["train"])
    return float(classifier.score(x["test"], classes["test"]))


def _chance(classes: dict[str, np.ndarray]) -> float:
    most_frequent = np.bincount(classes["train"]).argmax()
    return float((classes["test"] == most_frequent).mean())
