"""VLAC: accuracy of its layers' clusters, and what each layer draws (Table 1, Figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from typing_extensions import override

from pyro_mfcvae.figures.layers import draw_components, draw_resampled_facets
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.studies.papers.definition import (
    Arm,
    Arms,
    Drawn,
    Entry,
    Experiment,
    Outcomes,
    Scale,
    agreement,
    first_runs,
    register_experiments,
)
from pyro_mfcvae.studies.papers.settings import SCENES, settings

_IN_MFCVAE = "37.8 (2.2) in the MFCVAE paper, which does not say for which K"
_PUBLISHED: Mapping[str, str] = {
    "vlac-svhn": f"63.7 ± 4.2 in its own paper; {_IN_MFCVAE}",
    "vlac-svhn-2": f"64.8 ± 2.7 in its own paper; {_IN_MFCVAE}",
    "gm-dgm-svhn": "57.0 ± 3.2 in the VLAC paper",
}


@dataclass(frozen=True)
class _Case:
    """A preset, the data that it is of, and the layer that is to find the digits."""

    preset: str
    title: str
    layer: int


_CASES = (
    _Case("vlac-mnist", "MNIST", 2),
    _Case("gm-dgm-mnist", "MNIST", 0),
    _Case("vlac-svhn", "SVHN", 2),
    _Case("vlac-svhn-2", "SVHN", 2),
    _Case("gm-dgm-svhn", "SVHN", 0),
)
_QUICK = (
    "preset=quick-vlac",
    "model.name=vlac",
    "model.mixture_initialisation=random",
    "guide.name=relaxed",
    "model.facets.0.initial_variance=1",
    "model.facets.1.initial_variance=1",
    "training.epochs_per_step=60",
    "training.n_fade_in_batches=0",
    "training.mixture_learning_rate=null",
    "training.kl_start=0.1",
    "training.kl_warm_up=[20,40]",
)
_ONE_LAYER = (
    "preset=quick-gm-dgm",
    'model.facets=[{"n_clusters": 40, "latent_dim": 20, "initial_variance": 1}]',
    "model.encoder.options.backbone=[[256,256]]",
    "model.decoder.options.backbone=[[256,256]]",
)


class LayersOfLadder(Experiment):
    """Table 1 and Figures 2 and 3: clusters inside of a ladder, beside those without one."""

    @override
    def arms(self, scale: Scale) -> Arms:
        if scale == "quick":
            two = settings("vlac-mnist", scale, *_QUICK)
            one = settings("gm-dgm-mnist", scale, *_QUICK, *_ONE_LAYER)
            return [
                Arm("vlac-scenes", two, SCENES.title, {"shape": 0, "floor_hue": 1}),
                Arm("gm-dgm-scenes", one, SCENES.title, {"shape": 0, "floor_hue": 0}),
            ]
        return [
            Arm(case.preset, settings(case.preset, scale), case.title, {"digit": case.layer})
            for case in _CASES
        ]

    @override
    def entries(self, arms: Arms) -> Sequence[Entry]:
        lines: list[Entry] = []
        for arm in arms:
            for factor, layer in arm.facets.items():
                for j, facet in enumerate(arm.config.model.facets):
                    if facet.has_clusters:
                        published = _PUBLISHED.get(arm.label, "") if j == layer else ""
                        row = f"{_model_name(arm)}, facet {j}"
                        numbers = {"majority_accuracy": published}
                        lines += agreement(arm, factor, j, row, numbers)
        return lines

    @override
    def draw(self, outcomes: Outcomes) -> Drawn:
        for outcome in first_runs(outcomes):
            label, seen = outcome.arm.label, look(outcome.run, outcome.dataset)
            yield f"{label}-layers", draw_resampled_facets(seen)
            for j in seen.clustered:
                yield f"{label}-clusters-facet-{j}", draw_components(seen, j)

    @override
    def notes(self, scale: Scale) -> Sequence[str]:
        return [
            *super().notes(scale),
            "accuracy of clusters that q(c | x) finds; layers with one cluster have none",
            "latent dimensions, likelihood and length of the training are our own: the paper does "
            "not give them",
        ]


def _model_name(arm: Arm) -> str:
    return "GM-DGM" if len(arm.config.model.facets) == 1 else "VLAC"


register_experiments(
    LayersOfLadder(
        name="vlac",
        title="clusters in the layers of a ladder",
        source="Willetts et al., 2019 (VLAC), Table 1, Figures 2 and 3",
        n_seeds={"full": 3, "reduced": 3, "quick": 1},
    )
)
