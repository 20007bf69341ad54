"""Accuracy over training, seed by seed: Figures 7, 10, 12 and 18 to 20."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from typing_extensions import override

from pyro_mfcvae import figures
from pyro_mfcvae.config import Config, with_facets
from pyro_mfcvae.config import override as changed
from pyro_mfcvae.evaluation.results import log_name
from pyro_mfcvae.figures.names import readable
from pyro_mfcvae.studies.papers.definition import (
    ON_TRAINING,
    Arm,
    Arms,
    Drawn,
    Entry,
    Experiment,
    Outcome,
    Outcomes,
    Scale,
    accuracy,
    judge,
    register_experiments,
)
from pyro_mfcvae.studies.papers.published import ACCURACIES, MNIST_TEST, MNIST_TRAINING
from pyro_mfcvae.studies.papers.settings import (
    MNIST,
    SHAPES3D_1,
    SHAPES3D_2,
    SVHN,
    Case,
    main_factor,
    mfcvae_arms,
    settings,
)

_N_SEEDS: Mapping[Scale, int] = {"full": 10, "reduced": 3, "quick": 2}


@dataclass(frozen=True)
class Panel:
    """One accuracy over the epochs of all seeds of an arm.

    Attributes:
        title: above it.
        arm: label of the arm.
        factor: that the clusters are judged by.
        facet: j; None takes the facet that agrees best with the factor at each run's end.
        split: name of the log points: held-out observations, or training ones.
    """

    title: str
    arm: str
    factor: str
    facet: int | None = None
    split: str = "test"

    def curve(self, outcome: Outcome) -> figures.Curve:
        """Epochs and accuracies of one run."""
        facet = best_facet(outcome, self.factor) if self.facet is None else self.facet
        return outcome.over_epochs(log_name("majority_accuracy", facet, self.factor), self.split)


def best_facet(outcome: Outcome, factor: str) -> int:
    """The facet whose clusters agree best with a factor on held-out data."""
    found = outcome.evaluation
    return max(
        range(len(found.facets)),
        key=lambda j: found.facets[j].factors[factor].test["majority_accuracy"],
    )


class OverEpochs(Experiment):
    """Accuracies of each arm's factors over the epochs, a panel for each."""

    def panels(self, arms: Arms) -> Sequence[Panel]:
        """What is drawn; by default each factor in the facet that is to find it."""
        return [
            Panel(f"{arm.title}\n{readable(factor)}, facet {facet}", arm.label, factor, facet)
            for arm in arms
            for factor, facet in arm.facets.items()
        ]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [
            accuracy(arm, factor, facet, f"facet {facet}", ACCURACIES.get((arm.label, factor), ""))
            for arm in arms
            for factor, facet in arm.facets.items()
        ]

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        arms = list({o.arm.label: o.arm for o in outcomes}.values())
        drawn = {
            panel.title: [panel.curve(o) for o in outcomes if o.arm.label == panel.arm]
            for panel in self.panels(arms)
        }
        note = "blue: mean plus and minus one standard deviation over the runs"
        yield (
            self.name,
            figures.spread_over_epochs(
                drawn, "majority accuracy, map of its own", self.title, note
            ),
        )


@dataclass(frozen=True, kw_only=True)
class Published(OverEpochs):
    """The published models on some data sets: Figures 18 to 20.

    Attributes:
        cases: the data sets.
    """

    cases: Sequence[Case]

    @override
    def arms(self, scale: Scale) -> Arms:
        return mfcvae_arms(scale, *self.cases)


class TrainingAndTest(Published):
    """The same model judged on both parts of the data: Figure 12."""

    @override
    def panels(self, arms: Arms) -> Sequence[Panel]:
        return [
            Panel(f"{arm.title}, {part}\n{readable(factor)}", arm.label, factor, facet, split)
            for arm in arms
            for factor, facet in list(arm.facets.items())[-1:]
            for part, split in (("training set", ON_TRAINING), ("test set", "test"))
        ]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [
            judge(arm, factor, facet, f"facet {facet}", part=part, published=published)
            for arm in arms
            for factor, facet in list(arm.facets.items())[-1:]
            for part, published in (("train", MNIST_TRAINING), ("test", MNIST_TEST))
        ]


class LossForms(OverEpochs):
    """One facet with shared networks (Appendix C.3) under either guide: Figure 7."""

    @override
    def arms(self, scale: Scale) -> Arms:
        widths, rate, n_epochs = {
            "full": ([500, 500, 2000], 2e-3, 200),
            "reduced": ([500, 500, 2000], 2e-3, 60),
            "quick": ([128, 128], 1e-3, 100),
        }[scale]
        config = _with_shared_networks(with_facets(settings("mnist", scale), "10:50"), widths)
        length = [f"training.learning_rate={rate}", f"training.epochs_per_step={n_epochs}"]
        config = changed(config, length)
        factors = dict.fromkeys(main_factor(scale), 0)
        return [
            Arm(guide, changed(config, [f"guide.name={guide}"]), f"guide {guide}", factors)
            for guide in ("vade", "enumerate")
        ]


class Stability(OverEpochs):
    """Shared networks, a ladder, and a ladder with progressive training: Figure 10."""

    @override
    def arms(self, scale: Scale) -> Arms:
        progressive = settings("mnist", scale)
        n_epochs = progressive.training.n_epochs
        ladder = changed(progressive, [f"training.epochs_per_step={n_epochs}"])
        shared = _with_shared_networks(ladder, [256, 256] if scale == "quick" else [500, 2000])
        factors = main_factor(scale)
        return [
            Arm("shared", shared, "shared networks", factors),
            Arm("ladder", ladder, "ladder, all facets at once", factors),
            Arm("progressive", progressive, "ladder, progressive training", factors),
        ]

    @override
    def panels(self, arms: Arms) -> Sequence[Panel]:
        return [
            Panel(f"{arm.title}\n{readable(factor)}", arm.label, factor)
            for arm in arms
            for factor in arm.facets
        ]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [
            accuracy(arm, factor, j, f"facet {j}")
            for arm in arms
            for factor in arm.facets
            for j in range(len(arm.config.model.facets))
        ]


def _with_shared_networks(config: Config, widths: Sequence[int]) -> Config:
    """Settings with a trunk of these widths, shallow first, for encoder and decoder."""
    return changed(
        config,
        [
            f'model.{part}={{"name": "shared", "options": {{"widths": {list(sizes)}}}}}'
            for part, sizes in (("encoder", widths), ("decoder", widths[::-1]))
        ],
    )


register_experiments(
    LossForms(
        name="figure-7",
        title="five-term loss (vade) and three-term loss (enumerate), one facet",
        source="MFCVAE, Figure 7 and Appendix C.3; its number of epochs is not given",
        n_seeds=_N_SEEDS,
    ),
    Stability(
        name="figure-10",
        title="stability over seeds: shared networks, ladder, progressive training",
        source="MFCVAE, Figure 10 and Appendix E.1; of each run the facet that agrees best",
        n_seeds=_N_SEEDS,
    ),
    TrainingAndTest(
        name="figure-12",
        title="accuracy on the training and on the test set",
        source="MFCVAE, Figure 12 and Appendix E.2; curves: up to 10,000 training observations",
        n_seeds=_N_SEEDS,
        cases=(MNIST,),
    ),
    *(
        Published(
            name=f"figure-{number}",
            title=f"accuracy over training: {title}",
            source=f"MFCVAE, Figure {number}",
            n_seeds=_N_SEEDS,
            cases=cases,
        )
        for number, title, cases in (
            (18, "MNIST and SVHN", (MNIST, SVHN)),
            (19, "3D Shapes, configuration 1", (SHAPES3D_1,)),
            (20, "3D Shapes, configuration 2", (SHAPES3D_2,)),
        )
    ),
)
