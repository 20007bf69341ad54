"""One facet against several on data with several aspects: Figure 1 of the MFCVAE paper."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean

from pyro_mfcvae import figures
from pyro_mfcvae.config import Config
from pyro_mfcvae.presets.default import SLOW_VARIANCES
from pyro_mfcvae.presets.rows import facets, gaussian, model, part, training
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.studies.jobs import Arm, Outcome
from pyro_mfcvae.studies.papers.experiment import (
    Arms,
    Drawn,
    Experiment,
    Outcomes,
    Scale,
    accuracy,
    register_experiments,
    seeds,
)

_N_VALUES = 4  # of each aspect
_N_EPOCHS = 15  # for each facet
_MOST = 3  # aspects


def _arms(scale: Scale) -> Arms:
    """Clusters that tell all aspects apart: n times m in n facets, m to the n in one."""
    arms = []
    for n in range(1, _MOST + 1):
        arms.append(_arm(n, [_N_VALUES] * n))
        if n > 1:
            needed = _N_VALUES**n
            arms += [_arm(n, [k]) for k in (n * _N_VALUES, needed, 2 * needed)]
    return arms


def _draw(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    points: dict[str, list[tuple[int, int, float]]] = {}
    for outcome in outcomes:
        n = outcome.arm.config.data.options["n_aspects"]
        priors = outcome.arm.config.model.facets
        kind = "one facet" if len(priors) == 1 < n else "a facet for each aspect"
        total = sum(facet.n_clusters for facet in priors)
        points.setdefault(kind, []).append((n, total, mean_best_accuracy(outcome)))
    yield "figure-1-clusters", figures.clusters_needed(points, _N_VALUES, experiment.title)
    for name, total, n_facets in (
        ("several", _MOST * _N_VALUES, _MOST),
        ("one", _N_VALUES**_MOST, 1),
    ):
        label = _label(_MOST, n_facets, total)
        if (found := next((o for o in outcomes if o.arm.label == label), None)) is not None:
            seen = look(found.run, found.dataset)
            yield (
                f"figure-1-{name}",
                figures.latent_spaces(
                    seen.predictions.z_mean,
                    seen.predictions.clusters,
                    [f"facet {j}, K = {p.n_clusters}" for j, p in enumerate(seen.model.facets)],
                    f"{label}, seed {found.seed}: held-out observations, colours: clusters",
                ),
            )


def mean_best_accuracy(outcome: Outcome) -> float:
    """Majority accuracy of each aspect in the facet that finds it best, averaged over aspects."""
    facets = outcome.evaluation.facets
    return mean(
        max(facet.factors[factor].test["majority_accuracy"] for facet in facets)
        for factor in outcome.dataset.labels
    )


def _label(n_aspects: int, n_facets: int, n_clusters: int) -> str:
    facets = "1 facet" if n_facets == 1 else f"{n_facets} facets"
    aspects = "1 aspect" if n_aspects == 1 else f"{n_aspects} aspects"
    return f"{aspects}, {facets}, {n_clusters} clusters"


def _arm(n_aspects: int, n_clusters: Sequence[int]) -> Arm:
    label = _label(n_aspects, len(n_clusters), sum(n_clusters))
    deepest = len(n_clusters) - 1
    found_in = {f"aspect_{i}": min(i, deepest) for i in range(n_aspects)}
    return Arm(label, _config(n_aspects, n_clusters), "toy data", found_in)


def _config(n_aspects: int, n_clusters: Sequence[int]) -> Config:
    """One facet takes all 2n dimensions, several take 2 each."""
    n_facets = len(n_clusters)
    dim, width = 2 * n_aspects // n_facets, [64] * n_facets
    steps = (_N_EPOCHS,) * n_aspects if n_facets > 1 else (_N_EPOCHS * n_aspects,)
    return Config(
        preset="aspects",
        data=part("aspects", n_aspects=n_aspects, n_values=_N_VALUES),
        model=model(
            facets(*((k, dim) for k in n_clusters), **SLOW_VARIANCES),
            gaussian(0.3),
            part("ladder", backbone=width, activation="elu"),
            part("ladder", backbone=width, activation="elu", rungs=width),
        ),
        training=training(200, 2e-3, steps, 100, 0, 15, mixture_learning_rate=6e-3, n_threads=1),
    )


register_experiments(
    Experiment(
        name="figure-1",
        title="clusters needed: linear in the aspects with a facet for each, exponential in one",
        source="MFCVAE, Figure 1, a drawing; here models trained on toy data of the same kind",
        n_seeds=seeds(5, 3, 1),
        arms=_arms,
        numbers=lambda arm: [accuracy(arm, f, j, arm.label) for f, j in arm.facets.items()],
        draw=_draw,
        shorter={},
        remarks=["the same at every scale, but for the number of seeds"],
    )
)
