"""The objective of one batch as a module: tensors in, tensors out.

``torch.func.vmap``, CUDA graphs and wrappers for several devices all take a module whose
``forward`` is the whole computation.
"""

from __future__ import annotations

import pyro
import torch
from torch import Tensor, nn

from pyro_mfcvae.config import Config
from pyro_mfcvae.fade_in import KlFloor
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.noise import Noise

AUTOCAST = {"bf16": torch.bfloat16}


class Objective(nn.Module):
    """Minus the mean ELBO of a batch, and its terms.

    Args:
        model: the model, which owns its guide.
        config: guide, KL floor and precision.

    Attributes:
        term_names: of the terms, once ``forward`` has run.
    """

    def __init__(self, model: FacetModel, config: Config) -> None:
        super().__init__()
        self.model = model
        self.guide = model.guide(config.guide.name)
        self.n_samples = config.guide.n_samples
        self.kl_floor = config.training.kl_floor
        self.autocast = AUTOCAST.get(config.training.precision)
        self.term_names: tuple[str, ...] = ()

    def forward(
        self, x: Tensor, fade: Tensor, noise: Noise, share: float = 1.0
    ) -> tuple[Tensor, Tensor]:
        """The loss, shape (), and the terms' means, (T,), one for each of ``term_names``.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets, shape (J,).
            noise: of the guide's samples.
            share: what both are multiplied with, where the batch is a part of a larger one.
        """
        with (
            pyro.validation_enabled(False),
            noise,
            KlFloor(self.kl_floor),
            self.model.networks_in(self.autocast),
        ):
            terms = self.model(x, fade, self.guide, self.n_samples)
        means = terms.means()
        self.term_names = tuple(means)
        loss, values = terms.loss, torch.stack(list(means.values()))
        return (loss, values) if share == 1.0 else (loss * share, values * share)
