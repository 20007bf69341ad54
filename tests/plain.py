"""The objectives written out with nothing but torch: what the library's densities are held against.

Networks are the model's own modules; everything made of their outputs is written here again.
Samples have a leading dimension S, also where S is 1.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Bernoulli, MultivariateNormal, Normal

from pyro_mfcvae.models.base import FacetModel

ANALYTIC = ("vade-analytic", "expectation-analytic", "posterior-analytic", "amortized-analytic")


@dataclass
class Mixture:
    """log pi (K,), means (..., K, D) and Cholesky factors (..., K, D, D)."""

    log_pi: Tensor
    loc: Tensor
    tril: Tensor

    def component_log_prob(self, z: Tensor) -> Tensor:
        """(..., D) -> (..., K)."""
        return MultivariateNormal(self.loc, scale_tril=self.tril).log_prob(z.unsqueeze(-2))

    def log_prob(self, z: Tensor) -> Tensor:
        return (self.component_log_prob(z) + self.log_pi).logsumexp(-1)


@dataclass
class Inferred:
    """A facet's sample z, q(z | x) = N(mean, diag(std^2)), prior, and logits of a q(c | x)."""

    z: Tensor
    mean: Tensor
    std: Tensor
    prior: Mixture
    logits: Tensor | None = None


def mixture(prior: torch.nn.Module, w: Tensor | None = None) -> Mixture:
    """The prior of a facet from its parameters, at w (..., W) where it depends on that."""
    n, d = prior.n_clusters, prior.latent_dim
    if prior.kind == "conditional mixture":
        first, last = prior.hidden, prior.output
        hidden = torch.einsum("...w,rwh->...rh", w, first.weight) + first.bias
        hidden = hidden.clamp_min(0) if prior.activation == "relu" else torch.tanh(hidden)
        out = torch.einsum("...rh,rho->...ro", hidden, last.weight) + last.bias
        out = out.reshape(*w.shape[:-1], n, 2 * d)
        log_var = out[..., d:].tanh() if prior.variance == "exp-tanh" else out[..., d:]
        log_pi = out.new_full((n,), 1 / n).log()
        return Mixture(log_pi, out[..., :d], torch.diag_embed(log_var.exp().sqrt()))
    if prior.kind == "standard normal":
        zero = torch.zeros(1, d, dtype=torch.float64)
        return Mixture(zero[:, 0], zero, torch.eye(d).to(zero)[None])
    raw = prior.raw_scale
    if prior.covariance == "diagonal":
        tril = torch.diag_embed(F.softplus(raw, beta=10).sqrt())
    else:
        diagonal = F.softplus(raw.diagonal(dim1=-2, dim2=-1), beta=10)
        tril = torch.tril(raw, -1) + torch.diag_embed(diagonal)
    return Mixture(log_weights(prior), prior.loc, tril)


def log_weights(prior: torch.nn.Module) -> Tensor:
    """Log pi (K,); with a Dirichlet prior E log pi - KL / N, which do not sum to 1."""
    log_pi, n, a = prior.logits.log_softmax(0), prior.n_observations, prior.weight_concentration
    if n is None:
        return log_pi
    g, k = a + n * log_pi.exp(), len(log_pi)
    expected = g.digamma() - g.sum().digamma()
    log_b_q, log_b_p = g.lgamma().sum() - g.sum().lgamma(), k * math.lgamma(a) - math.lgamma(k * a)
    return expected - (log_b_p - log_b_q + ((g - a) * expected).sum()) / n


def normal(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Means and standard deviations from (..., 2 D)."""
    mean, log_var = parameters.chunk(2, -1)
    return mean, log_var.exp().sqrt()


def log_likelihood(
    model: FacetModel, x: Tensor, zs: list[Tensor], fade: Tensor | None = None
) -> Tensor:
    """Log p(x | z): x (B, *event), latents (..., B, D_j) -> (..., B)."""
    h = model.decoder([zs[j] for j in model.structure.decoded], fade)
    likelihood = model.likelihood
    if type(likelihood).__name__ == "BernoulliLikelihood":
        log_prob = Bernoulli(logits=h, validate_args=False).log_prob(x)
    else:
        scale = likelihood.fixed_scale or likelihood.log_scale.exp()
        log_prob = Normal(h, scale).log_prob(x)
    return log_prob.flatten(-len(model.observation.shape)).sum(-1)


def relaxed(logits: Tensor, eps: Tensor, temperature: Tensor) -> Tensor:
    """A Gumbel-softmax sample of standard normal noise: uniform numbers are its distribution's."""
    gumbel = -torch.log(-torch.log(Normal(0.0, 1.0).cdf(eps)))
    return torch.softmax((logits + gumbel) / temperature, -1)


def relaxed_log_prob(prior: Mixture, z: Tensor, c: Tensor) -> Tensor:
    """Log-density under averaged means and factors: z (..., D), shares (..., K) -> (...)."""
    loc = torch.einsum("...k,...kd->...d", c, prior.loc)
    tril = torch.einsum("...k,...kde->...de", c, prior.tril)
    return MultivariateNormal(loc, scale_tril=tril).log_prob(z)


def kl(guide: str, facet: Inferred, c: Tensor | None = None) -> Tensor:
    """KL of z and c of a facet, (S, B) or (B,); c is the relaxed cluster of guide relaxed."""
    prior, z = facet.prior, facet.z
    log_p = prior.component_log_prob(z)
    log_r = (log_p + prior.log_pi).log_softmax(-1)
    log_q_z = Normal(facet.mean, facet.std).log_prob(z).sum(-1)
    if len(prior.log_pi) == 1 and guide not in ANALYTIC:
        return log_q_z - log_p[..., 0]
    if guide == "enumerate":
        return log_q_z - prior.log_prob(z)
    if guide == "relaxed":
        log_q = facet.logits.log_softmax(-1)
        kl_c = (log_q.exp() * (log_q - prior.log_pi)).sum(-1)
        return log_q_z - relaxed_log_prob(prior, z, c) + kl_c
    expected = prior.component_log_prob(facet.mean) - 0.5 * (
        MultivariateNormal(prior.loc, scale_tril=prior.tril)
        .precision_matrix.diagonal(dim1=-2, dim2=-1)
        .mul(facet.std.unsqueeze(-2).square())
        .sum(-1)
    )
    closed_form = (expected + prior.log_pi).log_softmax(-1)  # (S, B, K), or the same for all S
    log_q = {
        "vade": log_r.mean(0),
        "vade-analytic": closed_form.mean(0) if closed_form.dim() > 2 else closed_form,
        "expectation": log_r.exp().mean(0).log(),
        "posterior": log_r,
        "amortized": log_r if facet.logits is None else facet.logits,
    }[guide if guide == "vade-analytic" else guide.removesuffix("-analytic")]
    log_q = log_q.log_softmax(-1)
    if guide in ANALYTIC:
        log_q_z = -0.5 * (1 + math.log(2 * math.pi) + 2 * facet.std.log()).sum(-1)
        log_p = expected
    return (log_q.exp() * (log_q_z.unsqueeze(-1) - log_p + log_q - prior.log_pi)).sum(-1)


def kl_of_standard(mean: Tensor, std: Tensor) -> Tensor:
    """KL(N(mean, diag(std^2)) || N(0, I)), (..., D) -> (...)."""
    return 0.5 * (mean.square() + std.square() - 1 - 2 * std.log()).sum(-1)
