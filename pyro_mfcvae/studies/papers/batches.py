"""Kinds of batches, and the accuracies with which they are told apart: UG-VAE, Table 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.evaluation.groups import HAIR, SERIES, SEX, Kind, values_of
from pyro_mfcvae.evaluation.separability import classify_groups
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.runs.measure import open_trained
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.studies.papers.definition import Arm, Entry
from pyro_mfcvae.studies.papers.published import BATCHES

Comparisons = Mapping[str, Sequence[Kind]]

_OF_DATA: Mapping[str, Comparisons] = {
    "mnist": {"even, odd": SERIES[:2], "even, odd, Fibonacci, prime": SERIES},
    "celeba": {"black, blond": HAIR, "male, female": SEX},
}
_BY_VALUE = {"shapes": ("floor_hue", "shape", "scale", "orientation"), "mixed": ("domain",)}


def comparisons(dataset: Dataset) -> Comparisons:
    """Kinds of groups that are told apart on a data set."""
    if dataset.name in _OF_DATA:
        return _OF_DATA[dataset.name]
    return {factor: values_of(dataset, factor) for factor in _BY_VALUE[dataset.name]}


def _names(config: Config) -> Sequence[str]:
    """Of the comparisons, without the data."""
    return tuple(_OF_DATA.get(config.data.name, ())) or _BY_VALUE[config.data.name]


def batches_told_apart(arm: Arm, row: str) -> list[Entry]:
    """Accuracies of both machines on training and held-out batches, without and with random ones.

    Beside them stand those of the same model before training: averages of many observations tell
    kinds of batches apart even if what is averaged has been learnt from nothing.

    Args:
        arm: the arm.
        row: of the table.
    """
    lines = []
    for name in _names(arm.config):
        for which, extra in (("apart", ""), ("with_random", ", random")):
            column = f"{arm.title}: {name}{extra}"
            for kernel in ("linear", "rbf"):
                path = (name, which, "samples", kernel)
                train, test = BATCHES.get((arm.label, name, which, kernel), ("", ""))
                lines += [
                    _accuracy(arm, row, column, ("trained", *path, "train"), train),
                    _accuracy(arm, row, column, ("trained", *path, "test"), test),
                    _accuracy(arm, f"{row}, untrained", column, ("untrained", *path, "test")),
                ]
            path = (name, which, "means", "linear")
            lines += [
                _accuracy(arm, row, column, ("trained", *path, "test")),
                _accuracy(arm, f"{row}, untrained", column, ("untrained", *path, "test")),
            ]
    return lines


def _accuracy(arm: Arm, row: str, column: str, path: tuple[str, ...], published: str = "") -> Entry:
    machine = "a linear" if "linear" in path else "an RBF"
    part = "held out" if path[-1] == "test" else "training"
    of = "samples" if "samples" in path else "standardised means"
    return Entry(
        arm=arm.label,
        row=row,
        column=column,
        metric=f"accuracy of {machine} SVM on {of} of q(z_1 | X), batches of "
        f"{arm.config.training.batch_size}, {part}",
        path=("groups", *path),
        published="" if arm.is_quick else published,
    )


def tell_batches_apart(run: Run, dataset: Dataset) -> dict[str, Any]:
    """What is measured of a run, with batches as large as it was trained on.

    Returns:
        as of :func:`classify_groups`, with ``"comparisons"`` of the run's model as ``"trained"``,
        and of one that has learnt nothing as ``"untrained"``.
    """
    config, model = run.config, open_trained(run, dataset).model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        untrained = build_model(config.model, dataset.observation)
    untrained.to(next(model.parameters()))
    found: dict[str, Any] = {}
    for name, measured in (("trained", model), ("untrained", untrained)):
        found |= classify_groups(
            measured, dataset, comparisons(dataset), config.training.batch_size, seed=config.seed
        )
        found[name] = found.pop("comparisons")
    return found
