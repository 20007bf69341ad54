"""Kinds of batches, and the accuracies with which they are told apart: UG-VAE, Table 1."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.evaluation.groups import HAIR, SERIES, SEX, Kind, classify_groups, values_of
from pyro_mfcvae.measuring import open_trained
from pyro_mfcvae.reproduction.definition import Arm, Entry
from pyro_mfcvae.reproduction.published import BATCHES
from pyro_mfcvae.runs import Run

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

    Args:
        arm: the arm.
        row: of the table.
    """
    size = arm.config.training.batch_size
    return [
        Entry(
            arm=arm.label,
            row=row,
            column=f"{arm.title}: {name}{extra}",
            metric=f"accuracy of {machine} SVM on samples of q(z_1 | X), batches of {size}, {part}",
            path=("groups", "comparisons", name, which, kernel, "test" if held_out else "train"),
            published="" if arm.is_quick else _published(arm, name, which, kernel)[held_out],
        )
        for name in _names(arm.config)
        for which, extra in (("apart", ""), ("with_random", ", random"))
        for kernel, machine in (("linear", "a linear"), ("rbf", "an RBF"))
        for held_out, part in enumerate(("training", "held out"))
    ]


def tell_batches_apart(run: Run, dataset: Dataset) -> dict[str, Any]:
    """What is measured of a run: as of ``classify_groups``, with batches as it was trained on."""
    model = open_trained(run, dataset).model
    return classify_groups(model, dataset, comparisons(dataset), run.config.training.batch_size)


def _published(arm: Arm, *what: str) -> tuple[str, str]:
    return BATCHES.get((arm.label, *what), ("", ""))
