"""The GMVAE paper's experiments: arcs in the plane, MNIST and SVHN."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import cast

from torch import Tensor

from pyro_mfcvae import figures
from pyro_mfcvae.config import Config, override
from pyro_mfcvae.evaluation.results import log_name
from pyro_mfcvae.figures.layers import draw_moved_condition
from pyro_mfcvae.figures.plane import draw_models_of_points
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.studies.jobs import Arm, Outcome
from pyro_mfcvae.studies.papers.experiment import (
    Arms,
    Drawn,
    Experiment,
    Outcomes,
    Scale,
    agreement,
    first_runs,
    register_experiments,
    seeds,
)
from pyro_mfcvae.studies.papers.settings import QUICK_DATA, QUICK_LIKELIHOOD, settings
from pyro_mfcvae.studies.results import Entry

_PAPER = "Dilokthanakul et al., 2016"
_ROW = "GMVAE"
_N_COLUMNS = 10  # samples of each component

# Table 1 by K and M, second hand: the paper itself was not at hand to check it.
PUBLISHED: Mapping[str, tuple[int, int, str]] = {
    "K10-M1": (10, 1, "77.78 (5.75), best 87.31"),
    "K10-M10": (10, 10, "82.31 (3.75), best 88.54"),
    "K16-M1": (16, 1, "85.09 (1.99), best 89.01"),
    "K16-M10": (16, 10, "87.82 (5.33), best 96.92"),
    "K30-M1": (30, 1, "92.77 (1.60), best 95.84"),
    "K30-M10": (30, 10, "89.27 (2.50), best 93.22"),
}
_SECOND_HAND = (
    "published: mean (sd) and best of several runs as others quote them, not checked against the "
    "paper itself; its networks were convolutional"
)
_QUICK = (
    "preset=quick-gmvae",
    QUICK_DATA,
    QUICK_LIKELIHOOD,
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

_TERM = "kl_c_0"  # the z-prior term
_MORE = 1.5  # nats; five arcs of one size have log 5 = 1.61
_ARCS: Mapping[Scale, Sequence[str]] = {
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


def _digits(scale: Scale) -> tuple[Config, Mapping[str, int]]:
    """Settings for MNIST, or for ``quick`` a small model of rendered scenes."""
    if scale == "quick":
        return override(get_preset("gmvae-mnist").config, _QUICK), {"floor_hue": 0}
    name = "gmvae-mnist" if scale == "full" else "gmvae-mnist-fast"
    return get_preset(name).config, {"digit": 0}


def _digit_arms(scale: Scale) -> Arms:
    """MNIST with K components and M samples."""
    base, factors = _digits(scale)
    data = "rendered scenes" if scale == "quick" else "MNIST"
    return [
        Arm(
            label,
            override(base, [f"model.facets.0.n_clusters={k}", f"guide.n_samples={m}"]),
            f"{data}, K = {k}, M = {m}",
            factors,
        )
        for label, (k, m, _) in list(PUBLISHED.items())[: 2 if scale == "quick" else None]
    ]


def _svhn_arms(scale: Scale) -> Arms:
    if scale == "quick":
        base, factors = _digits(scale)
        return [Arm("scenes", base, "rendered scenes", factors)]
    return [Arm("svhn", settings("gmvae-svhn", scale), "SVHN", {"digit": 0})]


def _exemplars_first(arm: Arm) -> Iterable[Entry]:
    """The paper's own accuracy, then those of others and the NMI, of facet 0."""
    published = PUBLISHED[arm.label][2] if arm.label in PUBLISHED else ""
    for factor in arm.facets:
        own = {"exemplar_accuracy": published}
        yield from agreement(arm, factor, 0, _ROW, own, ["exemplar_accuracy"])
        yield from agreement(arm, factor, 0, _ROW)


def _draw_digits(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    panels: dict[str, list[figures.Curve]] = {}
    for outcome in outcomes:
        (factor,) = outcome.arm.facets
        curve = outcome.over_epochs(log_name("exemplar_accuracy", 0, factor))
        panels.setdefault(outcome.arm.title, []).append(curve)
    has_spread = any(len(curves) > 1 for curves in panels.values())
    note = "blue: mean plus and minus one standard deviation over the runs" * has_spread
    label = "exemplar accuracy, held out"
    yield (
        f"{experiment.name}-figure-4",
        figures.spread_over_epochs(panels, label, experiment.title, note),
    )
    for outcome in first_runs(outcomes):
        yield from _draw_pictures(outcome, f"{experiment.name}-figure-5-{outcome.arm.label}")


def _draw_svhn(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    for outcome in first_runs(outcomes):
        yield from _draw_pictures(outcome, f"{experiment.name}-figure-6")


def _draw_pictures(outcome: Outcome, name: str) -> Drawn:
    """Samples of every component, and every component along the style."""
    seen = look(outcome.run, outcome.dataset)
    title = f"{outcome.arm.title}, seed {outcome.seed}"
    options = {"n_clusters": None, "n_samples": _N_COLUMNS}
    yield f"{name}-samples", figures.draw_figure("samples", seen, 0, **options)
    yield f"{name}-style", draw_moved_condition(seen, title)


def _arc_arms(scale: Scale) -> Arms:
    """Five arcs with and without the minimum of information."""
    base = override(get_preset("gmvae-arcs").config, _ARCS[scale])
    arms = {
        "unconstrained": (0.0, "no constraint"),
        "constrained": (base.training.min_information, "at least {:g} nats"),
        "constrained-more": (_MORE, "at least {:g} nats"),
    }
    return [
        Arm(
            label,
            override(base, [f"training.min_information={least}"]),
            title.format(least),
            {"arc": 0},
        )
        for label, (least, title) in arms.items()
    ]


def _arc_numbers(arm: Arm) -> Iterable[Entry]:
    yield from _exemplars_first(arm)
    nats = partial(Entry, arm=arm.label, row=_ROW, column=arm.title, percent=False)
    yield nats(metric="z-prior term, nats, held out", path=("elbo", "test", _TERM))
    yield nats(metric="ELBO, nats, held out", path=("elbo", "test", "elbo"))


def _draw_arcs(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    firsts = first_runs(outcomes)
    title = f"GMVAE, seed {firsts[0].seed}, beside a Gaussian mixture; held-out points"
    models = {o.arm.title: look(o.run, o.dataset) for o in firsts}
    training = cast(Tensor, firsts[0].dataset.split("train")[0]).cpu().numpy()
    yield f"{experiment.name}-figure-2", draw_models_of_points(models, training, title)
    panels: dict[str, list[figures.Curve]] = {}
    for outcome in outcomes:
        panels.setdefault(outcome.arm.title, []).append(outcome.over_steps(_TERM))
    least = {o.arm.title: o.arm.config.training.min_information for o in firsts}
    yield (
        f"{experiment.name}-figure-3",
        figures.term_over_steps(
            panels,
            "z-prior term: KL of the clusters, nats",
            {title: threshold for title, threshold in least.items() if threshold > 0},
            "z-prior term over training; dotted: below it the term has no gradient",
        ),
    )


register_experiments(
    Experiment(
        name="gmvae-mnist",
        title="GMVAE: MNIST with K components and M samples",
        source=f"{_PAPER}, Table 1, Figures 4 and 5",
        n_seeds=seeds(10, 3, 1),
        arms=_digit_arms,
        numbers=_exemplars_first,
        draw=_draw_digits,
        shorter={
            "full": [_SECOND_HAND],
            "reduced": [
                _SECOND_HAND,
                "reduced: settings of our own for one core, the preset gmvae-mnist-fast",
            ],
            "quick": ["quick: a small model of rendered scenes; published numbers are of MNIST"],
        },
    ),
    Experiment(
        name="gmvae-svhn",
        title="GMVAE: samples of SVHN",
        source=f"{_PAPER}, Figure 6",
        arms=_svhn_arms,
        numbers=_exemplars_first,
        draw=_draw_svhn,
    ),
    Experiment(
        name="gmvae-arcs",
        title="GMVAE: arcs in the plane, with and without a minimum of information",
        source=f"{_PAPER}, Figures 2 and 3",
        n_seeds=seeds(3, 3, 1),
        arms=_arc_arms,
        numbers=_arc_numbers,
        draw=_draw_arcs,
        shorter={
            "reduced": ["reduced: ten times the published learning rate, in a 25th of the epochs"],
            "quick": ["quick: 20 times the published learning rate, fewer points and steps"],
        },
        remarks=[
            "arcs and likelihood are our own: the paper has no formula of its arcs",
            "density: log p(x) on a grid with latents drawn from the prior",
        ],
    ),
)
