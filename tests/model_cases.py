"""Small models to test, built from settings, and their objectives written out.

A subclass says how its model is built, and writes out what is another than here.
"""

from __future__ import annotations

import json

import plain
import torch
from models import with_guides
from torch import Tensor

from pyro_mfcvae import Noise
from pyro_mfcvae.config import Config, override
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.inference.noise import site_noise
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.training.begin import initialise, prepare
from pyro_mfcvae.training.state import TrainingState

SEED = 3
SAMPLING = ("vade", "enumerate", "posterior", "expectation", "amortized")
ALL = (*SAMPLING, *plain.ANALYTIC, "relaxed")
LADDER = {
    "encoder": {"name": "ladder", "options": {"backbone": 8, "activation": "tanh"}},
    "decoder": {"name": "ladder", "options": {"backbone": 8, "rungs": 8, "activation": "tanh"}},
}
SHARED = {
    part: {"name": "shared", "options": {"widths": [8], "activation": "tanh"}}
    for part in ("encoder", "decoder")
}


class ModelCase:
    """A model to test, and its objective written out.

    Attributes:
        name: of the model.
        facets: its facets, ``"D:K,D:K"``.
        small: facets of one dimension each, two at most, whose evidence a grid gives.
        networks: encoder and decoder.
        options: of the model.
        guides: to test with.
        misfits: guides that do not fit.
        equals_stock: whether Pyro's own objective has the same value with sampled KLs.
    """

    name: str
    facets = "2:3,1:2"
    small = "1:3,1:2"
    networks = LADDER
    options: dict[str, object] = {}  # noqa: RUF012
    guides: tuple[str, ...] = ALL
    misfits: tuple[str, ...] = ()
    equals_stock = True

    def config(self, facets: str | None = None, **replaced: object) -> Config:
        """Settings for 40 points in the plane."""
        own = {} if self.name in ("gmvae", "ugvae") else {"initial_variance": 0.5}
        priors = [
            {"latent_dim": int(d), "n_clusters": int(k)} | own
            for d, k in (facet.split(":") for facet in (facets or self.facets).split(","))
        ]
        settings = {
            "data": {"name": "arcs", "options": {"n_train": 40, "n_test": 10}},
            "model.name": self.name,
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
        return override(get_preset("shapes").config, changes)

    def build(self, facets: str | None = None) -> FacetModel:
        """The model in float64, with mixtures that differ in everything."""
        config = self.config(facets).model
        model = build_model(config, ObservationSpec((2,), -4.0, 4.0)).double()
        with torch.no_grad():
            for name, p in model.named_parameters():
                if p.requires_grad and ("raw_scale" in name or "others" in name):
                    p += 0.2 * torch.randn_like(p)
                if p.requires_grad and "logits" in name:
                    p += torch.randn_like(p)
        return with_guides(model, *sorted({"amortized", "relaxed"} & {*self.guides}))

    def observations(self, n: int = 4) -> Tensor:
        return torch.randn(n, 2, dtype=torch.float64)

    # --- the objective, written out ---

    def plain_facets(self, model: FacetModel, x: Tensor, eps: dict[str, Tensor]) -> list:
        """All facets with samples made of the noise {site: (S, B, D)}, shallow first."""
        features = model.encoder(x)
        inferred: dict[int, plain.Inferred] = {}
        for j in reversed(range(model.n_facets)):
            parameters = model.heads[j](features[j])
            deeper = [inferred[i].z for i in range(j + 1, model.n_facets)]
            if model.heads_given_others is not None and deeper:
                head = model.heads_given_others[j]
                hidden = torch.tanh(torch.cat(deeper, -1) @ head.hidden.weight.T + head.hidden.bias)
                parameters = parameters + hidden @ head.output.weight.T + head.output.bias
            mean, std = plain.normal(parameters)
            prior = plain.mixture(model.facets[j], *deeper[:1])
            logits = None
            if networks := own_networks(model):
                logits = networks[0][j](features[j])
            inferred[j] = plain.Inferred(mean + std * eps[f"z_{j}"], mean, std, prior, logits)
        return [inferred[j] for j in range(model.n_facets)]

    def plain_elbo(
        self, model: FacetModel, x: Tensor, guide: str, eps: dict[str, Tensor], fade: Tensor
    ) -> Tensor:
        """The ELBO, (B,)."""
        facets = self.plain_facets(model, x, eps)
        elbo = plain.log_likelihood(model, x, [f.z for f in facets], fade).mean(0)
        for j, facet in enumerate(facets):
            elbo = elbo - fade[j] * self.plain_kl(model, guide, facet, eps.get(f"c_{j}"))
        return elbo

    def plain_kl(self, model: FacetModel, guide: str, facet: plain.Inferred, eps) -> Tensor:
        c = None
        if guide == "relaxed" and eps is not None:
            c = plain.relaxed(facet.logits, eps, model.guide(guide).temperature)
        values = plain.kl(guide, facet, c)
        return values.mean(0) if values.dim() > 1 else values

    def log_evidence(self, model: FacetModel, x: Tensor) -> Tensor:
        """Log p(x) by the trapezoidal rule, (B,)."""
        zs, step = grid(model.n_facets)
        log_p = log_prior(model, zs)
        assert abs(log_p.logsumexp(0).exp() * step - 1) < 1e-4  # the grid covers the prior
        log_joint = plain.log_likelihood(model, x, [z.unsqueeze(1) for z in zs]) + log_p[:, None]
        return log_joint.logsumexp(0) + step.log()


def own_networks(model: FacetModel) -> list:
    """Networks q(c | x) of guides."""
    networks = [getattr(guide, "network", None) for guide in model.guides.values()]
    return [network for network in networks if network is not None]


def drawn(noise: Noise, like: Tensor) -> dict[str, Tensor]:
    """The noise that sites were given, with a dimension for samples also where there is one."""
    eps = {n: site_noise(SEED, 0, n, shape, like) for n, shape in noise.shapes.items()}
    return {name: e.reshape(1, -1, e.shape[-1]) if e.dim() < 3 else e for name, e in eps.items()}


def grid(n_latents: int) -> tuple[list[Tensor], Tensor]:
    """Values (N, 1) of latents of one dimension each, and the volume that one stands for."""
    axis = torch.linspace(-7, 7, 8001 if n_latents == 1 else 281, dtype=torch.float64)
    values = torch.meshgrid(*[axis] * n_latents, indexing="ij")
    return [v.reshape(-1, 1) for v in values], (axis[1] - axis[0]) ** n_latents


def log_prior(model: FacetModel, zs: list[Tensor]) -> Tensor:
    """Log p(z), (N,), of latents (N, D_j)."""
    return sum(
        plain.mixture(facet, *zs[j + 1 : j + 2]).log_prob(zs[j])
        for j, facet in enumerate(model.facets)
    )


def begun(config: Config) -> TrainingState:
    """A state before its first step."""
    _, state = prepare(config)
    initialise(state, lambda _: None)
    state.model.train()
    return state
