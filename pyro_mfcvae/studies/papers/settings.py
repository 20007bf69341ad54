"""Settings of the experiments at every scale.

``full`` is a preset as it is. ``reduced`` is the same in fewer epochs, for machines without a GPU.
``quick`` puts a model of the same kind on rendered scenes and trains it for well under a minute:
it runs the same code and needs no download, and its numbers say nothing about the published ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.studies.papers.definition import Arm, Arms, Scale


@dataclass(frozen=True)
class Case:
    """Data that a two-facet model was published on.

    Attributes:
        preset: name of the settings, and the arm's label.
        title: of the data.
        facets: {factor: facet that is to find it}.
    """

    preset: str
    title: str
    facets: Mapping[str, int]


MNIST = Case("mnist", "MNIST", {"digit": 1})
SVHN = Case("svhn", "SVHN", {"digit": 0})
SHAPES3D_1 = Case("shapes3d-1", "3DShapes 1", {"shape": 0, "floor_hue": 1})
SHAPES3D_2 = Case("shapes3d-2", "3DShapes 2", {"shape": 0, "wall_hue": 1})
SCENES = Case("scenes", "rendered scenes", {"shape": 0, "floor_hue": 1})


def mfcvae_arms(scale: Scale, *published: Case) -> Arms:
    """MFCVAE on the published data, or for ``quick`` on rendered scenes."""
    return [
        Arm(case.preset, settings(case.preset, scale), case.title, case.facets)
        for case in ((SCENES,) if scale == "quick" else published)
    ]


def main_factor(scale: Scale) -> Mapping[str, int]:
    """The factor that experiments on MNIST are about, and the facet that is to find it."""
    return {"floor_hue": 1} if scale == "quick" else MNIST.facets


_REDUCED: dict[str, Sequence[str]] = {
    "mnist": ("training.epochs_per_step=[100,31]", "training.n_fade_in_batches=2300"),
    "mnist-fast": (
        "training.epochs_per_step=[10,9]",
        "training.n_fade_in_batches=2500",
        "training.kl_warm_up=[6,9]",
        "training.refit_mixtures=[6]",
    ),
    "svhn": ("training.epochs_per_step=[10,31]", "training.n_fade_in_batches=1500"),
    "shapes3d-1": ("training.epochs_per_step=[25,75]", "training.n_fade_in_batches=500"),
    "shapes3d-2": ("training.epochs_per_step=[25,75]", "training.n_fade_in_batches=500"),
    **dict.fromkeys(
        ("ugvae-mnist", "mlvae-mnist", "betavae-mnist"), ("training.epochs_per_step=10",)
    ),
    **dict.fromkeys(
        ("ugvae-domains", "mlvae-domains", "betavae-domains"), ("training.epochs_per_step=20",)
    ),
    "ugvae-shapes": ("training.epochs_per_step=20",),
    "ugvae-celeba": ("training.epochs_per_step=2",),
}
_PRETRAINING = "training.pretraining.options"
_VADE_REDUCED = (
    "training.epochs_per_step=15",
    f"{_PRETRAINING}.epochs_per_layer=3",
    f"{_PRETRAINING}.epochs=12",
)
QUICK_FACTORS = {
    "wall_hue": [5],
    "object_hue": [6],
    "scale": [0, 3, 7],
    "orientation": [0, 2, 4, 6, 8, 10, 12, 14],
}
QUICK_DATA = (
    f"data={json.dumps({'name': 'shapes', 'options': {'size': 16, 'factors': QUICK_FACTORS}})}"
)
_QUICK_LENGTH = ("training.evaluate_every=20", "training.checkpoint_every=40")
_QUICK = (
    "preset=quick",
    QUICK_DATA,
    "model.facets.0.n_clusters=40",
    "model.facets.1.n_clusters=20",
    "training.epochs_per_step=[40,120]",
    "training.n_fade_in_batches=200",
    *_QUICK_LENGTH,
)
_VADE_QUICK = (
    "preset=quick-vade",
    QUICK_DATA,
    'model.likelihood={"name": "gaussian", "options": {"scale": 0.12}}',
    "model.facets.0.n_clusters=40",
    "training.epochs_per_step=60",
    "training.n_threads=1",
    f"{_PRETRAINING}.epochs_per_layer=10",
    f"{_PRETRAINING}.epochs=20",
    *_QUICK_LENGTH,
)


def settings(preset: str, scale: Scale, *assignments: str) -> Config:
    """A preset at a scale; ``quick`` is two facets on 960 rendered scenes.

    Args:
        preset: its name.
        scale: of the experiment.
        *assignments: ``dotted.path=value``, at every scale.
    """
    if scale == "quick":
        return override(get_preset("shapes").config, (*_QUICK, *assignments))
    shorter = _REDUCED.get(preset, ()) if scale == "reduced" else ()
    return override(get_preset(preset).config, (*shorter, *assignments))


def vade_arms(scale: Scale) -> Arms:
    """VaDE, fully connected and convolutional, on the data of Table 2."""
    if scale == "quick":
        names = {"vade-scenes": "vade-mnist", "vade-conv-scenes": "vade-conv-mnist"}
        factors = {"floor_hue": 0, "shape": 0}
        return [
            Arm(label, _vade(preset, *_VADE_QUICK), SCENES.title, factors)
            for label, preset in names.items()
        ]
    shorter = _VADE_REDUCED if scale == "reduced" else ()
    return [
        Arm(
            name, _vade(name, *shorter), "MNIST" if name.endswith("mnist") else "SVHN", {"digit": 0}
        )
        for name in ("vade-mnist", "vade-conv-mnist", "vade-svhn", "vade-conv-svhn")
    ]


def vade_name(arm: Arm) -> str:
    """Which VaDE an arm is."""
    return "VaDE, convolutional" if "conv" in arm.label else "VaDE, MLP"


def vade_note(arms: Arms) -> str:
    """How the VaDE that is trained differs from the published one."""
    first = arms[0].config.training
    return (
        f"VaDE trains for {first.n_epochs} epochs after pretraining (its authors' code: 3,000); "
        "of its convolutional networks nothing was published but the accuracies"
    )


def _vade(preset: str, *assignments: str) -> Config:
    config = get_preset(preset).config
    pretraining = config.training.pretraining
    has_layers = pretraining is not None and pretraining.name == "stacked-denoising"
    return override(config, [a for a in assignments if has_layers or "per_layer" not in a])
