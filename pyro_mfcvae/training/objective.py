"""The objective of one batch as a module: tensors in, tensors out.

``torch.func.vmap``, CUDA graphs and wrappers for several devices all take a module whose
``forward`` is the whole computation.
"""

from __future__ import annotations

import pyro
import torch
from torch import Tensor, nn

from pyro_mfcvae.config import Config
from pyro_mfcvae.enumeration import enumerated_dim, run_guide
from pyro_mfcvae.errors import ConfigError
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

    def noise_shapes(self, x: Tensor, fade: Tensor) -> dict[str, torch.Size]:
        """{site: shape of its noise} for such a batch; arguments as for :meth:`forward`.

        Raises:
            ConfigError: if the guide samples from other than normal distributions.
        """
        with self.model.evaluating(), pyro.validation_enabled(False), Noise(0) as noise:
            sites = run_guide(self.guide, self.n_samples, (x, fade), {})
        for site in sites:
            if enumerated_dim(site) is None and site["name"] not in noise.shapes:
                raise ConfigError(
                    f"guide {type(self.guide).__name__} samples {site['name']!r} from "
                    f"{type(site['fn']).__name__}; only normal sites can be given their noise from "
                    "outside, as many runs at once and CUDA graphs need it: train one run at a "
                    "time, with training.cuda_graph=false"
                )
        return noise.shapes
