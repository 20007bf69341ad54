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
A q(c | x, z) of every sample by itself (``posterior``, and any where the network sees z) may lie
below the least gap, which is that of one q(c | x) for all samples. ``relaxed`` is no bound, and no
gap of it is predicted. Where ``enumerate`` does not fit the model there is no reference: then only
terms, gradients and times compare. Source: MFCVAE, Theorem 2 and Appendix C.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation.fitting import fitting_guides
from pyro_mfcvae.evaluation.predictions import as_model_input
from pyro_mfcvae.evaluation.results import Comparison, GuideResults
from pyro_mfcvae.guides import Guide
from pyro_mfcvae.inference.elbo import Weights, loss, term_means
from pyro_mfcvae.inference.noise import Noise, site_noise
from pyro_mfcvae.inference.sites import Site, is_analytic, run_guide
from pyro_mfcvae.inference.threads import without_validation
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.priors.clusters import RelaxedCluster

REFERENCE = "enumerate"

Gaps = tuple[float, float] | None
Terms = dict[str, float]


def compare_guides(
    model: FacetModel,
    x: Tensor,
    guides: Sequence[str] | None = None,
    n_samples: Sequence[int] = (1, 2, 8, 32),
    n_draws: int = 20,
    weights: Weights | None = None,
    seed: int = 0,
    on_pass: Callable[[int, int], None] = lambda n_done, n_all: None,
) -> Comparison:
    """Measure every guide that fits with every number of samples under the same noise.

    The model is in evaluation mode meanwhile: batch norm uses its running statistics. The guides
    take turns at every draw, so that a machine that slows down slows all of them.

    Args:
        model: the model, on any device.
        x: one batch of observations (B, *event). Where those of a batch share a latent, the bound
            depends on B.
        guides: names; None takes all. ``enumerate`` is measured wherever it fits, as the reference.
        n_samples: numbers S of samples per observation.
        n_draws: draws of the noise; draw d has the noise of (seed, d).
        weights: of the ELBO's terms; None takes the model's fade weights.
        seed: of the noise.
        on_pass: is told after every pass of one guide how many of how many are done.

    Returns:
        means over observations and draws, in nats.

    Raises:
        ConfigError: if a guide is unknown, none of them fits, or a number is too small.
    """
    if n_draws < 2 or not n_samples or min(n_samples) < 1:
        raise ConfigError(
            "a comparison needs at least 2 draws, to tell a variance, and numbers of samples from "
            f"1 on; got {n_draws} draws and {list(n_samples)} samples"
        )
    fitting, left_out = fitting_guides(model, guides, REFERENCE)
    x = as_model_input(model, x)
    weights = Weights(model.kl_fade) if weights is None else weights
    with model.evaluating(gradients=True):
        for name, guide in [*fitting.items()]:
            try:
                _pass(model, x, weights, guide, min(n_samples), seed)
            except ConfigError as error:
                left_out[name] = str(error)
                del fitting[name]
        rows, n_done, n_all = [], 0, len(fitting) * len(n_samples) * n_draws
        for s in n_samples:
            measured = {name: _Measured() for name in fitting}
            for guide in fitting.values():
                _pass(model, x, weights, guide, s, seed)  # the first one is slower
            for draw in range(n_draws):
                for name, guide in fitting.items():
                    measured[name].add(*_pass(model, x, weights, guide, s, seed, draw))
                    n_done += 1
                    on_pass(n_done, n_all)
            rows += [m.row(name, s, measured.get(REFERENCE)) for name, m in measured.items()]
    return Comparison(
        reference=REFERENCE if REFERENCE in fitting else None,
        n_observations=len(x),
        n_draws=n_draws,
        guides=rows,
        left_out=left_out,
        group_size=model.structure.group_size,
        seed=seed,
        fade=model.fade.tolist(),
    )


@dataclass(eq=False)
class _Measured:
    """What the passes of one guide with one number of samples gave."""

    terms: list[dict[str, float]] = field(default_factory=list)
    gaps: list[Gaps] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    is_bound: bool = True
    gradient_sum: Tensor | None = None
    squared_norms: list[float] = field(default_factory=list)

    def add(
        self, terms: Terms, gradient: Tensor, gaps: Gaps, is_bound: bool, seconds: float
    ) -> None:
        self.terms.append(terms)
        self.gaps.append(gaps)
        self.is_bound = is_bound
        self.seconds.append(seconds)
        gradient = gradient.double()
        self.squared_norms.append(gradient.square().sum().item())
        self.gradient_sum = gradient if self.gradient_sum is None else self.gradient_sum + gradient

    def row(self, name: str, n_samples: int, reference: _Measured | None) -> GuideResults:
        n = len(self.terms)
        elbos = [terms["elbo"] for terms in self.terms]
        assert self.gradient_sum is not None
        mean_norm = self.gradient_sum.square().sum().item() / n**2
        return GuideResults(
            guide=name,
            n_samples=n_samples,
            elbo=statistics.mean(elbos),
            elbo_standard_error=statistics.stdev(elbos) / n**0.5,
            gradient_variance=(sum(self.squared_norms) - n * mean_norm) / (n - 1),
            seconds=statistics.median(self.seconds),
            terms={
                key: statistics.mean(terms[key] for terms in self.terms)
                for key in self.terms[0]
                if key != "elbo" and not key.startswith("fade_")
            },
            gradient_norm=mean_norm**0.5,
            is_bound=self.is_bound,
            **self._gaps_to(reference),
        )

    def _gaps_to(self, reference: _Measured | None) -> dict[str, float | None]:
        found = dict.fromkeys(("gap", "predicted_gap", "least_gap", "gap_mismatch"))
        if reference is None:
            return found
        pairs = zip(reference.terms, self.terms, strict=True)
        gaps = [theirs["elbo"] - own["elbo"] for theirs, own in pairs]
        found["gap"] = statistics.mean(gaps)
        if self.is_bound:
            predicted, least = zip(*self.gaps, strict=True)
            found["predicted_gap"] = statistics.mean(predicted)
            found["least_gap"] = statistics.mean(least)
            found["gap_mismatch"] = max(abs(a - b) for a, b in zip(gaps, predicted, strict=True))
        return found


def _pass(
    model: FacetModel,
    x: Tensor,
    weights: Weights,
    guide: Guide,
    n_samples: int,
    seed: int,
    draw: int = 0,
) -> tuple[Terms, Tensor, Gaps, bool, float]:
    """One forward and backward pass.

    Returns:
        its terms, the gradient of q(z | x), the gaps from the samples where there are any,
        whether it is a bound, and seconds.
    """
    learnt = [p for p in (*model.parameters(), *guide.parameters()) if p.requires_grad]
    _wait(x.device)
    started = time.perf_counter()
    with without_validation(), Noise(seed, draw):
        terms = model(x, guide, n_samples)
    gradients = torch.autograd.grad(loss(terms, weights), learnt, allow_unused=True)
    _wait(x.device)
    seconds = time.perf_counter() - started
    networks = {id(p) for part in model.posterior_networks for p in part.parameters()}
    gradient = torch.cat(
        [
            (torch.zeros_like(p) if g is None else g).flatten()
            for p, g in zip(learnt, gradients, strict=True)
            if id(p) in networks
        ]
    )
    with torch.no_grad(), Noise(seed, draw):
        sites = {site["name"]: site for site in run_guide(guide, n_samples, (x,), {})}
    is_bound = not any(isinstance(site["fn"], RelaxedCluster) for site in sites.values())
    gaps = None
    if is_bound and not model.structure.infers_clusters_first:
        with torch.no_grad():
            gaps = _gaps(model, len(x), sites, weights.kl.tolist(), (seed, -1 - draw))
    means = {name: value.item() for name, value in term_means(terms, weights).items()}
    return means, gradient, gaps, is_bound, seconds


def _gaps(
    model: FacetModel,
    n_observations: int,
    sites: Mapping[str, Site],
    weights: Sequence[float],
    other_noise: tuple[int, int],
) -> tuple[float, float]:
    """The gap that q(c | x) of a guide's sites makes at samples of z, and the least possible there.

    Where expectations over q(z_j | x) are in closed form, its samples are others, of this (seed,
    step).
    """
    zs = [sites[f"z_{j}"]["value"] for j in range(model.n_facets)]
    predicted = least = 0.0
    for j in model.structure.clustered:
        n_clusters = model.structure.facets[j].n_clusters
        z = _draw_anew(sites[f"z_{j}"], *other_noise) if is_analytic(sites[f"z_{j}"]) else zs[j]
        log_responsibilities = model.prior(j, zs).log_responsibilities(z)
        log_responsibilities = log_responsibilities.reshape(-1, n_observations, n_clusters)
        log_z = log_responsibilities.mean(0).logsumexp(-1)
        least -= weights[j] * log_z.mean().item()
        if f"c_{j}" in sites:
            log_q = sites[f"c_{j}"]["fn"].logits
            log_q = log_q.reshape(-1, n_observations, n_clusters)
            kl = (log_q.exp() * (log_q - log_responsibilities)).sum(-1)
            predicted += weights[j] * kl.mean().item()
    return predicted, least


def _draw_anew(site: Site, seed: int, step: int) -> Tensor:
    """Another sample of a normal site's distribution."""
    normal = site["fn"].base_dist
    return normal.loc + normal.scale * site_noise(
        seed, step, site["name"], normal.loc.shape, normal.loc
    )


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
