"""One setting changed at a time: of the published model, and of our own quick one."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from pyro_mfcvae import figures
from pyro_mfcvae.config import Config, override
from pyro_mfcvae.evaluation.results import path_of
from pyro_mfcvae.studies.jobs import Arm
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
from pyro_mfcvae.studies.papers.settings import main_factor, settings
from pyro_mfcvae.studies.results import Entry

Changes = Mapping[str, Mapping[str, Sequence[str]]]

_BASE = "unchanged"
_QUICK_LENGTH = ("training.epochs_per_step=[20,40]", "training.n_fade_in_batches=100")

# What is changed: {name: {value: assignments}}; on rendered scenes the style facet is facet 1.
_CHANGES: Changes = {
    "style-dim": {str(d): (f"model.facets.0.latent_dim={d}",) for d in (2, 10, 20)},
    "K": {str(k): tuple(f"model.facets.{j}.n_clusters={k}" for j in (0, 1)) for k in (10, 50, 100)},
    "learning-rate": {r: (f"training.learning_rate={r}",) for r in ("2e-4", "2e-3")},
    "covariance": {"full": tuple(f"model.facets.{j}.covariance=full" for j in (0, 1))},
    "pi": {"fixed": tuple(f"model.facets.{j}.learn_weights=false" for j in (0, 1))},
}
_QUICK_CHANGES: Changes = {
    "style-dim": {"5": ("model.facets.1.latent_dim=5",)},
    "K": {"10": tuple(f"model.facets.{j}.n_clusters=10" for j in (0, 1))},
    "batch-size": {"64": ("training.batch_size=64",)},
    "learning-rate": {"2e-3": ("training.learning_rate=2e-3",)},
    "fade-in": {"0": ("training.n_fade_in_batches=0",)},
    "covariance": {"diagonal": tuple(f"model.facets.{j}.covariance=diagonal" for j in (0, 1))},
    "pi": {"learnt": tuple(f"model.facets.{j}.learn_weights=true" for j in (0, 1))},
}
_QUICK_RECIPE = (
    "training.kl_start=0.1",
    "training.kl_warm_up=[5,15]",
    "training.refit_mixtures=[5]",
    'training.warp={"scale": 0.1, "shift": 1, "facets": [1]}',
)
_PUBLISHED_START = (
    "training.kl_start=1",
    "training.refit_mixtures=[]",
    "model.mixture_initialisation=gmm",
    "model.facets.0.initial_variance=0.01",
    "model.facets.1.initial_variance=0.01",
)
_FAST_CHANGES: Changes = {
    "warps": {"none": ("training.warp=null",)},
    "refit": {"none": ("training.refit_mixtures=[]",)},
    "KL-warm-up": {"none": ("training.kl_start=1",)},
    "start": {"published": _PUBLISHED_START},
    "digit-covariance": {"diagonal": ("model.facets.1.covariance=diagonal",)},
    "digit-dim": {"5": ("model.facets.1.latent_dim=5",)},
    "style-dim": {"5": ("model.facets.0.latent_dim=5",)},
    "precision": {"bf16": ("training.precision=bf16",)},
}


def _published_settings(scale: Scale) -> tuple[Config, Changes]:
    """The published settings for MNIST: MFCVAE, Appendix D.4 says what mattered in them."""
    if scale == "quick":
        return settings("mnist", scale, *_QUICK_LENGTH), _QUICK_CHANGES
    base = settings("mnist", scale)
    n_fade_in, size = base.training.n_fade_in_batches, base.training.batch_size
    batches = {  # they fade in over as many epochs
        str(n): (f"training.batch_size={n}", f"training.n_fade_in_batches={n_fade_in * size // n}")
        for n in (128, 1024)
    }
    fades = {str(n): (f"training.n_fade_in_batches={n}",) for n in (0, n_fade_in // 3)}
    return base, {**_CHANGES, "batch-size": batches, "fade-in": fades}


def _fast(scale: Scale) -> tuple[Config, Changes]:
    """The preset mnist-fast: which part of it does what."""
    if scale != "quick":
        return settings("mnist-fast", scale), _FAST_CHANGES
    few = {name: _FAST_CHANGES[name] for name in ("warps", "refit", "KL-warm-up")}
    return settings("mnist-fast", scale, *_QUICK_LENGTH, *_QUICK_RECIPE), few


def arms_of_changes(of: Callable[[Scale], tuple[Config, Changes]]) -> Callable[[Scale], Arms]:
    """A model, and models that differ from it in one setting."""

    def arms(scale: Scale) -> Arms:
        (base, changes), factors = of(scale), main_factor(scale)
        return [
            Arm(_BASE, base, _BASE, factors),
            *(
                Arm(f"{name}={value}", override(base, assignments), f"{name} {value}", factors)
                for name, values in changes.items()
                for value, assignments in values.items()
            ),
        ]

    return arms


def _numbers(arm: Arm) -> Iterable[Entry]:
    for factor, facet in arm.facets.items():
        for j in (facet, 1 - facet):
            yield accuracy(arm, factor, j, f"facet {j}")
    yield Entry(
        arm=arm.label,
        row="facets 0 and 1",
        column=arm.title,
        metric="NMI of their clusterings, held out",
        path=path_of("redundancy", facet=0, other_facet=1),
    )


def _draw(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    ((factor, facet),) = outcomes[0].arm.facets.items()
    groups: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for outcome in outcomes:
        name, _, value = outcome.arm.label.partition("=")
        facets = outcome.evaluation.facets
        both = tuple(
            facets[j].factors[factor].test["majority_accuracy"] for j in (facet, 1 - facet)
        )
        groups.setdefault(name, {}).setdefault(value, []).append(both)
    names = [f"{factor}, facet {j}" for j in (facet, 1 - facet)]
    yield experiment.name, figures.changed_settings(groups, names, _BASE, experiment.title)


_OF_PUBLISHED = Experiment(
    name="ablations",
    title="one setting changed at a time",
    source="MFCVAE, Appendix D.4, which says what mattered and gives no numbers",
    n_seeds=seeds(3, 1, 1),
    arms=arms_of_changes(_published_settings),
    numbers=_numbers,
    draw=_draw,
)
register_experiments(
    _OF_PUBLISHED,
    replace(
        _OF_PUBLISHED,
        name="fast-ablations",
        title="the preset mnist-fast with one setting changed at a time",
        source="our own",
        arms=arms_of_changes(_fast),
    ),
)
