"""How different samples are from each other, and real pictures: Table 7."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from pyro_mfcvae.studies.papers.definition import (
    Arms,
    Entry,
    Experiment,
    Scale,
    register_experiments,
)
from pyro_mfcvae.studies.papers.published import DIVERSITY
from pyro_mfcvae.studies.papers.settings import MNIST, SVHN, mfcvae_arms, vade_arms, vade_note

_METRICS = {
    "lpips": "LPIPS (AlexNet, pictures of at least 32 x 32), mean over 10,000 pairs of 10,000",
    "pixels": "root-mean-square difference, mean over 10,000 pairs of 10,000",
}


class Diversity(Experiment):
    """Table 7: mean distance of pairs of samples, beside that of real pictures."""

    @override
    def arms(self, scale: Scale) -> Arms:
        return [*mfcvae_arms(scale, MNIST, SVHN), *_vade(scale)]

    @override
    def distances(self, scale: Scale) -> Sequence[str]:
        return ("pixels",) if scale == "quick" else ("lpips", "pixels")

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        lines = []
        for arm in arms:
            model = "VaDE" if arm.config.model.name == "vade" else "MFCVAE"
            tau = f", temperature {arm.config.sampling_temperature:g}"
            rows = {"samples": f"samples of {model}{tau}"}
            if model == "MFCVAE":
                rows["data"] = "real pictures"
            for of, row in rows.items():
                for distance in ("pixels",) if arm.is_quick else _METRICS:
                    published = DIVERSITY.get((arm.label, of), "") if distance == "lpips" else ""
                    lines.append(
                        Entry(
                            arm=arm.label,
                            row=row,
                            column=arm.title,
                            metric=_METRICS[distance],
                            path=("diversity", "distances", distance, of),
                            published=published,
                            percent=False,
                        )
                    )
        return lines

    @override
    def notes(self, scale: Scale) -> Sequence[str]:
        notes = [*super().notes(scale), vade_note(_vade(scale))]
        if scale == "quick":
            notes.append("LPIPS is left to the other scales: it needs a network's weights")
        return notes


def _vade(scale: Scale) -> Arms:
    return [arm for arm in vade_arms(scale) if "conv" not in arm.label]


register_experiments(
    Diversity(
        name="table-7",
        title="diversity of samples",
        source="MFCVAE, Table 7, which has 60,000 samples; which of LPIPS's networks and sizes "
        "of picture is not said",
        n_seeds={"full": 10, "reduced": 3, "quick": 1},
    )
)
