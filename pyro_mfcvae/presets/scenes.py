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

_SHARED = tuple(
    f'model.{part}={{"name": "shared", "options": {{"widths": [256, 256], "activation": "elu"}}}}'
    for part in ("encoder", "decoder")
)
_RANDOM_START = "model.mixture_initialisation=random"
_GROUPS = "model.options.group_size=150"


def _model(name: str, guide: str, *sizes: tuple[int, int], **shared: object) -> tuple[str, ...]:
    """Another model in the place of the default job's, with facets (K, D) that train together."""
    facets = [{"n_clusters": k, "latent_dim": dim, **shared} for k, dim in sizes]
    has_clusters = any(k > 1 for k, _ in sizes)
    return (
        f"model.name={name}",
        f"model.facets={json.dumps(facets)}",
        f"guide.name={guide}",
        "training.n_fade_in_batches=0",
        *(() if has_clusters else ("training.mixture_learning_rate=null",)),
    )


def _vlac(*sizes: tuple[int, int]) -> tuple[str, ...]:
    layers = _model("vlac", "relaxed", *sizes, learn_weights=False, initial_variance=1.0)
    return (*layers, _RANDOM_START)


ON_SCENES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "mfcvae": ("MFCVAE", ()),
    "vade": (
        "VaDE",
        (
            *_model("vade", "expectation-analytic", (80, 10)),
            'training.pretraining={"name": "autoencoder", "options": {"epochs": 20}}',
            "model.mixture_initialisation=gmm-complete",
        ),
    ),
    "vlac": ("VLAC", _vlac((80, 20), (40, 2))),
    "gm-dgm": ("GM-DGM", _vlac((80, 20))),
    "vlae": ("VLAE", _model("vlac", "enumerate", (1, 20), (1, 2))),
    "gmvae": (
        "GMVAE",
        (
            *_model("gmvae", "posterior-analytic", (80, 20), (1, 5)),
            *_SHARED,
            "model.options.mixture_width=100",
            "training.min_information=0.5",
        ),
    ),
    "ugvae": (
        "UG-VAE",
        (
            *_model("ugvae", "amortized", (80, 20), (1, 5)),
            *_SHARED,
            _GROUPS,
            "model.options.mixture_width=32",
        ),
    ),
    "mlvae": ("ML-VAE", (*_model("ugvae", "enumerate", (1, 20), (1, 5)), *_SHARED, _GROUPS)),
    "betavae": (
        "beta-VAE, beta = 4",
        (*_model("mfcvae", "enumerate", (1, 20)), *_SHARED, "training.kl_weight=4"),
    ),
}
"""{model: what to call it, and how it differs from the default job}."""

# Model, what it is, and the held-out majority accuracies of floor hue and shape.
_ROWS = (
    ("vade", "VaDE, all in one facet", "floor hue 96.8 % (5.5), shape 42.7 % (8.7), K = 80"),
    (
        "vlac",
        "VLAC, two layers with clusters",
        "floor hue 80.9 % (9.4), shape 32.4 % (3.8) in facet 0 (K = 80), 48.3 % (6.8) and "
        "41.8 % (7.0) in facet 1 (K = 40)",
    ),
    (
        "gm-dgm",
        "GM-DGM, one layer with clusters",
        "floor hue 51.9 % (9.6), shape 28.6 % (0.2), K = 80",
    ),
    (
        "gmvae",
        "GMVAE, all clusters in one facet",
        "floor hue 93.7 % (5.5), shape 30.1 % (0.2) in facet 0 (K = 80)",
    ),
)

for _name, _description, _found in _ROWS:
    _changes = (*ON_SCENES[_name][1], "training.epochs_per_step=120")
    register_preset(
        Preset(
            replace(override(SHAPES.config, _changes), preset=f"{_name}-shapes"),
            description=f"rendered scenes: {_description}",
            source="our own, after the preset shapes",
            expected="held-out majority accuracy, map of its own, mean (sd) over seeds 0 to 2: "
            f"{_found} (examples/results/family-reduced.md)",
        )
    )
