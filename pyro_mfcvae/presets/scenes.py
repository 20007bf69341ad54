"""The neighbours on the default job's scenes: its data, likelihood, optimiser and widths.

What makes a model with its default settings, and the presets of those models that have clusters.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from pyro_mfcvae.config import override
from pyro_mfcvae.presets.default import SHAPES
from pyro_mfcvae.presets.registry import Preset, register_preset

_SHARED = (
    'model.encoder={"name": "shared", "options": {"widths": [256, 256], "activation": "elu"}}',
    'model.decoder={"name": "shared", "options": {"widths": [256, 256], "activation": "elu"}}',
)


def _facet(latent_dim: int, n_clusters: int, **more: object) -> dict[str, object]:
    return {"latent_dim": latent_dim, "n_clusters": n_clusters, **more}


def _model(name: str, guide: str, *facets: dict[str, object]) -> tuple[str, ...]:
    """Another model in the place of the default job's, whose facets train together."""
    return (
        f"model.name={name}",
        f"model.facets={json.dumps(facets)}",
        f"guide.name={guide}",
        "training.n_fade_in_batches=0",
    )


_SPREAD = {"learn_weights": False, "initial_variance": 1.0}
_PRETRAINING = {"name": "autoencoder", "options": {"epochs": 20}}

ON_SCENES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mfcvae": ("MFCVAE", ()),
    "vade": (
        "VaDE",
        (
            *_model("vade", "expectation-analytic", _facet(10, 80)),
            f"training.pretraining={json.dumps(_PRETRAINING)}",
            "model.mixture_initialisation=gmm-complete",
        ),
    ),
    "vlac": (
        "VLAC",
        (
            *_model("vlac", "relaxed", _facet(20, 80, **_SPREAD), _facet(2, 40, **_SPREAD)),
            "model.mixture_initialisation=random",
        ),
    ),
    "gm-dgm": (
        "GM-DGM",
        (
            *_model("vlac", "relaxed", _facet(20, 80, **_SPREAD)),
            "model.mixture_initialisation=random",
        ),
    ),
    "vlae": ("VLAE", _model("vlac", "enumerate", _facet(20, 1), _facet(2, 1))),
    "gmvae": (
        "GMVAE",
        (
            *_model("gmvae", "posterior-analytic", _facet(20, 80), _facet(5, 1)),
            *_SHARED,
            "model.options.mixture_width=100",
            "training.min_information=0.5",
        ),
    ),
    "ugvae": (
        "UG-VAE",
        (
            *_model("ugvae", "amortized", _facet(20, 80), _facet(5, 1)),
            *_SHARED,
            "model.options.group_size=150",
            "model.options.mixture_width=32",
        ),
    ),
    "mlvae": (
        "ML-VAE",
        (
            *_model("ugvae", "enumerate", _facet(20, 1), _facet(5, 1)),
            *_SHARED,
            "model.options.group_size=150",
        ),
    ),
    "betavae": (
        "beta-VAE, beta = 4",
        (*_model("mfcvae", "enumerate", _facet(20, 1)), *_SHARED, "training.kl_weight=4"),
    ),
}
"""{model: what to call it, and how it differs from the default job}."""


def _preset(model: str, description: str, expected: str) -> Preset:
    _, assignments = ON_SCENES[model]
    config = override(SHAPES.config, (*assignments, "training.epochs_per_step=120"))
    return Preset(
        config=replace(config, preset=f"{model}-shapes"),
        description=f"rendered scenes: {description}",
        source="our own, after the preset shapes",
        expected=expected,
    )


_SOURCE = (
    "held-out majority accuracy, map of its own, mean (sd) over seeds 0 to 2: {} "
    "(examples/results/family-reduced.md)"
)

for _model_preset in (
    _preset(
        "vade",
        "VaDE, all in one facet",
        _SOURCE.format("floor hue 96.8 % (5.5), shape 42.7 % (8.7), K = 80"),
    ),
    _preset(
        "vlac",
        "VLAC, two layers with clusters",
        _SOURCE.format(
            "floor hue 80.9 % (9.4), shape 32.4 % (3.8) in facet 0 (K = 80), 48.3 % (6.8) and "
            "41.8 % (7.0) in facet 1 (K = 40)"
        ),
    ),
    _preset(
        "gm-dgm",
        "GM-DGM, one layer with clusters",
        _SOURCE.format("floor hue 51.9 % (9.6), shape 28.6 % (0.2), K = 80"),
    ),
    _preset(
        "gmvae",
        "GMVAE, all clusters in one facet",
        _SOURCE.format("floor hue 93.7 % (5.5), shape 30.1 % (0.2) in facet 0 (K = 80)"),
    ),
):
    register_preset(_model_preset)
