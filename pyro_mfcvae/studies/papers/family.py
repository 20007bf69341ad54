"""All models of the family beside each other, on rendered scenes and on MNIST.

On scenes every model has the likelihood, the optimiser and the batches of the default job, and
networks of its widths; on MNIST each has the settings that were found for it. Models without
clusters are there for their bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from typing_extensions import override

from pyro_mfcvae.config import Config
from pyro_mfcvae.config import override as changed
from pyro_mfcvae.presets.scenes import ON_SCENES
from pyro_mfcvae.studies.papers.definition import (
    Arm,
    Arms,
    Drawn,
    Entry,
    Experiment,
    Outcome,
    Outcomes,
    Scale,
    agreement,
    register_experiments,
)
from pyro_mfcvae.studies.papers.settings import settings, vade_arms

_MEASURES = ("majority_accuracy", "majority_accuracy_training_map", "nmi")
_EPOCHS: Mapping[Scale, tuple[int, int]] = {
    "full": (24, 220),
    "reduced": (24, 96),
    "quick": (10, 30),
}


def _on_scenes(scale: Scale, assignments: Sequence[str]) -> Config:
    """A model on scenes: MFCVAE's deep facet trains alone first, all others' train together."""
    steps = _EPOCHS[scale]
    n_epochs = sum(steps) if assignments else [*steps]
    return changed(
        settings("shapes", scale), (f"training.epochs_per_step={n_epochs}", *assignments)
    )


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


class Family(Experiment):
    """Bound and agreement of every model, on two data sets."""

    @override
    def arms(self, scale: Scale) -> Arms:
        scenes = [
            Arm(f"scenes-{label}", _on_scenes(scale, assignments), "rendered scenes")
            for label, (_, assignments) in ON_SCENES.items()
        ]
        if scale == "quick":
            return scenes
        vade = {arm.label: arm.config for arm in vade_arms(scale)}
        return [
            *scenes,
            *(Arm(name, vade.get(name) or settings(name, scale), "MNIST") for name in _ON_MNIST),
        ]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [entry for arm in arms for entry in _entries(arm)]

    @override
    def notes(self, scale: Scale) -> Sequence[str]:
        return [
            *super().notes(scale),
            "bounds compare on the same data with the same likelihood only; that of a relaxed "
            "guide is none, and that of a beta-VAE is lower by beta - 1 times its KL",
            "on scenes all models have the same data, likelihood, optimiser and length (VaDE's "
            "pretraining comes on top), and networks of the same widths; on MNIST each has the "
            "settings of its preset",
        ]

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        from pyro_mfcvae.figures import changed_settings

        for data, file in (("rendered scenes", "family-scenes"), ("MNIST", "family-mnist")):
            groups: dict[str, dict[str, list[list[float]]]] = {}
            for outcome in outcomes:
                if outcome.arm.title == data:
                    for facet, measured in _clustered(outcome):
                        of_model = groups.setdefault(f"{_name(outcome.arm)},", {})
                        of_model.setdefault(facet, []).append(measured)
            if groups:
                factors = [factor.replace("_", " ") for factor in _factors(data)]
                title = f"Models with clusters on {data}"
                yield file, changed_settings(groups, factors, "", title)


def _factors(data: str) -> tuple[str, ...]:
    return ("digit",) if data == "MNIST" else ("floor_hue", "shape")


def _name(arm: Arm) -> str:
    label = arm.label.removeprefix("scenes-")
    return _ON_MNIST[label] if arm.title == "MNIST" else ON_SCENES[label][0]


def _clustered(outcome: Outcome) -> Iterator[tuple[str, list[float]]]:
    """Facets with clusters, and the accuracy of every factor in each."""
    for j, facet in enumerate(outcome.evaluation.facets):
        if facet.has_clusters:
            yield (
                f"facet {j}, K = {facet.n_clusters}",
                [
                    facet.factors[factor].test["majority_accuracy"]
                    for factor in _factors(outcome.arm.title)
                ],
            )


def _entries(arm: Arm) -> list[Entry]:
    """The bound, and for each facet with clusters what they agree with."""
    name = _name(arm)
    bound = Entry(
        arm=arm.label,
        row=name,
        column=arm.title,
        metric=f"objective, held out, nats, guide {arm.config.guide.name}",
        measure="elbo",
        percent=False,
    )
    lines = [bound]
    for factor in _factors(arm.title):
        for j, facet in enumerate(arm.config.model.facets):
            if facet.n_clusters > 1:
                measures = agreement(arm, factor, j, f"{name}, facet {j}")
                lines += [entry for entry in measures if entry.measure in _MEASURES]
    return lines


register_experiments(
    Family(
        name="family",
        title="every model of the family beside the others",
        source="our own comparison",
        n_seeds={"full": 3, "reduced": 3, "quick": 1},
    )
)
