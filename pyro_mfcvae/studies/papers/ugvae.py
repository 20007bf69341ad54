"""UG-VAE: what a batch shares, beside the same model without clusters and a beta-VAE."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from typing_extensions import override

from pyro_mfcvae.config import Config
from pyro_mfcvae.config import override as changed
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.evaluation.shared_latents import domain_follows
from pyro_mfcvae.figures import Seen, groups
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.runs.measure import open_trained
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.studies.papers.batches import batches_told_apart, comparisons, tell_batches_apart
from pyro_mfcvae.studies.papers.definition import (
    Arm,
    Arms,
    Drawn,
    Entry,
    Experiment,
    Measure,
    Outcome,
    Outcomes,
    Scale,
    accuracy,
    first_runs,
    register_experiments,
)
from pyro_mfcvae.studies.papers.settings import QUICK_FACTORS, settings

_N_CLUSTERS = 3  # in figure 3, as published
_MODELS = {"ugvae": "UG-VAE", "mlvae": "ML-VAE", "betavae": "beta-VAE"}
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
_QUICK_NETWORK = {"name": "shared", "options": {"widths": [128]}}
_QUICK = (
    "training.epochs_per_step=40",
    "training.batch_size=32",
    "training.learning_rate=2e-3",
    'model.likelihood={"name": "gaussian", "options": {"scale": 0.2}}',
    "training.evaluate_every=20",
    "training.checkpoint_every=0",
)


@dataclass(frozen=True, kw_only=True)
class SharedByBatches(Experiment):
    """Kinds of batches told apart by the latent that each shares, and pictures along it.

    Attributes:
        data: last part of the presets' names.
        models: first parts of the presets' names; the first is the UG-VAE.
        main: {factor: facet of the UG-VAE that is to cluster by it}.
        title_of_data: as it stands in tables and figures.
    """

    data: str
    models: Sequence[str]
    main: Mapping[str, int]
    title_of_data: str

    @override
    def arms(self, scale: Scale) -> Arms:
        title = "rendered scenes" if scale == "quick" else self.title_of_data
        main = {"floor_hue": 0} if scale == "quick" else self.main
        if scale == "quick" and self.data == "domains":
            title = "scenes and their negatives"
        return [
            Arm(name, self._settings(name, scale), title, main if model == "ugvae" else {})
            for model in self.models
            for name in (f"{model}-{self.data}",)
        ]

    def _settings(self, preset: str, scale: Scale) -> Config:
        if scale != "quick":
            return settings(preset, scale)
        config = get_preset(preset).config
        data = _QUICK_DOMAINS if self.data == "domains" else _QUICK_SCENES
        model = replace(config.model, options=config.model.options and {"group_size": 32})
        return changed(
            replace(config, preset=f"quick-{preset}", model=model),
            [
                f"data={json.dumps(data)}",
                *(f"model.{part}={json.dumps(_QUICK_NETWORK)}" for part in ("encoder", "decoder")),
                *_QUICK,
            ],
        )

    @override
    def further(self, scale: Scale) -> Mapping[str, Measure]:
        return {"groups": tell_batches_apart}

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        lines: list[Entry] = []
        for arm in arms:
            lines += [accuracy(arm, f, j, model_of(arm)) for f, j in arm.facets.items()]
            lines += batches_told_apart(arm, model_of(arm))
        return lines

    @override
    def notes(self, scale: Scale) -> Sequence[str]:
        stand_in = (
            "a beta-VAE has nothing that a batch shares: the mean of its z over the batch stands in"
        )
        return [
            *super().notes(scale),
            "groups to judge by are drawn from held-out observations, and share some of them",
            *([stand_in] if "betavae" in self.models else []),
        ]

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        for outcome in first_runs(outcomes):
            for name, figure in self.figures(outcome):
                yield f"{name}-{outcome.arm.label}", figure

    def figures(self, outcome: Outcome) -> Drawn:
        """The figures of one run."""
        seen, title = look(outcome.run, outcome.dataset), titled(outcome)
        yield from along_shared(seen, title)
        size = outcome.run.config.training.batch_size
        for name, kinds in comparisons(outcome.dataset).items():
            slug = name.replace(", ", "-").replace("_", "-").lower()
            yield f"figure-7-{slug}", groups.draw_map_of_groups(seen, kinds, size, title)


class DomainAlignment(SharedByBatches):
    """Two data sets in every batch: what the shared latent knows of them."""

    @override
    def further(self, scale: Scale) -> Mapping[str, Measure]:
        return {"groups": tell_batches_apart, "domains": _domains}

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        metrics = {
            "shared": "pictures redrawn with the other domain's shared latent that a linear "
            "classifier of pixels takes for that domain's, held out",
            "judge": "accuracy of that classifier on pictures of their own domain's latent",
        }
        return [
            *super().entries(arms),
            *(
                Entry(
                    arm=arm.label,
                    row=model_of(arm),
                    column=arm.title,
                    metric=metric,
                    path=("domains", name),
                )
                for arm in arms
                if arm.config.model.name == "ugvae"
                for name, metric in metrics.items()
            ),
        ]

    @override
    def figures(self, outcome: Outcome) -> Drawn:
        seen, title = look(outcome.run, outcome.dataset), titled(outcome)
        size = outcome.run.config.training.batch_size
        (kinds,) = comparisons(outcome.dataset).values()
        first, second = kinds
        paths = {}
        for part, ends in (("a", (first, second)), ("c", (second, second))):
            name = " to ".join(kind.name for kind in ends)
            figure, path = groups.draw_between_kinds(seen, ends, size, f"{title}: {name}")
            yield f"figure-5{part}", figure
            if len(path):
                paths[name] = path
        yield "figure-5b", groups.draw_map_of_groups(seen, kinds, size, title, paths)
        yield from along_shared(seen, title)


def along_shared(seen: Seen, title: str) -> Drawn:
    """Figure 3 of a UG-VAE's largest clusters, Figure 4 of an ML-VAE."""
    if seen.model.structure.group_size is not None:
        number = 3 if seen.clustered else 4
        yield f"figure-{number}", groups.draw_along_shared(seen, title, _N_CLUSTERS)


def model_of(arm: Arm) -> str:
    """Which model an arm is."""
    return _MODELS[arm.label.partition("-")[0]]


def titled(outcome: Outcome) -> str:
    """Model, data and seed of a run."""
    return f"{model_of(outcome.arm)}, {outcome.arm.title}, seed {outcome.seed}"


def _domains(run: Run, dataset: Dataset) -> dict[str, float]:
    model = open_trained(run, dataset).model
    if model.structure.group_size is None:
        return {}
    x, labels = dataset.split("test")
    return domain_follows(model, x, labels["domain"].cpu().numpy())


_SEEDS: Mapping[Scale, int] = {"full": 3, "reduced": 3, "quick": 1}
_FIGURES = "UG-VAE, Figures 3, 4 and 7"

register_experiments(
    SharedByBatches(
        name="ugvae-mnist",
        title="series of digits told apart by what a batch shares",
        source=f"{_FIGURES} and Table 1, which has CelebA; its supplement has MNIST",
        n_seeds=_SEEDS,
        data="mnist",
        models=("ugvae", "mlvae", "betavae"),
        main={"digit": 0},
        title_of_data="MNIST",
    ),
    SharedByBatches(
        name="ugvae-shapes",
        title="values of a factor told apart by what a batch shares",
        source="our own, after UG-VAE, Table 1",
        n_seeds=_SEEDS,
        data="shapes",
        models=("ugvae",),
        main={"floor_hue": 0, "shape": 0},
        title_of_data="rendered scenes",
    ),
    DomainAlignment(
        name="ugvae-domains",
        title="two data sets in every batch, aligned without labels",
        source="UG-VAE, Figures 5 and 6",
        n_seeds=_SEEDS,
        data="domains",
        models=("ugvae", "mlvae", "betavae"),
        main={},
        title_of_data="digits and scenes",
    ),
    SharedByBatches(
        name="ugvae-celeba",
        title="batches of faces told apart by what they share",
        source=f"{_FIGURES} and Table 1",
        n_seeds=_SEEDS,
        data="celeba",
        models=("ugvae",),
        main={"Male": 0},
        title_of_data="CelebA",
    ),
)
