r"""Guides side by side: one model, the same noise.

For any q(c | x) the ELBO lies below that of ``enumerate``, under the same noise, by

.. math::
    \sum_j \alpha_j \frac1S \sum_s KL\big(q(c_j \mid x) \,\|\, p(c_j \mid z_j^{(s)})\big)
    \;\ge\; -\sum_j \alpha_j \log Z_j, \qquad
    Z_j = \sum_c \exp\Big(\frac1S \sum_s \log p(c \mid z_j^{(s)})\Big),

with equality for ``vade``. Both sides are computed from the samples alone, apart from the ELBOs.

Guides with KLs in closed form do not use the samples for them, so that in a single draw gap and
prediction differ. Theirs is predicted from other samples of z than those that q(c | x) may be made
of: then the two agree on average over the noise, and the least gap is that of these other samples.
Source: MFCVAE, Theorem 2 and Appendix C.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyro
import torch
from torch import Tensor

from pyro_mfcvae.elbo import ElboTerms
from pyro_mfcvae.enumeration import Site, is_analytic, run_guide
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation.predictions import as_model_input, fade_weights
from pyro_mfcvae.guides import GUIDES
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.noise import Noise

REFERENCE = "enumerate"


def compare_guides(
    model: FacetModel,
    x: Tensor,
    guides: Sequence[str] | None = None,
    n_samples: Sequence[int] = (1, 2, 8, 32),
    n_draws: int = 20,
    fade: Sequence[float] | None = None,
    seed: int = 0,
    on_draw: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Measure every guide with every number of samples under the same noise.

    The model is in evaluation mode meanwhile: batch norm uses its running statistics. The guides
    take turns at every draw, so that a machine that slows down slows all of them.

    Args:
        model: the model, on any device.
        x: one batch of observations (B, *event).
        guides: names; None takes all. ``enumerate`` is always measured, as the reference.
        n_samples: numbers S of samples per observation.
        n_draws: draws of the noise; draw d has the noise of (seed, d).
        fade: weights of the facets; None means ones.
        seed: of the noise.
        on_draw: called after every pass of one guide.

    Returns:
        ``{"reference", "n_observations", "n_draws", "seed", "fade", "guides": [{"guide",
        "n_samples", "elbo", "elbo_standard_error", "terms", "gap", "predicted_gap", "least_gap",
        "gap_mismatch", "gradient_norm", "gradient_variance", "seconds"}]}``: means over
        observations and draws in nats; ``gap`` to the reference beside the prediction from the
        samples and the least that any q(c | x) could have, with the largest difference between
        gap and prediction in any draw (mere noise where KLs are in closed form); norm of the mean
        and total variance over draws of the loss's gradient with respect to all parameters of
        q(z | x); median time of a forward and backward pass.

    Raises:
        ConfigError: if a guide is unknown, or a number is too small.
    """
    names = _names(guides)
    if n_draws < 2 or not n_samples or min(n_samples) < 1:
        raise ConfigError(
            "a comparison needs at least 2 draws, to tell a variance, and numbers of samples from "
            f"1 on; got {n_draws} draws and {list(n_samples)} samples"
        )
    weights, x = fade_weights(model, fade), as_model_input(model, x)
    rows = []
    with model.evaluating(gradients=True):
        for s in n_samples:
            measured = {name: _Measured() for name in names}
            for name in names:
                _pass(model, x, weights, name, s, seed)  # the first one is slower
            for draw in range(n_draws):
                for name in names:
                    measured[name].add(*_pass(model, x, weights, name, s, seed, draw))
                    on_draw()
            rows += [m.row(name, s, measured[REFERENCE]) for name, m in measured.items()]
    return {
        "reference": REFERENCE,
        "n_observations": len(x),
        "n_draws": n_draws,
        "seed": seed,
        "fade": [1.0] * model.n_facets if fade is None else list(fade),
        "guides": rows,
    }


@dataclass(eq=False)
class _Measured:
    """What the passes of one guide with one number of samples gave."""

    terms: list[dict[str, float]] = field(default_factory=list)
    predicted: list[float] = field(default_factory=list)
    least: list[float] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    gradient_sum: Tensor | None = None
    squared_norms: list[float] = field(default_factory=list)

    def add(
        self, terms: ElboTerms, gradient: Tensor, gaps: tuple[float, float], seconds: float
    ) -> None:
        self.terms.append({name: value.item() for name, value in terms.means().items()})
        self.predicted.append(gaps[0])
        self.least.append(gaps[1])
        self.seconds.append(seconds)
        gradient = gradient.double()
        self.squared_norms.append(gradient.square().sum().item())
        self.gradient_sum = gradient if self.gradient_sum is None else self.gradient_sum + gradient

    def row(self, name: str, n_samples: int, reference: _Measured) -> dict[str, Any]:
        n = len(self.terms)
        elbos = [terms["elbo"] for terms in self.terms]
        gaps = [r["elbo"] - elbo for r, elbo in zip(reference.terms, elbos, strict=True)]
        mean_norm = self.gradient_sum.square().sum().item() / n**2
        return {
            "guide": name,
            "n_samples": n_samples,
            "elbo": statistics.mean(elbos),
            "elbo_standard_error": statistics.stdev(elbos) / n**0.5,
            "terms": {
                key: statistics.mean(terms[key] for terms in self.terms)
                for key in self.terms[0]
                if key != "elbo" and not key.startswith("fade_")
            },
            "gap": statistics.mean(gaps),
            "predicted_gap": statistics.mean(self.predicted),
            "least_gap": statistics.mean(self.least),
            "gap_mismatch": max(abs(a - b) for a, b in zip(gaps, self.predicted, strict=True)),
            "gradient_norm": mean_norm**0.5,
            "gradient_variance": (sum(self.squared_norms) - n * mean_norm) / (n - 1),
            "seconds": statistics.median(self.seconds),
        }


def _names(guides: Sequence[str] | None) -> list[str]:
    unknown = [name for name in guides or () if name not in GUIDES]
    if unknown:
        raise ConfigError(f"unknown guide {unknown[0]!r}; choose from {', '.join(sorted(GUIDES))}")
    chosen = GUIDES if guides is None else guides
    return [REFERENCE, *sorted(set(chosen) - {REFERENCE})]


def _pass(
    model: FacetModel,
    x: Tensor,
    weights: Tensor | None,
    name: str,
    n_samples: int,
    seed: int,
    draw: int = 0,
) -> tuple[ElboTerms, Tensor, tuple[float, float], float]:
    """One forward and backward pass; terms, gradient of q(z | x), gaps from the samples, time."""
    learnt = [p for p in model.parameters() if p.requires_grad]
    guide = model.guide(name)
    _wait(x.device)
    started = time.perf_counter()
    with pyro.validation_enabled(False), Noise(seed, draw):
        terms = model(x, weights, guide, n_samples)
    gradients = torch.autograd.grad(terms.loss, learnt, allow_unused=True)
    _wait(x.device)
    seconds = time.perf_counter() - started
    encoder = {id(p) for part in (model.encoder, model.heads) for p in part.parameters()}
    gradient = torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(learnt, gradients, strict=True)
            if id(p) in encoder
        ]
    )
    with torch.no_grad():
        with Noise(seed, draw):
            sites = samples = run_guide(guide, n_samples, (x, weights), {})
        if any(is_analytic(site) for site in sites):
            with Noise(seed, -1 - draw):
                samples = run_guide(guide, n_samples, (x, weights), {})
        gaps = _gaps(model, x, sites, samples, terms.weights.tolist())
    return terms, gradient, gaps, seconds


def _gaps(
    model: FacetModel,
    x: Tensor,
    sites: Sequence[Site],
    samples: Sequence[Site],
    weights: Sequence[float],
) -> tuple[float, float]:
    """The gap that q(c | x) of the sites makes at samples of z, and the least possible there."""
    q = {site["name"]: site["fn"] for site in sites}
    z = {site["name"]: site["value"] for site in samples}
    predicted = least = 0.0
    for j, facet in enumerate(model.facets):
        log_responsibilities = facet.log_responsibilities(z[f"z_{j}"])
        log_responsibilities = log_responsibilities.reshape(-1, len(x), facet.n_clusters)
        log_z = log_responsibilities.mean(0).logsumexp(-1)
        least -= weights[j] * log_z.mean().item()
        if f"c_{j}" in q:
            log_q = q[f"c_{j}"].logits
            kl = (log_q.exp() * (log_q - log_responsibilities)).sum(-1)
            predicted += weights[j] * kl.mean().item()
    return predicted, least


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
