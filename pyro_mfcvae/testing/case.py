"""A small model to test, built from settings, and its evidence by quadrature."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import torch
from torch import Tensor

from pyro_mfcvae.config import Config, override
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.plugins import build_model, with_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.testing.values import with_guides
from pyro_mfcvae.training.begin import initialise, prepare
from pyro_mfcvae.training.state import TrainingState

SEED = 3
SAMPLING = ("vade", "enumerate", "posterior", "expectation", "amortized")
ANALYTIC = ("vade-analytic", "expectation-analytic", "posterior-analytic", "amortized-analytic")
WITH_NETWORKS = ("amortized", "amortized-analytic", "relaxed")
ALL = (*SAMPLING, *ANALYTIC, "relaxed")
Networks = dict[str, dict[str, Any]]
LADDER: Networks = {
    "encoder": {"name": "ladder", "options": {"backbone": 8, "activation": "tanh"}},
    "decoder": {"name": "ladder", "options": {"backbone": 8, "rungs": 8, "activation": "tanh"}},
}
SHARED: Networks = {
    part: {"name": "shared", "options": {"widths": [8], "activation": "tanh"}}
    for part in ("encoder", "decoder")
}


class ModelCase:
    """A model to test.

    Attributes:
        name: of the model, registered or as ``/path/to/file.py:Name``.
        facets: its facets, ``"D:K,D:K"``.
        small: facets of one dimension each, two at most, whose evidence a grid gives.
        facet_settings: further settings of every facet.
        networks: encoder and decoder, such as ``LADDER`` or ``SHARED``.
        options: of the model.
        guides: to test with.
        misfits: guides that do not fit.
        equals_stock: whether Pyro's own objective has the same value with sampled KLs.
    """

    name: ClassVar[str]
    facets: ClassVar[str] = "2:3,1:2"
    small: ClassVar[str] = "1:3,1:2"
    facet_settings: ClassVar[dict[str, Any]] = {"initial_variance": 0.5}
    networks: ClassVar[Networks] = LADDER
    options: ClassVar[dict[str, Any]] = {}
    guides: ClassVar[tuple[str, ...]] = ALL
    misfits: ClassVar[tuple[str, ...]] = ()
    equals_stock: ClassVar[bool] = True

    def config(self, facets: str | None = None, **replaced: Any) -> Config:
        """Settings for 40 points in the plane."""
        priors = [
            {"latent_dim": int(d), "n_clusters": int(k)} | self.facet_settings
            for d, k in (facet.split(":") for facet in (facets or self.facets).split(","))
        ]
        settings = {
            "data": {"name": "arcs", "options": {"n_train": 40, "n_test": 10}},
            "model.facets": priors,
            "model.options": self.options,
            "model.likelihood": {"name": "gaussian", "options": {"scale": 0.5}},
            "model.encoder": self.networks["encoder"],
            "model.decoder": self.networks["decoder"],
            "model.mixture_initialisation": "random",
            "training.batch_size": 16,
            "training.epochs_per_step": [2],
            "training.n_fade_in_batches": 0,
            "training.evaluate_every": 0,
            "training.device": "cpu",
            "training.dtype": "float64",
        } | replaced
        changes = [f"{path}={json.dumps(value)}" for path, value in settings.items()]
        return override(with_model(get_preset("shapes").config, self.name), changes)

    def build(self, facets: str | None = None) -> FacetModel:
        """The model in float64, with mixtures that differ in everything."""
        config = self.config(facets).model
        model = build_model(config, ObservationSpec((2,), -4.0, 4.0)).double()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad and ("raw_scale" in name or "others" in name):
                    p.add_(0.2 * torch.randn_like(p))
                if p.requires_grad and "logits" in name:
                    p.add_(torch.randn_like(p))
        return with_guides(model, *sorted({*WITH_NETWORKS} & {*self.guides}))

    def observations(self, n: int = 4) -> Tensor:
        """Points in the plane, (n, 2)."""
        return torch.randn(n, 2, dtype=torch.float64)

    def log_likelihood(self, model: FacetModel, x: Tensor, zs: list[Tensor]) -> Tensor:
        """Log p(x | z): x (B, *event), latents (..., B, D_j) -> (..., B)."""
        return model.decode(zs).log_prob(x)

    def log_prior(self, model: FacetModel, zs: list[Tensor]) -> Tensor:
        """Log p(z), (N,), of latents (N, D_j)."""
        return sum(
            (model.prior(j, zs).log_prob(z) for j, z in enumerate(zs)), torch.zeros(()).to(zs[0])
        )

    def log_evidence(self, model: FacetModel, x: Tensor) -> Tensor:
        """Log p(x) by the trapezoidal rule, (B,)."""
        zs, step = grid(model.n_facets)
        log_p = self.log_prior(model, zs)
        assert abs(log_p.logsumexp(0).exp() * step - 1) < 1e-4  # the grid covers the prior
        log_joint = self.log_likelihood(model, x, [z.unsqueeze(1) for z in zs]) + log_p[:, None]
        return log_joint.logsumexp(0) + step.log()


def grid(n_latents: int) -> tuple[list[Tensor], Tensor]:
    """Values (N, 1) of latents of one dimension each, and the volume that one stands for."""
    axis = torch.linspace(-7, 7, 8001 if n_latents == 1 else 281, dtype=torch.float64)
    values = torch.meshgrid(*[axis] * n_latents, indexing="ij")
    return [v.reshape(-1, 1) for v in values], (axis[1] - axis[0]) ** n_latents


def first_state(config: Config) -> TrainingState:
    """A state before its first step."""
    _, state = prepare(config)
    initialise(state, lambda _: None)
    state.model.train()
    return state
