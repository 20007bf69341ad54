"""Accuracy over training, seed by seed: Figures 7, 10, 12 and 18 to 20 of the MFCVAE paper."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pyro_mfcvae import figures
from pyro_mfcvae.config import Config, override, with_facets
from pyro_mfcvae.evaluation import ON_TRAINING
from pyro_mfcvae.evaluation.measures import Part
from pyro_mfcvae.evaluation.results import log_name
from pyro_mfcvae.figures.names import readable
from pyro_mfcvae.studies.jobs import Arm, Outcome
from pyro_mfcvae.studies.papers.experiment import (
    Arms,
    Draw,
    Drawn,
    Experiment,
    Outcomes,
    Scale,
    accuracy,
    agreement,
    register_experiments,
    seeds,
)
from pyro_mfcvae.studies.papers.settings import (
    MNIST,
    SHAPES3D_1,
    SHAPES3D_2,
    SVHN,
    main_factor,
    mfcvae_arms,
    settings,
)
from pyro_mfcvae.studies.papers.tables import own_accuracies
from pyro_mfcvae.studies.results import Entry

# Appendix E.2.
_ACCURACY = "majority_accuracy"
_ON_PARTS: dict[Part, tuple[str, str, str]] = {
    "train": ("training set", ON_TRAINING, "91.85 (3.09), 10 seeds"),
    "test": ("test set", "test", "92.02 (3.02), 10 seeds"),
}
# Of Figure 7: widths of the shared networks, learning rate, epochs.
_LOSS_FORMS: Mapping[Scale, tuple[list[int], float, int]] = {
    "full": ([500, 500, 2000], 2e-3, 200),
    "reduced": ([500, 500, 2000], 2e-3, 60),
    "quick": ([128, 128], 1e-3, 100),
}


@dataclass(frozen=True)
class CurvePanel:
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
        return outcome.over_epochs(log_name(_ACCURACY, facet, self.factor), self.split)


def best_facet(outcome: Outcome, factor: str) -> int:
    """The facet whose clusters agree best with a factor on held-out data."""
    facets = outcome.evaluation.facets
    return max(range(len(facets)), key=lambda j: facets[j].factors[factor].test[_ACCURACY])


def panels_of(arm: Arm) -> Iterable[CurvePanel]:
    """Each factor in the facet that is to find it."""
    for factor, facet in arm.facets.items():
        yield CurvePanel(
            f"{arm.title}\n{readable(factor)}, facet {facet}", arm.label, factor, facet
        )


def over_epochs(panels_of: Callable[[Arm], Iterable[CurvePanel]] = panels_of) -> Draw:
    """Accuracies of each arm's factors over the epochs, a panel for each."""

    def draw(experiment: Experiment, outcomes: Outcomes) -> Drawn:
        arms = {outcome.arm.label: outcome.arm for outcome in outcomes}
        panels = {
            panel.title: [panel.curve(o) for o in outcomes if o.arm.label == label]
            for label, arm in arms.items()
            for panel in panels_of(arm)
        }
        note = "blue: mean plus and minus one standard deviation over the runs"
        label = "majority accuracy, map of its own"
        yield experiment.name, figures.spread_over_epochs(panels, label, experiment.title, note)

    return draw


def _on_parts(arm: Arm) -> Iterable[Entry]:
    """The same model judged on both parts of the data."""
    factor, facet = list(arm.facets.items())[-1]
    for part, (_, _, published) in _ON_PARTS.items():
        own = {_ACCURACY: published}
        yield from agreement(arm, factor, facet, f"facet {facet}", own, [_ACCURACY], part)


def _panels_on_parts(arm: Arm) -> Iterable[CurvePanel]:
    factor, facet = list(arm.facets.items())[-1]
    for name, split, _ in _ON_PARTS.values():
        title = f"{arm.title}, {name}\n{readable(factor)}"
        yield CurvePanel(title, arm.label, factor, facet, split)


def _loss_forms(scale: Scale) -> Arms:
    """One facet with shared networks (Appendix C.3) under either guide."""
    widths, rate, n_epochs = _LOSS_FORMS[scale]
    config = _with_shared_networks(with_facets(settings("mnist", scale), "10:50"), widths)
    length = [f"training.learning_rate={rate}", f"training.epochs_per_step={n_epochs}"]
    config, factors = override(config, length), dict.fromkeys(main_factor(scale), 0)
    return [
        Arm(guide, override(config, [f"guide.name={guide}"]), f"guide {guide}", factors)
        for guide in ("vade", "enumerate")
    ]


def _stability(scale: Scale) -> Arms:
    """Shared networks, a ladder, and a ladder with progressive training."""
    progressive, factors = settings("mnist", scale), main_factor(scale)
    n_epochs = progressive.training.n_epochs
    ladder = override(progressive, [f"training.epochs_per_step={n_epochs}"])
    shared = _with_shared_networks(ladder, [256, 256] if scale == "quick" else [500, 2000])
    return [
        Arm("shared", shared, "shared networks", factors),
        Arm("ladder", ladder, "ladder, all facets at once", factors),
        Arm("progressive", progressive, "ladder, progressive training", factors),
    ]


def _in_every_facet(arm: Arm) -> Iterable[Entry]:
    for factor in arm.facets:
        for j in range(len(arm.config.model.facets)):
            yield accuracy(arm, factor, j, f"facet {j}")


def _panels_of_best(arm: Arm) -> Iterable[CurvePanel]:
    for factor in arm.facets:
        yield CurvePanel(f"{arm.title}\n{readable(factor)}", arm.label, factor)


def _with_shared_networks(config: Config, widths: Sequence[int]) -> Config:
    """Settings with a trunk of these widths, shallow first, for encoder and decoder."""
    return override(
        config,
        [
            f'model.{part}={{"name": "shared", "options": {{"widths": {list(sizes)}}}}}'
            for part, sizes in (("encoder", widths), ("decoder", widths[::-1]))
        ],
    )


_SEEDS = seeds(10, 3, 2)

register_experiments(
    Experiment(
        name="figure-7",
        title="five-term loss (vade) and three-term loss (enumerate), one facet",
        source="MFCVAE, Figure 7 and Appendix C.3; its number of epochs is not given",
        n_seeds=_SEEDS,
        arms=_loss_forms,
        numbers=own_accuracies,
        draw=over_epochs(),
    ),
    Experiment(
        name="figure-10",
        title="stability over seeds: shared networks, ladder, progressive training",
        source="MFCVAE, Figure 10 and Appendix E.1; of each run the facet that agrees best",
        n_seeds=_SEEDS,
        arms=_stability,
        numbers=_in_every_facet,
        draw=over_epochs(_panels_of_best),
    ),
    Experiment(
        name="figure-12",
        title="accuracy on the training and on the test set",
        source="MFCVAE, Figure 12 and Appendix E.2; curves: up to 10,000 training observations",
        n_seeds=_SEEDS,
        arms=lambda scale: mfcvae_arms(scale, MNIST),
        numbers=_on_parts,
        draw=over_epochs(_panels_on_parts),
    ),
    *(
        Experiment(
            name=f"figure-{number}",
            title=f"accuracy over training: {title}",
            source=f"MFCVAE, Figure {number}",
            n_seeds=_SEEDS,
            arms=lambda scale, cases=cases: mfcvae_arms(scale, *cases),  # type: ignore[misc]
            numbers=own_accuracies,
            draw=over_epochs(),
        )
        for number, title, cases in (
            (18, "MNIST and SVHN", (MNIST, SVHN)),
            (19, "3D Shapes, configuration 1", (SHAPES3D_1,)),
            (20, "3D Shapes, configuration 2", (SHAPES3D_2,)),
        )
    ),
)
