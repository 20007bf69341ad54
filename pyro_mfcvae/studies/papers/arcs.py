"""The GMVAE paper's arcs in the plane, with and without a minimum of information."""

from __future__ import annotations

from collections.abc import Sequence

from typing_extensions import override

from pyro_mfcvae import figures
from pyro_mfcvae.config import override as changed
from pyro_mfcvae.figures.plane import draw_models_of_points
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.studies.papers.definition import (
    Arm,
    Arms,
    Drawn,
    Entry,
    Experiment,
    Outcomes,
    Scale,
    first_runs,
    register_experiments,
)
from pyro_mfcvae.studies.papers.gmvae import PAPER, ROW, SEEDS, exemplars_first

_TERM = "kl_c_0"  # the z-prior term
_MORE = 1.5  # nats; five arcs of one size have log 5 = 1.61
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
            lines += exemplars_first(arm, "arc")
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
        firsts = first_runs(outcomes)
        title = f"GMVAE, seed {firsts[0].seed}, beside a Gaussian mixture; held-out points"
        models = {o.arm.title: look(o.run, o.dataset) for o in firsts}
        training = firsts[0].dataset.split("train")[0].cpu().numpy()
        yield f"{self.name}-figure-2", draw_models_of_points(models, training, title)
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


def _nats(arm: Arm, metric: str, term: str) -> Entry:
    return Entry(
        arm=arm.label,
        row=ROW,
        column=arm.title,
        metric=metric,
        path=("elbo", "test", term),
        percent=False,
    )


register_experiments(
    Arcs(
        name="gmvae-arcs",
        title="GMVAE: arcs in the plane, with and without a minimum of information",
        source=f"{PAPER}, Figures 2 and 3",
        n_seeds={**SEEDS, "full": 3},
    )
)
