"""The experiments of the GMVAE paper: arcs in the plane, MNIST, SVHN."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from pyro_mfcvae import figures
from pyro_mfcvae.config import Config
from pyro_mfcvae.config import override as changed
from pyro_mfcvae.drawing.conditional import condition_moved
from pyro_mfcvae.drawing.from_clusters import generate
from pyro_mfcvae.drawing.held_out import look
from pyro_mfcvae.drawing.plane import data_and_latents
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.reproduction.definition import (
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
from pyro_mfcvae.reproduction.settings import QUICK_DATA

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = "GMVAE"
EXEMPLAR = "exemplar accuracy, held out"
_TERM = "kl_c_0"  # the z-prior term
_N_COLUMNS = 10  # samples of each component
_MORE = 1.5  # nats; five arcs of one size have log 5 = 1.61

# Best of several runs, and mean (sd), by K and M: Table 1 of the paper, whose metric is this.
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
_ARCS = {
    "full": (),
    "reduced": ("training.learning_rate=1e-3", "training.epochs_per_step=80"),
    "quick": (
        "preset=quick-gmvae-arcs",
        "data.options.n_train=2000",
        "data.options.n_test=500",
        "training.learning_rate=2e-3",
        "training.batch_size=100",
        "training.epochs_per_step=60",
    ),
}


class Arcs(Experiment):
    """Five arcs with and without the minimum of information: Figures 2 and 3."""

    @override
    def arms(self, scale: Scale) -> Arms:
        base = changed(get_preset("gmvae-arcs").config, _ARCS[scale])
        arms = {
            "unconstrained": (0.0, "no constraint"),
            "constrained": (base.training.min_information, "at least {:g} nats"),
            "constrained-more": (_MORE, "at least {:g} nats"),
        }
        return [
            Arm(
                label,
                changed(base, [f"training.min_information={least}"]),
                title.format(least),
                {"arc": 0},
            )
            for label, (least, title) in arms.items()
        ]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        lines: list[Entry] = []
        for arm in arms:
            lines += _accuracies(arm, "arc")
            lines += [
                _nats(arm, "z-prior term, nats, held out", _TERM),
                _nats(arm, "ELBO, nats, held out", "elbo"),
            ]
        return lines

    @override
    def notes(self, scale: Scale) -> Sequence[str]:
        shorter = {
            "reduced": ["reduced: ten times the published learning rate, in a 25th of the epochs"],
            "quick": ["quick: 20 times the published learning rate, fewer points and steps"],
        }
        return [
            *shorter.get(scale, []),
            "arcs and likelihood are our own: the paper has no formula of its arcs",
            "density: log p(x) on a grid with latents drawn from the prior",
        ]

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        firsts = _firsts(outcomes)
        title = f"GMVAE, seed {firsts[0].seed}, beside a Gaussian mixture; held-out points"
        runs = {o.arm.title: (o.run, o.dataset) for o in firsts}
        yield f"{self.name}-figure-2", data_and_latents(runs, title)
        panels: dict[str, list[figures.Curve]] = {}
        for outcome in outcomes:
            panels.setdefault(outcome.arm.title, []).append(outcome.over_steps(_TERM))
        least = {o.arm.title: o.arm.config.training.min_information for o in firsts}
        yield (
            f"{self.name}-figure-3",
            figures.term_over_steps(
                panels,
                "z-prior term: KL of the clusters, nats",
                {title: threshold for title, threshold in least.items() if threshold > 0},
                "z-prior term over training; dotted: below it the term has no gradient",
            ),
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
            for entry in _accuracies(arm, factor, PUBLISHED[sizes[arm.label]])
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
        note = "blue: mean plus and minus one standard deviation over the runs"
        yield (
            f"{self.name}-figure-4",
            figures.spread_over_epochs(panels, EXEMPLAR, self.title, note),
        )
        for outcome in _firsts(outcomes):
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
        return [e for arm in arms for factor in arm.facets for e in _accuracies(arm, factor)]

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        for outcome in _firsts(outcomes):
            for name, figure in _pictures(outcome):
                yield f"{self.name}-figure-6-{name}", figure


def _digits(scale: Scale) -> tuple[Config, Mapping[str, int]]:
    """Settings for MNIST, or for ``quick`` a small model of rendered scenes."""
    if scale == "quick":
        return changed(get_preset("gmvae-mnist").config, _QUICK), {"floor_hue": 0}
    name = "gmvae-mnist" if scale == "full" else "gmvae-mnist-fast"
    return get_preset(name).config, {"digit": 0}


def _digit_notes(scale: Scale) -> Sequence[str]:
    return {
        "full": [],
        "reduced": ["reduced: settings of our own for one core, the preset gmvae-mnist-fast"],
        "quick": ["quick: a small model of rendered scenes; published numbers are of MNIST"],
    }[scale]


def _accuracies(arm: Arm, factor: str, published: str = "") -> list[Entry]:
    """The paper's own accuracy, then those of others and the NMI, of facet 0."""
    own = Entry(
        arm=arm.label,
        row=_ROW,
        column=f"{arm.title}, {factor}",
        metric=EXEMPLAR,
        n_clusters=arm.config.model.facets[0].n_clusters,
        path=("facets", 0, "factors", factor, "test", "exemplar_accuracy"),
        published="" if arm.is_quick else published,
    )
    return [own, *agreement(arm, factor, 0, _ROW)]


def _nats(arm: Arm, metric: str, term: str) -> Entry:
    return Entry(
        arm=arm.label,
        row=_ROW,
        column=arm.title,
        metric=metric,
        path=("elbo", "test", term),
        percent=False,
    )


def _firsts(outcomes: Outcomes) -> list[Outcome]:
    """The run of every arm with its first seed."""
    return list({o.arm.label: o for o in reversed(outcomes)}.values())[::-1]


def _pictures(outcome: Outcome) -> list[tuple[str, Figure]]:
    """Samples of every component, and every component along the style."""
    seen = look(outcome.run, outcome.dataset)
    title = f"{outcome.arm.title}, seed {outcome.seed}"
    samples = generate(seen, [0], n_clusters=None, n_samples=_N_COLUMNS)
    return [("samples", samples.figure), ("style", condition_moved(seen, title=title).figure)]


_SEEDS: Mapping[Scale, int] = {"full": 10, "reduced": 3, "quick": 1}
_PAPER = "Dilokthanakul et al., 2016"

register_experiments(
    Arcs(
        name="gmvae-arcs",
        title="GMVAE: arcs in the plane, with and without a minimum of information",
        source=f"{_PAPER}, Figures 2 and 3",
        n_seeds={**_SEEDS, "full": 3},
    ),
    Digits(
        name="gmvae-mnist",
        title="GMVAE: MNIST with K components and M samples",
        source=f"{_PAPER}, Table 1, Figures 4 and 5",
        n_seeds=_SEEDS,
        sizes=tuple(PUBLISHED),
    ),
    Svhn(
        name="gmvae-svhn",
        title="GMVAE: samples of SVHN",
        source=f"{_PAPER}, Figure 6",
        n_seeds={"full": 1, "reduced": 1, "quick": 1},
    ),
)
