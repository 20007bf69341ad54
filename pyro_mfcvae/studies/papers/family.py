"""All models of the family beside each other, on rendered scenes and on MNIST.

On scenes every model has the likelihood, the optimiser and the batches of the default job, and
networks of its widths; on MNIST each has the settings that were found for it. Models without
clusters are there for their bound.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.figures import changed_settings
from pyro_mfcvae.presets.scenes import ON_SCENES
from pyro_mfcvae.studies.jobs import Arm, Outcome
from pyro_mfcvae.studies.papers.experiment import (
    Arms,
    Drawn,
    Experiment,
    Outcomes,
    Scale,
    agreement,
    register_experiments,
    seeds,
)
from pyro_mfcvae.studies.papers.settings import MNIST, SCENES, settings, vade_arms
from pyro_mfcvae.studies.results import Entry

_EPOCHS: Mapping[Scale, tuple[int, int]] = {
    "full": (24, 220),
    "reduced": (24, 96),
    "quick": (10, 30),
}
_ON_MNIST: Mapping[str, str] = {
    "mnist-fast": "MFCVAE",
    "vade-mnist": "VaDE",
    "vlac-mnist": "VLAC",
    "gm-dgm-mnist": "GM-DGM",
    "vlae-mnist": "VLAE",
    "gmvae-mnist-fast": "GMVAE",
    "ugvae-mnist": "UG-VAE",
    "mlvae-mnist": "ML-VAE",
    "betavae-mnist": "beta-VAE",
}
# Title of the data: the factors that clusters are judged by, and the figure.
_DATA: Mapping[str, tuple[tuple[str, ...], str]] = {
    SCENES.title: (("floor_hue", "shape"), "family-scenes"),
    MNIST.title: (("digit",), "family-mnist"),
}
_MEASURES = ("majority_accuracy", "majority_accuracy_training_map", "nmi")


def _arms(scale: Scale) -> Arms:
    arms = [
        Arm(f"scenes-{label}", _on_scenes(scale, assignments), SCENES.title)
        for label, (_, assignments) in ON_SCENES.items()
    ]
    if scale != "quick":
        vade = {arm.label: arm.config for arm in vade_arms(scale)}
        arms += [Arm(n, vade.get(n) or settings(n, scale), MNIST.title) for n in _ON_MNIST]
    return arms


def _on_scenes(scale: Scale, assignments: Sequence[str]) -> Config:
    """A model on scenes: MFCVAE's deep facet trains alone first, all others' train together."""
    steps = _EPOCHS[scale]
    n_epochs = sum(steps) if assignments else [*steps]
    return override(
        settings("shapes", scale), (f"training.epochs_per_step={n_epochs}", *assignments)
    )


def _name(arm: Arm) -> str:
    of_scenes = ON_SCENES.get(arm.label.removeprefix("scenes-"))
    return of_scenes[0] if of_scenes else _ON_MNIST[arm.label]


def _numbers(arm: Arm) -> Iterable[Entry]:
    """The bound, and for each facet with clusters what they agree with."""
    name = _name(arm)
    yield Entry(
        arm=arm.label,
        row=name,
        column=arm.title,
        metric=f"objective, held out, nats, guide {arm.config.guide.name}",
        path=("elbo", "test", "elbo"),
        percent=False,
    )
    for factor in _DATA[arm.title][0]:
        for j, facet in enumerate(arm.config.model.facets):
            if facet.has_clusters:
                row = f"{name}, facet {j}"
                yield from agreement(arm, factor, j, row, measures=_MEASURES)


def _draw(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    for data, (factors, file) in _DATA.items():
        groups: dict[str, dict[str, list[list[float]]]] = {}
        for outcome in (o for o in outcomes if o.arm.title == data):
            for facet, measured in _accuracies(outcome, factors):
                of_model = groups.setdefault(f"{_name(outcome.arm)},", {})
                of_model.setdefault(facet, []).append(measured)
        if groups:
            names = [factor.replace("_", " ") for factor in factors]
            yield file, changed_settings(groups, names, "", f"Models with clusters on {data}")


def _accuracies(outcome: Outcome, factors: Sequence[str]) -> Iterable[tuple[str, list[float]]]:
    """Facets with clusters, and the accuracy of every factor in each."""
    for j, facet in enumerate(outcome.evaluation.facets):
        if facet.has_clusters:
            found = [facet.factors[f].test["majority_accuracy"] for f in factors]
            yield f"facet {j}, K = {facet.n_clusters}", found


register_experiments(
    Experiment(
        name="family",
        title="every model of the family beside the others",
        source="our own comparison",
        n_seeds=seeds(3, 3, 1),
        arms=_arms,
        numbers=_numbers,
        draw=_draw,
        remarks=[
            "bounds compare on the same data with the same likelihood only; that of a relaxed "
            "guide is none, and that of a beta-VAE is lower by beta - 1 times its KL",
            "on scenes all models have the same data, likelihood, optimiser and length (VaDE's "
            "pretraining comes on top), and networks of the same widths; on MNIST each has the "
            "settings of its preset",
        ],
    )
)
