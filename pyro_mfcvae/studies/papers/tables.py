"""The numbers: Tables 1 and 2, and the accuracies on 3D Shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from typing_extensions import override

from pyro_mfcvae.studies.papers.definition import (
    Arms,
    Entry,
    Experiment,
    Scale,
    accuracy,
    agreement,
    probes,
    register_experiments,
)
from pyro_mfcvae.studies.papers.published import ACCURACIES, PROBES, VADE
from pyro_mfcvae.studies.papers.settings import (
    MNIST,
    SHAPES3D_1,
    SHAPES3D_2,
    SVHN,
    mfcvae_arms,
    vade_arms,
    vade_name,
    vade_note,
)


class ProbeTable(Experiment):
    """Table 1: what a classifier reads out of each facet's latents."""

    @override
    def arms(self, scale: Scale) -> Arms:
        return mfcvae_arms(scale, MNIST, SHAPES3D_1, SHAPES3D_2, SVHN)

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [
            entry
            for arm in arms
            for factor in arm.facets
            for entry in probes(arm, factor, PROBES.get((arm.label, factor), ()))
        ]


class AccuracyTable(Experiment):
    """MFCVAE's accuracies on 3D Shapes, Section 4.3."""

    @override
    def arms(self, scale: Scale) -> Arms:
        return mfcvae_arms(scale, SHAPES3D_1, SHAPES3D_2)

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [
            accuracy(arm, factor, facet, f"facet {facet}", ACCURACIES.get((arm.label, factor), ""))
            for arm in arms
            for factor, facet in arm.facets.items()
        ]


class ModelTable(Experiment):
    """Table 2: MFCVAE beside VaDE, with the accuracies that each paper counts by."""

    @override
    def arms(self, scale: Scale) -> Arms:
        return [*mfcvae_arms(scale, MNIST, SVHN), *vade_arms(scale)]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        lines: list[Entry] = []
        for arm in arms:
            for factor, facet in arm.facets.items():
                if arm.config.model.name == "vade":
                    lines += agreement(arm, factor, facet, vade_name(arm), VADE.get(arm.label))
                else:
                    published = {"majority_accuracy": ACCURACIES.get((arm.label, factor), "")}
                    lines += agreement(arm, factor, facet, "MFCVAE", published)
        return lines

    @override
    def notes(self, scale: Scale) -> Sequence[str]:
        return [*super().notes(scale), vade_note(vade_arms(scale))]


_SEEDS: Mapping[Scale, int] = {"full": 10, "reduced": 3, "quick": 1}

register_experiments(
    ProbeTable(
        name="table-1",
        title="what a classifier reads out of the latents of each facet",
        source="MFCVAE, Table 1 (3 runs)",
        n_seeds={**_SEEDS, "full": 3},
        probed=True,
    ),
    ModelTable(
        name="table-2",
        title="accuracy of MFCVAE and VaDE",
        source="MFCVAE, Table 2",
        n_seeds=_SEEDS,
    ),
    AccuracyTable(
        name="table-shapes",
        title="accuracy on 3D Shapes",
        source="MFCVAE, Section 4.3",
        n_seeds=_SEEDS,
    ),
)
