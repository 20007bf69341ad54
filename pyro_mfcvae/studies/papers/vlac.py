"""VLAC: accuracy of its layers' clusters, and what each layer draws (Table 1, Figures 2 and 3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from pyro_mfcvae.figures.layers import draw_components, draw_resampled_facets
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.studies.jobs import Arm
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
from pyro_mfcvae.studies.papers.settings import SCENES, settings
from pyro_mfcvae.studies.results import Entry

_IN_MFCVAE = "37.8 (2.2) in the MFCVAE paper, which does not say for which K"

# Preset: the data, the layer that is to find the digits, and the published accuracy.
_CASES: Mapping[str, tuple[str, int, str]] = {
    "vlac-mnist": ("MNIST", 2, ""),
    "gm-dgm-mnist": ("MNIST", 0, ""),
    "vlac-svhn": ("SVHN", 2, f"63.7 ± 4.2 in its own paper; {_IN_MFCVAE}"),
    "vlac-svhn-2": ("SVHN", 2, f"64.8 ± 2.7 in its own paper; {_IN_MFCVAE}"),
    "gm-dgm-svhn": ("SVHN", 0, "57.0 ± 3.2 in the VLAC paper"),
}
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


def _arms(scale: Scale) -> Arms:
    """Clusters inside of a ladder, beside those without one."""
    if scale == "quick":
        two = settings("vlac-mnist", scale, *_QUICK)
        one = settings("gm-dgm-mnist", scale, *_QUICK, *_ONE_LAYER)
        return [
            Arm("vlac-scenes", two, SCENES.title, {"shape": 0, "floor_hue": 1}),
            Arm("gm-dgm-scenes", one, SCENES.title, {"shape": 0, "floor_hue": 0}),
        ]
    return [
        Arm(preset, settings(preset, scale), title, {"digit": layer})
        for preset, (title, layer, _) in _CASES.items()
    ]


def numbers(arm: Arm) -> Iterable[Entry]:
    """Every accuracy of every layer with clusters."""
    model = "GM-DGM" if len(arm.config.model.facets) == 1 else "VLAC"
    for factor, layer in arm.facets.items():
        for j, facet in enumerate(arm.config.model.facets):
            if facet.has_clusters:
                published = _CASES[arm.label][2] if j == layer and arm.label in _CASES else ""
                row = f"{model}, facet {j}"
                yield from agreement(arm, factor, j, row, {"majority_accuracy": published})


def draw(experiment: Experiment, outcomes: Outcomes) -> Drawn:
    """What each layer draws, and each of its clusters."""
    for outcome in first_runs(outcomes):
        label, seen = outcome.arm.label, look(outcome.run, outcome.dataset)
        yield f"{label}-layers", draw_resampled_facets(seen)
        for j in seen.clustered:
            yield f"{label}-clusters-facet-{j}", draw_components(seen, j)


register_experiments(
    Experiment(
        name="vlac",
        title="clusters in the layers of a ladder",
        source="Willetts et al., 2019 (VLAC), Table 1, Figures 2 and 3",
        n_seeds=seeds(3, 3, 1),
        arms=_arms,
        numbers=numbers,
        draw=draw,
        remarks=[
            "accuracy of clusters that q(c | x) finds; layers with one cluster have none",
            "latent dimensions, likelihood and length of the training are our own: the paper does "
            "not give them",
        ],
    )
)
