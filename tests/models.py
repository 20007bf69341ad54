"""Small models and noise for tests, in float64."""

from __future__ import annotations

import json

import torch
from torch import Tensor

from pyro_mfcvae.config import Component, Config, FacetConfig, override, with_facets
from pyro_mfcvae.models import MFCVAE
from pyro_mfcvae.presets import get_preset

SHAPE = (1, 4, 4)
N_OBSERVATIONS = 6
LATENT_DIMS, CLUSTERS = (3, 2, 2), (5, 4, 3)


def small_model(
    n_facets: int = 2,
    covariance: str = "full",
    likelihood: str | Component = "bernoulli",
    learn_weights: bool = True,
    latent_dims: tuple[int, ...] = LATENT_DIMS,
    clusters: tuple[int, ...] = CLUSTERS,
    **parts,
) -> MFCVAE:
    """A model whose mixtures have distinct weights, means and covariances."""
    widths = [16] * n_facets
    encoder = {"backbone": widths, "activation": "elu"}
    decoder = {"rungs": widths, "backbone": widths, "activation": "elu"}
    networks = {
        "encoder": Component(name="ladder", options=encoder),
        "decoder": Component(name="ladder", options=decoder),
    } | parts
    facets = [
        FacetConfig(
            n_clusters=n_clusters,
            latent_dim=latent_dim,
            covariance=covariance,
            learn_weights=learn_weights,
            initial_variance=0.5,
        )
        for latent_dim, n_clusters in zip(latent_dims, clusters, strict=False)
    ]
    model = MFCVAE(SHAPE, facets[:n_facets], likelihood, **networks).double()
    with torch.no_grad():
        for facet in (model.facets[j] for j in model.structure.clustered):
            facet.raw_scale += 0.2 * torch.randn_like(facet.raw_scale)
            if learn_weights:
                facet.logits += torch.randn_like(facet.logits)
    return model


def observations(n: int = N_OBSERVATIONS, shape: tuple[int, ...] = SHAPE) -> Tensor:
    return torch.rand(n, *shape, dtype=torch.float64)


def tiny_config(**replaced: str) -> Config:
    """The default preset on 96 scenes of 8 x 8 pixels: a few seconds of work."""
    options = {
        "size": 8,
        "factors": {
            "wall_hue": [5],
            "object_hue": [6],
            "floor_hue": [0, 3, 6, 9],
            "scale": [0, 7],
            "shape": [0, 2],
            "orientation": [0, 3, 5, 7, 11, 14],
        },
    }
    settings = {
        "data.options": json.dumps(options),
        "model.encoder.options.backbone": "16",
        "model.decoder.options.backbone": "16",
        "model.decoder.options.rungs": "16",
        "training.batch_size": "20",
        "training.epochs_per_step": "[2,4]",
        "training.log_every": "3",
        "training.checkpoint_every": "1",
        "training.device": "cpu",
        "training.n_threads": "1",
    } | replaced
    if "," in settings["training.epochs_per_step"]:
        settings.setdefault("training.n_fade_in_batches", "5")
    config = with_facets(get_preset("shapes").config, "3:6,2:5")
    return override(config, [f"{path}={value}" for path, value in settings.items()])


class Replayed:
    """Graphs without a CUDA device: a captured computation is computed again at each replay."""

    def __init__(self):
        self.n_warm_up = self.n_captured = self.n_replayed = 0

    def warm_up(self, compute):
        self.n_warm_up += 1
        return compute()

    def capture(self, compute):
        self.n_captured += 1
        values = torch.zeros(())

        def run():
            self.n_replayed += 1
            result = compute()
            values.resize_(result.shape).copy_(result)

        return run, values
