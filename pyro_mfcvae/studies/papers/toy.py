"""One facet against several on data with several aspects: Figure 1."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import mean
from typing import TYPE_CHECKING

from typing_extensions import override

from pyro_mfcvae import figures
from pyro_mfcvae.config import Component, Config, FacetConfig, ModelConfig, TrainingConfig
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
    accuracy,
    register_experiments,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_N_VALUES = 4  # of each aspect
_N_EPOCHS = 15  # for each facet
_MOST = 3  # aspects


class LinearAgainstExponential(Experiment):
    """Clusters that tell all aspects apart: n times m in n facets, m to the n in one."""

    @override
    def arms(self, scale: Scale) -> Arms:
        arms = []
        for n in range(1, _MOST + 1):
            total = n * _N_VALUES
            arms.append(_arm(n, [_N_VALUES] * n))
            if n > 1:
                needed = _N_VALUES**n
                arms += [_arm(n, [k]) for k in (total, needed, 2 * needed)]
        return arms

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        return [
            accuracy(arm, factor, facet, arm.label)
            for arm in arms
            for factor, facet in arm.facets.items()
        ]

    @override
    def notes(self, scale: Scale) -> Sequence[str]:
        return ["the same at every scale, but for the number of seeds"]

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        points: dict[str, list[tuple[int, int, float]]] = {}
        for outcome in outcomes:
            n = outcome.arm.config.data.options["n_aspects"]
            facets = outcome.arm.config.model.facets
            kind = "one facet" if len(facets) == 1 < n else "a facet for each aspect"
            total = sum(facet.n_clusters for facet in facets)
            points.setdefault(kind, []).append((n, total, told_apart(outcome)))
        yield "figure-1-clusters", figures.clusters_needed(points, _N_VALUES, self.title)
        for total, n_facets in ((_MOST * _N_VALUES, _MOST), (_N_VALUES**_MOST, 1)):
            label = _label(_MOST, n_facets, total)
            found = next((o for o in outcomes if o.arm.label == label), None)
            if found is not None:
                title = f"{label}, seed {found.seed}: held-out observations, colours: clusters"
                yield f"figure-1-{'several' if n_facets > 1 else 'one'}", _latents(found, title)


def told_apart(outcome: Outcome) -> float:
    """Majority accuracy of each aspect in the facet that finds it best, averaged over aspects."""
    facets = outcome.measures["facets"]
    return mean(
        max(facet["factors"][factor]["test"]["majority_accuracy"] for facet in facets)
        for factor in outcome.dataset.labels
    )


def _label(n_aspects: int, n_facets: int, n_clusters: int) -> str:
    facets = "1 facet" if n_facets == 1 else f"{n_facets} facets"
    aspects = "1 aspect" if n_aspects == 1 else f"{n_aspects} aspects"
    return f"{aspects}, {facets}, {n_clusters} clusters"


def _arm(n_aspects: int, n_clusters: Sequence[int]) -> Arm:
    label = _label(n_aspects, len(n_clusters), sum(n_clusters))
    deepest = len(n_clusters) - 1
    facets = {f"aspect_{i}": min(i, deepest) for i in range(n_aspects)}
    return Arm(label, _config(n_aspects, n_clusters), "toy data", facets)


def _config(n_aspects: int, n_clusters: Sequence[int]) -> Config:
    """One facet takes all 2n dimensions, several take 2 each."""
    n_facets = len(n_clusters)
    dim = 2 * n_aspects // n_facets
    width = {"backbone": [64] * n_facets, "activation": "elu"}
    facets = tuple(
        FacetConfig(
            n_clusters=k, latent_dim=dim, covariance="full", learn_weights=False, softplus_beta=1.0
        )
        for k in n_clusters
    )
    return Config(
        preset="aspects",
        data=Component(name="aspects", options={"n_aspects": n_aspects, "n_values": _N_VALUES}),
        model=ModelConfig(
            facets=facets,
            likelihood=Component(name="gaussian", options={"scale": 0.3}),
            encoder=Component(name="ladder", options=width),
            decoder=Component(name="ladder", options=width | {"rungs": [64] * n_facets}),
        ),
        training=TrainingConfig(
            batch_size=200,
            learning_rate=2e-3,
            mixture_learning_rate=6e-3,
            epochs_per_step=(_N_EPOCHS,) * n_aspects if n_facets > 1 else (_N_EPOCHS * n_aspects,),
            n_fade_in_batches=100,
            n_threads=1,
            evaluate_every=15,
        ),
    )


def _latents(outcome: Outcome, title: str) -> Figure:
    seen = look(outcome.run, outcome.dataset)
    return figures.latent_spaces(
        seen.predictions.z_mean,
        seen.predictions.clusters,
        [f"facet {j}, K = {prior.n_clusters}" for j, prior in enumerate(seen.model.facets)],
        title,
    )


register_experiments(
    LinearAgainstExponential(
        name="figure-1",
        title="clusters needed: linear in the aspects with a facet for each, exponential in one",
        source="MFCVAE, Figure 1, a drawing; here models trained on toy data of the same kind",
        n_seeds={"full": 5, "reduced": 3, "quick": 1},
    )
)
