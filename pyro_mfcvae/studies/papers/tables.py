"""The numbers of the MFCVAE paper: Tables 1, 2 and 7, and the accuracies on 3D Shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyro_mfcvae.studies.jobs import Arm
from pyro_mfcvae.studies.papers.experiment import (
    Arms,
    Experiment,
    Scale,
    accuracy,
    agreement,
    probes,
    register_experiments,
    seeds,
)
from pyro_mfcvae.studies.papers.settings import (
    ACCURACIES,
    MNIST,
    SHAPES3D_1,
    SHAPES3D_2,
    SVHN,
    WITH_VADE,
    mfcvae_arms,
    vade_arms,
    vade_name,
)
from pyro_mfcvae.studies.results import Entry

# Table 1: latents of the first facet, of the second, of both. Mean (sd) of 3 runs.
_PROBES: Mapping[tuple[str, str], tuple[str, str, str]] = {
    ("mnist", "digit"): ("17.34 (0.24)", "94.95 (0.04)", "95.27 (0.07)"),
    ("shapes3d-1", "shape"): ("95.00 (0.45)", "32.43 (1.38)", "95.18 (0.42)"),
    ("shapes3d-1", "floor_hue"): ("20.00 (0.68)", "100.00 (0.00)", "100.00 (0.00)"),
    ("shapes3d-2", "shape"): ("98.26 (0.16)", "24.41 (1.34)", "98.19 (0.30)"),
    ("shapes3d-2", "wall_hue"): ("73.40 (1.48)", "100.00 (0.00)", "99.97 (0.06)"),
    ("svhn", "digit"): ("69.46 (0.36)", "22.30 (0.16)", "70.39 (0.29)"),
}
# Table 2: MFCVAE's re-run of VaDE, and what VaDE's own paper says.
_VADE: Mapping[str, tuple[str, str]] = {
    "vade-mnist": ("89.09 (3.32)", "; 94.46 in its own paper, best of ten, on all 70,000 images"),
    "vade-conv-mnist": ("92.65 (1.14)", ""),
    "vade-svhn": ("27.03 (1.53)", ""),
    "vade-conv-svhn": ("30.80 (1.99)", ""),
}
# Table 7: LPIPS of real images, and of samples.
_LPIPS: Mapping[tuple[str, str], str] = {
    ("mnist", "data"): "0.112",
    ("mnist", "samples"): "0.116",
    ("vade-mnist", "samples"): "0.111",
    ("svhn", "data"): "0.227",
    ("svhn", "samples"): "0.182",
    ("vade-svhn", "samples"): "0.187",
}
_DISTANCES = {
    "lpips": "LPIPS (AlexNet, pictures of at least 32 x 32), mean over 10,000 pairs of 10,000",
    "pixels": "root-mean-square difference, mean over 10,000 pairs of 10,000",
}


def own_accuracies(arm: Arm) -> Iterable[Entry]:
    """The paper's accuracy of each factor in the facet that is to find it."""
    for factor, facet in arm.facets.items():
        published = ACCURACIES.get((arm.label, factor), "")
        yield accuracy(arm, factor, facet, f"facet {facet}", published)


def _probes(arm: Arm) -> Iterable[Entry]:
    for factor in arm.facets:
        yield from probes(arm, factor, _PROBES.get((arm.label, factor), ()))


def _all_accuracies(arm: Arm) -> Iterable[Entry]:
    """The accuracies that each paper counts by."""
    for factor, facet in arm.facets.items():
        row, published = "MFCVAE", {"majority_accuracy": ACCURACIES.get((arm.label, factor), "")}
        if arm.config.model.name == "vade":
            row, published = vade_name(arm), {}
            if arm.label in _VADE:  # its metric is one of these two, which one is not said
                number, own = _VADE[arm.label]
                text = f"{number}, by one of the two accuracies"
                published = {"majority_accuracy": text, "hungarian_accuracy": f"{text}{own}"}
        yield from agreement(arm, factor, facet, row, published)


def _with_dense_vade(scale: Scale) -> Arms:
    vade = [arm for arm in vade_arms(scale) if "conv" not in arm.label]
    return [*mfcvae_arms(scale, MNIST, SVHN), *vade]


def _diversity(arm: Arm) -> Iterable[Entry]:
    """Mean distance of pairs of samples, beside that of real pictures."""
    model = "VaDE" if arm.config.model.name == "vade" else "MFCVAE"
    tau = f", temperature {arm.config.sampling_temperature:g}"
    rows = {"samples": f"samples of {model}{tau}"}
    if model == "MFCVAE":
        rows["data"] = "real pictures"
    for of, row in rows.items():
        for distance in ("pixels",) if arm.is_quick else _DISTANCES:
            yield Entry(
                arm=arm.label,
                row=row,
                column=arm.title,
                metric=_DISTANCES[distance],
                path=("diversity", "distances", distance, of),
                published=_LPIPS.get((arm.label, of), "") if distance == "lpips" else "",
                percent=False,
            )


register_experiments(
    Experiment(
        name="table-1",
        title="what a classifier reads out of the latents of each facet",
        source="MFCVAE, Table 1 (3 runs)",
        n_seeds=seeds(3, 3, 1),
        arms=lambda scale: mfcvae_arms(scale, MNIST, SHAPES3D_1, SHAPES3D_2, SVHN),
        numbers=_probes,
        slow={"probe": True},
    ),
    Experiment(
        name="table-2",
        title="accuracy of MFCVAE and VaDE",
        source="MFCVAE, Table 2",
        n_seeds=seeds(10, 3, 1),
        arms=lambda scale: [*mfcvae_arms(scale, MNIST, SVHN), *vade_arms(scale)],
        numbers=_all_accuracies,
        shorter=WITH_VADE,
    ),
    Experiment(
        name="table-shapes",
        title="accuracy on 3D Shapes",
        source="MFCVAE, Section 4.3",
        n_seeds=seeds(10, 3, 1),
        arms=lambda scale: mfcvae_arms(scale, SHAPES3D_1, SHAPES3D_2),
        numbers=own_accuracies,
    ),
    Experiment(
        name="table-7",
        title="diversity of samples",
        source="MFCVAE, Table 7, which has 60,000 samples; which of LPIPS's networks and sizes "
        "of picture is not said",
        n_seeds=seeds(10, 3, 1),
        arms=_with_dense_vade,
        numbers=_diversity,
        slow={"diversity": tuple(_DISTANCES)},
        slow_quick={"diversity": ("pixels",)},
        shorter={
            **WITH_VADE,
            "quick": (
                *WITH_VADE["quick"],
                "LPIPS is left to the other scales: it needs a network's weights",
            ),
        },
    ),
)
