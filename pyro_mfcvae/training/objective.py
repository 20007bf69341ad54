"""The objective of one batch as a module: tensors in, tensors out.

``torch.func.vmap``, CUDA graphs and wrappers for several devices all take a module whose
``forward`` is the whole computation.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import cast

import torch
from pyro.distributions import Independent
from torch import Tensor, nn

from pyro_mfcvae.config import Config
from pyro_mfcvae.data.observations import Observations, as_float
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.guides import Guide
from pyro_mfcvae.inference.elbo import Weights, loss, term_means
from pyro_mfcvae.inference.factors import sites_summed_with_observations
from pyro_mfcvae.inference.noise import Noise
from pyro_mfcvae.inference.sites import ScaleShared, enumerated_dim, run_guide, run_programs
from pyro_mfcvae.inference.threads import without_validation
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.warps import Warp

_WARP = "_warp"
_AT_ONCE = 1000  # observations
AUTOCAST = {"bf16": torch.bfloat16}


class Objective(nn.Module):
    """Minus the mean ELBO of a batch, and its terms.

    Args:
        model: the model, which owns its guide.
        config: guide, weights of the KL terms, warps and precision.

    Attributes:
        term_names: of the terms, once ``forward`` has run.
        kl_scale: what the KL terms are multiplied with, shape (); None means 1.

    Raises:
        ConfigError: if the observations cannot be warped.
    """

    kl_scale: Tensor | None
    min_information: Tensor | None

    def __init__(self, model: FacetModel, config: Config) -> None:
        super().__init__()
        self.model = model
        self._guide_name = config.guide.name
        if self._guide_name not in model.guides:  # one without parameters
            model.guides[self._guide_name] = model.guide(self._guide_name)
        self.n_samples = config.guide.n_samples
        self.kl_floor = config.training.kl_floor
        parameter = next(model.parameters())
        scaled = config.training.kl_start < 1 or config.training.kl_weight != 1
        self.register_buffer("kl_scale", parameter.new_ones(()) if scaled else None)
        warp = config.training.warp
        self.warp = None if warp is None else Warp(warp, model.observation).to(parameter)
        some = None if warp is None else warp.facets
        self.warped_facets = range(model.n_facets) if some is None else some
        least = config.training.min_information
        costs = [least if facet.has_clusters else 0.0 for facet in model.structure.facets]
        self.register_buffer("min_information", parameter.new_tensor(costs) if least else None)
        model.training_dtype = AUTOCAST.get(config.training.precision)
        self.term_names: tuple[str, ...] = ()

    @property
    def guide(self) -> Guide:
        """The model's guide: as a second submodule functional calls would leave it changed."""
        return cast(Guide, self.model.guides[self._guide_name])

    @property
    def weights(self) -> Weights:
        """Weights of the terms at the step under way."""
        return Weights(self.model.kl_fade, self.kl_floor, self.kl_scale, self.min_information)

    def forward(
        self, x: Tensor, noise: Noise, share: float = 1.0, n_parts: int = 1
    ) -> tuple[Tensor, Tensor]:
        """The loss, shape (), and the terms' means, (T,), one for each of ``term_names``.

        Args:
            x: observations, shape (B, *event).
            noise: of the guide's samples and the warps.
            share: what both are multiplied with, where the batch is a part of a larger one.
            n_parts: of the larger one, which share what it costs once.
        """
        seen = self._views(x, noise)
        shared = ScaleShared(1 / n_parts) if n_parts > 1 else nullcontext()
        with without_validation(), shared, noise:
            terms = self.model(x, self.guide, self.n_samples, seen)
        means = term_means(terms, self.weights)
        self.term_names = tuple(means)
        total, values = loss(terms, self.weights), torch.stack(list(means.values()))
        return (total, values) if share == 1.0 else (total * share, values * share)

    def check_weights(self, x: Tensor) -> None:
        """Refuse weights that cannot reach the terms that they are for.

        Args:
            x: a few observations, shape (B, *event).

        Raises:
            ConfigError: if clusters that ``training.min_information`` is about have no KL of their
                own, or clusters are summed out with the observations under a scale of the KL terms.
        """
        if self.min_information is None and self.kl_scale is None:
            return
        with self.model.evaluating(), without_validation(), Noise(0):
            sites = run_programs(self.model.model, self.guide, self.n_samples, (x,), {})
        merged = sites_summed_with_observations(*sites)
        if self.kl_scale is not None and merged:
            raise ConfigError(
                f"the sites {', '.join(merged)} are summed out together with the observations, so "
                "that what KL terms are multiplied with cannot reach them; leave "
                "training.kl_weight and training.kl_start at 1, or enumerate the clusters in the "
                "guide"
            )
        names = {site["name"] for site in sites[0]}
        clustered = self.model.structure.clustered
        without = [str(j) for j in clustered if f"c_{j}" not in names]
        if self.min_information is not None and without:
            raise ConfigError(
                "training.min_information is about the KL of the clusters, which those of facet "
                f"{', '.join(without)} do not have under guide {self._guide_name!r}: they are "
                "summed out of the model; leave it out, or choose a guide such as vade"
            )

    def noise_shapes(self, x: Tensor) -> dict[str, torch.Size]:
        """{site: shape of its noise} for such a batch; arguments as for :meth:`forward`.

        Raises:
            ConfigError: if the guide samples from other than normal distributions.
        """
        with self.model.evaluating(), without_validation(), Noise(0) as noise:
            sites = run_guide(self.guide, self.n_samples, (x,), {})
        for site in sites:
            if enumerated_dim(site) is None and site["name"] not in noise.shapes:
                base = site["fn"]
                while isinstance(base, Independent):
                    base = base.base_dist
                raise ConfigError(
                    f"guide {type(self.guide).__name__} samples {site['name']!r} from "
                    f"{type(base).__name__}; only normal sites can be given their noise from "
                    "outside, as many runs at once, CUDA graphs and traced steps need it: train "
                    "one run at a time, with training.cuda_graph=false and training.step=eager"
                )
        shapes = dict(noise.shapes)
        if self.warp is not None:
            shapes[_WARP] = torch.Size((len(x), self.warp.n_numbers))
        return shapes

    @torch.no_grad()
    def sampled_latents(self, x: Observations, seed: int) -> list[Tensor]:
        """Samples of q(z_j | x), one for each observation: J tensors (N, D_j).

        The encoder is in evaluation mode, and sees warps as in training.

        Args:
            x: observations (N, *event).
            seed: of the samples and the warps.
        """
        parameter = next(self.model.parameters())
        parts = []
        for i, batch in enumerate(x.split(_AT_ONCE)):
            batch = as_float(batch.to(parameter.device), parameter.dtype)
            noise = Noise(seed, i)
            with self.model.evaluating():
                encoded = self.model.encode(batch, self._views(batch, noise))
            posteriors = [q.base_dist for q in encoded]
            parts.append(
                [
                    q.loc + q.scale * noise.numbers(f"z_{j}", tuple(q.loc.shape), q.loc)
                    for j, q in enumerate(posteriors)
                ]
            )
        return [torch.cat(facet) for facet in zip(*parts, strict=True)]

    def _views(self, x: Tensor, noise: Noise) -> list[Tensor] | None:
        """What the encoder of each facet sees in the place of x; None where that is x."""
        if self.warp is None:
            return None
        warped = self.warp(x, noise.numbers(_WARP, (len(x), self.warp.n_numbers), x))
        return [warped if j in self.warped_facets else x for j in range(self.model.n_facets)]
