"""Settings of the experiments at every scale.

``full`` is a preset as it is. ``reduced`` is the same in fewer epochs, for machines without a GPU.
``quick`` puts a model of the same kind on rendered scenes and trains it for well under a minute:
it runs the same code and needs no download, and its numbers say nothing about the published ones.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.studies.jobs import Arm
from pyro_mfcvae.studies.papers.experiment import SHORTER, Arms, Scale


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
    facets: Mapping[str, int] = field(default_factory=dict)


MNIST = Case("mnist", "MNIST", {"digit": 1})
SVHN = Case("svhn", "SVHN", {"digit": 0})
SHAPES3D_1 = Case("shapes3d-1", "3DShapes 1", {"shape": 0, "floor_hue": 1})
SHAPES3D_2 = Case("shapes3d-2", "3DShapes 2", {"shape": 0, "wall_hue": 1})
SCENES = Case("scenes", "rendered scenes", {"shape": 0, "floor_hue": 1})

# MFCVAE, Table 2 and Section 4.3: majority accuracy with a map of its own (Appendix E.5).
ACCURACIES: Mapping[tuple[str, str], str] = {
    ("mnist", "digit"): "92.02 (3.18), 10 seeds",
    ("svhn", "digit"): "56.25 (0.93), 10 seeds",
    ("shapes3d-1", "floor_hue"): "99.46 (1.10), 10 seeds",
    ("shapes3d-1", "shape"): "88.47 (1.82), 10 seeds",
    ("shapes3d-2", "wall_hue"): "100.00 (0.00), 10 seeds",
    ("shapes3d-2", "shape"): "90.05 (2.65), 10 seeds",
}

# Epochs of each step, and batches of a fade-in, at the reduced scale.
_REDUCED: Mapping[str, tuple[list[int] | int, int | None]] = {
    "mnist": ([100, 31], 2300),
    "mnist-fast": ([10, 9], 2500),
    "svhn": ([10, 31], 1500),
    "shapes3d-1": ([25, 75], 500),
    "shapes3d-2": ([25, 75], 500),
    **{f"{model}-mnist": (5, None) for model in ("ugvae", "mlvae", "betavae")},
    **{f"{model}-domains": (10, None) for model in ("ugvae", "mlvae", "betavae")},
    "ugvae-shapes": (20, None),
    "ugvae-celeba": (2, None),
    "gmvae-svhn": (20, None),
}
_REDUCED_BESIDES = {"mnist-fast": ("training.kl_warm_up=[6,9]", "training.refit_mixtures=[6]")}

# VaDE's epochs, and those of its pretraining: of each layer, and of the whole.
_VADE_LENGTHS = (
    "epochs_per_step",
    "pretraining.options.epochs_per_layer",
    "pretraining.options.epochs",
)
_VADE_EPOCHS: Mapping[Scale, tuple[int, int, int] | None] = {
    "full": None,
    "reduced": (15, 3, 12),
    "quick": (60, 10, 20),
}

QUICK_FACTORS = {
    "wall_hue": [5],
    "object_hue": [6],
    "scale": [0, 3, 7],
    "orientation": [0, 2, 4, 6, 8, 10, 12, 14],
}
QUICK_DATA = (
    f"data={json.dumps({'name': 'shapes', 'options': {'size': 16, 'factors': QUICK_FACTORS}})}"
)
QUICK_LIKELIHOOD = 'model.likelihood={"name": "gaussian", "options": {"scale": 0.12}}'
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
    QUICK_LIKELIHOOD,
    "model.facets.0.n_clusters=40",
    "training.n_threads=1",
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
    shorter: list[str] = []
    if scale == "reduced" and preset in _REDUCED:
        epochs, n_fade_in = _REDUCED[preset]
        shorter = [f"training.epochs_per_step={epochs}", *_REDUCED_BESIDES.get(preset, ())]
        shorter += [] if n_fade_in is None else [f"training.n_fade_in_batches={n_fade_in}"]
    return override(get_preset(preset).config, (*shorter, *assignments))


def mfcvae_arms(scale: Scale, *published: Case) -> Arms:
    """MFCVAE on the published data, or for ``quick`` on rendered scenes."""
    return [
        Arm(case.preset, settings(case.preset, scale), case.title, case.facets)
        for case in ((SCENES,) if scale == "quick" else published)
    ]


def main_factor(scale: Scale) -> Mapping[str, int]:
    """The factor that experiments on MNIST are about, and the facet that is to find it."""
    return {"floor_hue": 1} if scale == "quick" else MNIST.facets


def vade_arms(scale: Scale) -> Arms:
    """VaDE, fully connected and convolutional, on the data of Table 2."""
    if scale == "quick":
        names = {"vade-scenes": "vade-mnist", "vade-conv-scenes": "vade-conv-mnist"}
        factors = {"floor_hue": 0, "shape": 0}
        return [
            Arm(label, _vade(preset, scale, *_VADE_QUICK), SCENES.title, factors)
            for label, preset in names.items()
        ]
    return [
        Arm(
            f"{kind}-{data.preset}", _vade(f"{kind}-{data.preset}", scale), data.title, {"digit": 0}
        )
        for data in (MNIST, SVHN)
        for kind in ("vade", "vade-conv")
    ]


def vade_name(arm: Arm) -> str:
    """Which VaDE an arm is."""
    return "VaDE, convolutional" if "conv" in arm.label else "VaDE, MLP"


def _vade(preset: str, scale: Scale, *assignments: str) -> Config:
    config = get_preset(preset).config
    if (epochs := _VADE_EPOCHS[scale]) is not None:
        lengths = [f"training.{path}={n}" for path, n in zip(_VADE_LENGTHS, epochs, strict=True)]
        pretraining = config.training.pretraining
        has_layers = pretraining is not None and pretraining.name == "stacked-denoising"
        assignments += tuple(a for a in lengths if has_layers or "per_layer" not in a)
    return override(config, assignments)


_EPOCHS_OF_VADE: dict[Scale, int] = {"full": 300, "reduced": 15, "quick": 60}
WITH_VADE: Mapping[Scale, Sequence[str]] = {
    scale: (
        *SHORTER.get(scale, ()),
        f"VaDE trains for {n_epochs} epochs after pretraining (its authors' code: 3,000); of its "
        "convolutional networks nothing was published but the accuracies",
    )
    for scale, n_epochs in _EPOCHS_OF_VADE.items()
}
"""What a reader must know of each scale where VaDE is trained."""
