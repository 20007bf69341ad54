"""UG-VAE: what a batch shares, beside the same model without clusters and a beta-VAE."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.evaluation.groups import HAIR, SERIES, SEX, GroupKind, values_of
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.evaluation.separability import classify_groups
from pyro_mfcvae.evaluation.shared_latents import domain_follows
from pyro_mfcvae.evaluation.slow import SlowMeasurement, Trained, register_slow
from pyro_mfcvae.figures import Seen, groups
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.studies.jobs import Arm, Outcome
from pyro_mfcvae.studies.papers.experiment import (
    Arms,
    Draw,
    Drawn,
    Experiment,
    Outcomes,
    Scale,
    accuracy,
    first_runs,
    register_experiments,
    seeds,
)
from pyro_mfcvae.studies.papers.settings import QUICK_FACTORS, Case, settings
from pyro_mfcvae.studies.results import Entry

Comparisons = Mapping[str, Sequence[GroupKind]]

_MODELS = {"ugvae": "UG-VAE", "mlvae": "ML-VAE", "betavae": "beta-VAE"}
_HALVES = "-half-and-half"  # ends the label of an arm whose every batch has both domains
_N_CLUSTERS = 3  # in figure 3, as published

# The paper has figures of MNIST and of domains, and no numbers. These are of the authors' code, run
# for comparison: two seeds on MNIST, 4,690 steps; on two small domains 2,000 steps.
_AUTHORS = "figure only; authors' code, run for comparison:"

# Table 1: accuracy on training and on held-out batches, by arm, comparison and kernel.
_PUBLISHED: Mapping[tuple[str, str, str, str], tuple[str, str]] = {
    ("ugvae-celeba", "black, blond", "apart", "linear"): ("100", "95"),
    ("ugvae-celeba", "black, blond", "apart", "rbf"): ("100", "98"),
    ("ugvae-celeba", "black, blond", "with_random", "linear"): ("91", "54"),
    ("ugvae-celeba", "black, blond", "with_random", "rbf"): ("85", "56"),
    ("ugvae-celeba", "male, female", "apart", "linear"): ("100", "85"),
    ("ugvae-celeba", "male, female", "apart", "rbf"): ("100", "85"),
    ("ugvae-celeba", "male, female", "with_random", "linear"): ("84", "66"),
    ("ugvae-celeba", "male, female", "with_random", "rbf"): ("89", "63"),
    ("ugvae-mnist", "even, odd", "apart", "linear"): ("", f"{_AUTHORS} 55, 56"),
    ("ugvae-mnist", "even, odd, Fibonacci, prime", "apart", "linear"): ("", f"{_AUTHORS} 28, 34"),
}
# Pictures that follow the other domain's shared latent, by arm.
_FOLLOWING = {"ugvae-domains": f"{_AUTHORS} 44, 72", f"ugvae-domains{_HALVES}": f"{_AUTHORS} 0"}
# Kinds of batches that are told apart: by name, or the values of a factor.
_KINDS: Mapping[str, Comparisons] = {
    "mnist": {"even, odd": SERIES[:2], "even, odd, Fibonacci, prime": SERIES},
    "celeba": {"black, blond": HAIR, "male, female": SEX},
}
_BY_VALUE = {"shapes": ("floor_hue", "shape", "scale", "orientation"), "mixed": ("domain",)}

_QUICK_SCENES = {
    "name": "shapes",
    "options": {
        "size": 16,
        "test_fraction": 0.5,  # a factor's every value has a batch of held-out scenes
        "factors": QUICK_FACTORS,
    },
}
_QUICK_DOMAINS = {
    "name": "mixed",
    "options": {"first": _QUICK_SCENES, "second": _QUICK_SCENES | {"inverted": True}},
}
_QUICK = (
    'model.encoder={"name": "shared", "options": {"widths": [128]}}',
    'model.decoder={"name": "shared", "options": {"widths": [128]}}',
    "training.epochs_per_step=40",
    "training.batch_size=32",
    "training.learning_rate=2e-3",
    'model.likelihood={"name": "gaussian", "options": {"scale": 0.2}}',
    "training.evaluate_every=20",
    "training.checkpoint_every=0",
)


def _arms(data: Case, models: Sequence[str], scale: Scale) -> Arms:
    """Models on data whose name ends the presets' names; a UG-VAE is to cluster by its factors."""
    title, main = data.title, data.facets
    if scale == "quick":
        is_mixed = data.preset == "domains"
        title = "scenes and their negatives" if is_mixed else "rendered scenes"
        main = {"floor_hue": 0}
    arms = [
        Arm(name, _settings(name, scale), title, main if model == "ugvae" else {})
        for model in models
        for name in (f"{model}-{data.preset}",)
    ]
    halves = [
        replace(
            arm, label=arm.label + _HALVES, config=override(arm.config, ["training.strata=shared"])
        )
        for arm in arms
        if arm.config.training.strata == "apart"
    ]
    return [*arms, *halves]


def _settings(preset: str, scale: Scale) -> Config:
    if scale != "quick":
        return settings(preset, scale)
    config = get_preset(preset).config
    data = _QUICK_DOMAINS if preset.endswith("domains") else _QUICK_SCENES
    options = config.model.options and {**config.model.options, "group_size": 32}
    model = replace(config.model, options=options)
    config = replace(config, preset=f"quick-{preset}", model=model)
    return override(config, [f"data={json.dumps(data)}", *_QUICK])


def comparisons(dataset: Dataset) -> Comparisons:
    """Kinds of groups that are told apart on a data set."""
    if dataset.name in _KINDS:
        return _KINDS[dataset.name]
    return {factor: values_of(dataset, factor) for factor in _BY_VALUE[dataset.name]}


def tell_batches_apart(trained: Trained, asked: bool, known: Evaluation) -> dict[str, Any]:
    """What is measured of a run's model, with batches as large as it was trained on.

    Returns:
        as of :func:`classify_groups`, with ``"comparisons"`` of the run's model as ``"trained"``,
        and of one that has learnt nothing as ``"untrained"``: averages of many observations tell
        kinds of batches apart even if what is averaged has been learnt from nothing.
    """
    config, dataset, model = trained.config, trained.dataset, trained.model
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        untrained = build_model(config.model, dataset.observation)
    untrained.to(next(model.parameters()))
    found: dict[str, Any] = {}
    for name, measured in (("trained", model), ("untrained", untrained)):
        found |= classify_groups(
            measured, dataset, comparisons(dataset), config.training.batch_size, seed=config.seed
        )
        found[name] = found.pop("comparisons")
    return found


def follow_domains(trained: Trained, asked: bool, known: Evaluation) -> dict[str, float]:
    """What the shared latent knows of the domains of two data sets."""
    x, labels = trained.dataset.split("test")
    return domain_follows(trained.model, x, labels["domain"].cpu().numpy())


register_slow(SlowMeasurement(name="groups", measure=tell_batches_apart))
register_slow(SlowMeasurement(name="domains", measure=follow_domains))


def _numbers(arm: Arm) -> Iterable[Entry]:
    """Agreement, and accuracies of both machines on batches, without and with random ones."""
    row = _model_of(arm)
    if arm.config.model.name == "ugvae":
        yield Entry(
            arm=arm.label,
            row=row,
            column=arm.title,
            metric="KL of q(z_1 | X), nats for each observation, held out",
            path=("elbo", "test", "kl_z_1"),
            percent=False,
        )
    for factor, j in arm.facets.items():
        yield accuracy(arm, factor, j, row)
    data = arm.config.data.name
    for name in _KINDS.get(data) or _BY_VALUE[data]:
        for which, extra in (("apart", ""), ("with_random", ", random")):
            entry = partial(_separability, arm, f"{arm.title}: {name}{extra}")
            for kernel in ("linear", "rbf"):
                path = (name, which, "samples", kernel)
                train, test = _PUBLISHED.get((arm.label, name, which, kernel), ("", ""))
                yield entry("trained", *path, "train", published=train)
                yield entry("trained", *path, "test", published=test)
                yield entry("untrained", *path, "test")
            for model in ("trained", "untrained"):
                yield entry(model, name, which, "means", "linear", "test")


def _separability(arm: Arm, column: str, model: str, *path: str, published: str = "") -> Entry:
    machine = "a linear" if "linear" in path else "an RBF"
    part = "held out" if path[-1] == "test" else "training"
    of = "samples" if "samples" in path else "standardised means"
    return Entry(
        arm=arm.label,
        row=_model_of(arm) + ", untrained" * (model == "untrained"),
        column=column,
        metric=f"accuracy of {machine} SVM on {of} of q(z_1 | X), batches of "
        f"{arm.config.training.batch_size}, {part}",
        path=("groups", model, *path),
        published="" if arm.is_quick else published,
    )


def _domain_numbers(arm: Arm) -> Iterable[Entry]:
    metrics = {
        "shared": "pictures redrawn with the other domain's shared latent that a linear "
        "classifier of pixels takes for that domain's, held out",
        "judge": "accuracy of that classifier on pictures of their own domain's latent",
    }
    entry = partial(Entry, arm=arm.label, row=_model_of(arm), column=arm.title)
    yield entry(
        metric=metrics["shared"],
        path=("domains", "shared"),
        published="" if arm.is_quick else _FOLLOWING.get(arm.label, ""),
    )
    yield entry(metric=metrics["judge"], path=("domains", "judge"))
    yield from _numbers(arm)


def _of_first_runs(draw: Callable[[Outcome, Seen, str], Drawn]) -> Draw:
    def draw_all(experiment: Experiment, outcomes: Outcomes) -> Drawn:
        for outcome in first_runs(outcomes):
            arm, seen = outcome.arm, look(outcome.run, outcome.dataset)
            title = f"{_model_of(arm)}, {arm.title}, seed {outcome.seed}"
            for name, figure in draw(outcome, seen, title):
                yield f"{name}-{arm.label}", figure

    return draw_all


@_of_first_runs
def _draw(outcome: Outcome, seen: Seen, title: str) -> Drawn:
    yield from _draw_along_shared(seen, title)
    size = outcome.run.config.training.batch_size
    for name, kinds in comparisons(outcome.dataset).items():
        slug = name.replace(", ", "-").replace("_", "-").lower()
        yield f"figure-7-{slug}", groups.draw_map_of_groups(seen, kinds, size, title)


@_of_first_runs
def _draw_domains(outcome: Outcome, seen: Seen, title: str) -> Drawn:
    size, paths = outcome.run.config.training.batch_size, {}
    (kinds,) = comparisons(outcome.dataset).values()
    first, second = kinds
    for part, ends in (("a", (first, second)), ("c", (second, second))):
        name = " to ".join(kind.name for kind in ends)
        figure, path = groups.draw_between_kinds(seen, ends, size, f"{title}: {name}")
        yield f"figure-5{part}", figure
        if len(path):
            paths[name] = path
    yield "figure-5b", groups.draw_map_of_groups(seen, kinds, size, title, paths)
    yield from _draw_along_shared(seen, title)


def _draw_along_shared(seen: Seen, title: str) -> Drawn:
    """Figure 3 of a UG-VAE's largest clusters, Figure 4 of an ML-VAE."""
    if seen.model.structure.group_size is not None:
        number = 3 if seen.clustered else 4
        yield f"figure-{number}", groups.draw_along_shared(seen, title, _N_CLUSTERS)


def _model_of(arm: Arm) -> str:
    name = _MODELS[arm.label.partition("-")[0]]
    return f"{name}, half and half" if arm.label.endswith(_HALVES) else name


_FIGURES = "UG-VAE, Figures 3, 4 and 7"
_GROUPS = "groups to judge by are drawn from held-out observations, and share some of them"
_STAND_IN = "a beta-VAE has nothing that a batch shares: the mean of its z over the batch stands in"
_OF_ALIGNMENT = (
    "each batch is of one domain, as the data set hands out its rows; the models are not told "
    "which. Half and half: every batch has both, as in the paper",
    "the ELBO is of batches in the order of the data, where scenes are sorted and one batch has "
    "both domains: not those of training, so for what a batch shares it is lower",
)

# Data and the factors that a UG-VAE is to cluster by, models beside it, title and source.
_ROWS: Sequence[tuple[Case, Sequence[str], str, str]] = (
    (
        Case("mnist", "MNIST", {"digit": 0}),
        tuple(_MODELS),
        "series of digits told apart by what a batch shares",
        f"{_FIGURES} and Table 1, which has CelebA; its supplement has MNIST",
    ),
    (
        Case("shapes", "rendered scenes", {"floor_hue": 0, "shape": 0}),
        ("ugvae",),
        "values of a factor told apart by what a batch shares",
        "our own, after UG-VAE, Table 1",
    ),
    (
        Case("domains", "digits and scenes"),
        tuple(_MODELS),
        "two data sets aligned without labels",
        "UG-VAE, Figures 5 and 6",
    ),
    (
        Case("celeba", "CelebA", {"Male": 0}),
        ("ugvae",),
        "batches of faces told apart by what they share",
        f"{_FIGURES} and Table 1",
    ),
)
_OF_DOMAINS: Mapping[str, Any] = {
    "numbers": _domain_numbers,
    "draw": _draw_domains,
    "slow": {"groups": True, "domains": True},
}
_OF_KINDS: Mapping[str, Any] = {"numbers": _numbers, "draw": _draw, "slow": {"groups": True}}

register_experiments(
    *(
        Experiment(
            name=f"ugvae-{data.preset}",
            title=title,
            source=source,
            n_seeds=seeds(3, 3, 1),
            arms=partial(_arms, data, models),
            remarks=[
                _GROUPS,
                *([_STAND_IN] if "betavae" in models else []),
                *(_OF_ALIGNMENT if data.preset == "domains" else []),
            ],
            **(_OF_DOMAINS if data.preset == "domains" else _OF_KINDS),
        )
        for data, models, title, source in _ROWS
    )
)
