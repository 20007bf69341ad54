"""The GMVAE paper's experiments with pictures: MNIST and SVHN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from pyro_mfcvae import figures
from pyro_mfcvae.config import Config
from pyro_mfcvae.config import override as changed
from pyro_mfcvae.figures.conditional import draw_moved_condition
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.draw import look
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
    first_runs,
    register_experiments,
)
from pyro_mfcvae.studies.papers.settings import QUICK_DATA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PAPER = "Dilokthanakul et al., 2016"
ROW = "GMVAE"
SEEDS: Mapping[Scale, int] = {"full": 10, "reduced": 3, "quick": 1}
EXEMPLAR = "exemplar accuracy, held out"
_N_COLUMNS = 10  # samples of each component

# Table 1 by K and M, second hand: the paper itself was not at hand to check it.
PUBLISHED: Mapping[tuple[int, int], str] = {
    (10, 1): "77.78 (5.75), best 87.31",
    (10, 10): "82.31 (3.75), best 88.54",
    (16, 1): "85.09 (1.99), best 89.01",
    (16, 10): "87.82 (5.33), best 96.92",
    (30, 1): "92.77 (1.60), best 95.84",
    (30, 10): "89.27 (2.50), best 93.22",
}

_QUICK = (
    "preset=quick-gmvae",
    QUICK_DATA,
    'model.likelihood={"name": "gaussian", "options": {"scale": 0.12}}',
    'model.encoder={"name": "shared", "options": {"widths": [256, 256]}}',
    'model.decoder={"name": "shared", "options": {"widths": [256, 256]}}',
    "model.options.mixture_width=64",
    "model.facets.0.latent_dim=10",
    "model.facets.1.latent_dim=5",
    "training.learning_rate=1e-3",
    "training.batch_size=60",
    "training.epochs_per_step=60",
    "training.n_threads=1",
    "training.evaluate_every=10",
    "training.checkpoint_every=30",
)


@dataclass(frozen=True, kw_only=True)
class Digits(Experiment):
    """MNIST with K components and M samples: Table 1, Figures 4 and 5.

    Attributes:
        sizes: K and M of each arm.
    """

    sizes: Sequence[tuple[int, int]]

    @override
    def arms(self, scale: Scale) -> Arms:
        base, factors = _digits(scale)
        data = "rendered scenes" if scale == "quick" else "MNIST"
        return [
            Arm(
                f"K{k}-M{m}",
                changed(base, [f"model.facets.0.n_clusters={k}", f"guide.n_samples={m}"]),
                f"{data}, K = {k}, M = {m}",
                factors,
            )
            for k, m in (self.sizes[:2] if scale == "quick" else self.sizes)
        ]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        sizes = {f"K{k}-M{m}": (k, m) for k, m in self.sizes}
        return [
            entry
            for arm in arms
            for factor in arm.facets
            for entry in exemplars_first(arm, factor, PUBLISHED[sizes[arm.label]])
        ]

    @override
    def notes(self, scale: Scale) -> Sequence[str]:
        return _digit_notes(scale)

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        panels: dict[str, list[figures.Curve]] = {}
        for outcome in outcomes:
            (factor,) = outcome.arm.facets
            curve = outcome.over_epochs(f"exemplar_accuracy_0_{factor}")
            panels.setdefault(outcome.arm.title, []).append(curve)
        has_spread = any(len(curves) > 1 for curves in panels.values())
        note = "blue: mean plus and minus one standard deviation over the runs" * has_spread
        yield (
            f"{self.name}-figure-4",
            figures.spread_over_epochs(panels, EXEMPLAR, self.title, note),
        )
        for outcome in first_runs(outcomes):
            for name, figure in _pictures(outcome):
                yield f"{self.name}-figure-5-{outcome.arm.label}-{name}", figure


class Svhn(Experiment):
    """Samples of SVHN: Figure 6."""

    @override
    def arms(self, scale: Scale) -> Arms:
        if scale == "quick":
            base, factors = _digits(scale)
            return [Arm("scenes", base, "rendered scenes", factors)]
        shorter = ["training.epochs_per_step=20"] if scale == "reduced" else []
        config = changed(get_preset("gmvae-svhn").config, shorter)
        return [Arm("svhn", config, "SVHN", {"digit": 0})]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [e for arm in arms for factor in arm.facets for e in exemplars_first(arm, factor)]

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        for outcome in first_runs(outcomes):
            for name, figure in _pictures(outcome):
                yield f"{self.name}-figure-6-{name}", figure


def _digits(scale: Scale) -> tuple[Config, Mapping[str, int]]:
    """Settings for MNIST, or for ``quick`` a small model of rendered scenes."""
    if scale == "quick":
        return changed(get_preset("gmvae-mnist").config, _QUICK), {"floor_hue": 0}
    name = "gmvae-mnist" if scale == "full" else "gmvae-mnist-fast"
    return get_preset(name).config, {"digit": 0}


def _digit_notes(scale: Scale) -> Sequence[str]:
    second_hand = (
        "published: mean (sd) and best of several runs as others quote them, not checked against "
        "the paper itself; its networks were convolutional"
    )
    return {
        "full": [second_hand],
        "reduced": [
            second_hand,
            "reduced: settings of our own for one core, the preset gmvae-mnist-fast",
        ],
        "quick": ["quick: a small model of rendered scenes; published numbers are of MNIST"],
    }[scale]


def exemplars_first(arm: Arm, factor: str, published: str = "") -> list[Entry]:
    """The paper's own accuracy, then those of others and the NMI, of facet 0."""
    own = Entry(
        arm=arm.label,
        row=ROW,
        column=f"{arm.title}, {factor}",
        metric=EXEMPLAR,
        n_clusters=arm.config.model.facets[0].n_clusters,
        path=("facets", 0, "factors", factor, "test", "exemplar_accuracy"),
        published="" if arm.is_quick else published,
    )
    return [own, *agreement(arm, factor, 0, ROW)]


def _pictures(outcome: Outcome) -> list[tuple[str, Figure]]:
    """Samples of every component, and every component along the style."""
    seen = look(outcome.run, outcome.dataset)
    title = f"{outcome.arm.title}, seed {outcome.seed}"
    options = {"n_clusters": None, "n_samples": _N_COLUMNS}
    return [
        ("samples", figures.draw_figure("samples", seen, 0, **options)),
        ("style", draw_moved_condition(seen, title)),
    ]


register_experiments(
    Digits(
        name="gmvae-mnist",
        title="GMVAE: MNIST with K components and M samples",
        source=f"{PAPER}, Table 1, Figures 4 and 5",
        n_seeds=SEEDS,
        sizes=tuple(PUBLISHED),
    ),
    Svhn(
        name="gmvae-svhn",
        title="GMVAE: samples of SVHN",
        source=f"{PAPER}, Figure 6",
        n_seeds={"full": 1, "reduced": 1, "quick": 1},
    ),
)
