r"""A training step written by hand in PyTorch alone: what the library's speed is measured against.

.. math::
    \mathcal L = \frac1B \sum_b \frac1S \sum_s \Big( \log p(x \mid z)
    - \sum_j \alpha_j \big( \log q(z_j \mid x) - \log p(z_j) \big) \Big)

Networks are copies of the library's; densities, noise, batches and the optimiser's step are its
own, without Pyro, handlers, named terms or a log. Source: MFCVAE, Eq. 35 and 89, the three-term
form, which for S = 1 equals the five-term form of guide ``vade``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pyro_mfcvae.config import TrainingConfig
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models import MFCVAE, FacetModel
from pyro_mfcvae.nets.likelihoods import BernoulliLikelihood, GaussianLikelihood
from pyro_mfcvae.priors.mixture import MixturePrior

Precision = Callable[[], AbstractContextManager]

_LOG_TWO_PI = math.log(2 * math.pi)


class HandWrittenMixture(nn.Module):
    """Log p(z) of one facet, with parameters that begin as a prior's.

    Args:
        prior: of the library; its parameters are copied.
    """

    def __init__(self, prior: MixturePrior) -> None:
        super().__init__()
        self.full, self.beta = prior.covariance == "full", prior.softplus_beta
        for name in ("logits", "loc", "raw_scale"):
            old = getattr(prior, name)
            setattr(self, name, nn.Parameter(old.detach().clone(), old.requires_grad))

    def forward(self, z: Tensor) -> Tensor:
        """(..., D) -> (...)."""
        components = self._full(z) if self.full else self._diagonal(z)
        return torch.logsumexp(components + self.logits.log_softmax(-1), -1)

    def _diagonal(self, z: Tensor) -> Tensor:
        var = F.softplus(self.raw_scale, beta=self.beta)
        squares = (z.unsqueeze(-2) - self.loc).square() / var
        return -0.5 * (squares.sum(-1) + (var.log() + _LOG_TWO_PI).sum(-1))

    def _full(self, z: Tensor) -> Tensor:
        dim = z.shape[-1]
        diagonal = F.softplus(self.raw_scale.diagonal(dim1=-2, dim2=-1), beta=self.beta)
        factors = self.raw_scale.tril(-1) + torch.diag_embed(diagonal)
        eye = torch.eye(dim, dtype=z.dtype, device=z.device)
        inverse = torch.linalg.solve_triangular(factors, eye, upper=False)  # (K, D, D)
        offset = (inverse @ self.loc.unsqueeze(-1)).mT  # (K, 1, D)
        rows = z.reshape(1, -1, dim).expand(len(factors), -1, -1)
        white = torch.baddbmm(-offset, rows, inverse.mT)  # (K, S B, D)
        log_prob = -0.5 * (white.square().sum(-1) + dim * _LOG_TWO_PI)
        log_prob = log_prob - diagonal.log().sum(-1, keepdim=True)
        return log_prob.mT.unflatten(0, z.shape[:-1])


class HandWritten(nn.Module):
    """The objective, with networks and parameters that begin as a model's.

    Valid for MFCVAE and VaDE with independent facets, and for Bernoulli and Gaussian likelihoods,
    without a KL floor, a KL warm-up or warps.

    Args:
        model: of the library; its networks are copied, its guides left out.
        precision: what the networks compute under.

    Raises:
        ConfigError: if the model or the likelihood is another.
    """

    def __init__(self, model: FacetModel, precision: Precision = nullcontext) -> None:
        super().__init__()
        self.precision = precision
        check_by_hand(model)
        self.encoder, self.heads, self.decoder, self.likelihood = (
            deepcopy(part) for part in (model.encoder, model.heads, model.decoder, model.likelihood)
        )
        self.mixtures = nn.ModuleList(HandWrittenMixture(facet) for facet in model.facets)

    def forward(
        self, x: Tensor, fade: Tensor, n_samples: int = 1, noise: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Minus the mean ELBO.

        Args:
            x: observations, shape (B, *event).
            fade: weights of the facets, shape (J,).
            n_samples: S.
            noise: standard normal, J tensors (B, D_j), or (S, B, D_j) for more than one sample;
                None draws it.

        Returns:
            shape ().
        """
        zs, cost = [], x.new_zeros(())
        with self.precision():
            features = self.encoder(x, fade)
            parameters = [head(h) for head, h in zip(self.heads, features, strict=True)]
        for j, both in enumerate(parameters):
            loc, log_var = both.to(x.dtype).chunk(2, -1)
            shape = (n_samples, *loc.shape) if n_samples > 1 else loc.shape
            eps = torch.randn(shape, dtype=x.dtype, device=x.device) if noise is None else noise[j]
            z = loc + (0.5 * log_var).exp() * eps
            log_q = -0.5 * (eps.square() + log_var + _LOG_TWO_PI).sum(-1)
            cost = cost + fade[j] * (log_q - self.mixtures[j](z)).mean()
            zs.append(z)
        with self.precision():
            h = self.decoder(zs, fade)
        return cost + self._reconstruction_cost(h.to(x.dtype), x) / (n_samples * len(x))

    def _reconstruction_cost(self, h: Tensor, x: Tensor) -> Tensor:
        """Minus log p(x | z), summed over everything."""
        x = x.expand_as(h)
        if isinstance(self.likelihood, BernoulliLikelihood):
            return F.binary_cross_entropy_with_logits(h, x, reduction="sum")
        loc = h.sigmoid() if self.likelihood.output_activation == "sigmoid" else h
        squares = F.mse_loss(loc, x, reduction="sum")
        if self.likelihood.fixed_scale is not None:
            scale = self.likelihood.fixed_scale
            return 0.5 * squares / scale**2 + h.numel() * (math.log(scale) + 0.5 * _LOG_TWO_PI)
        log_scale = self.likelihood.log_scale
        return 0.5 * squares * (-2 * log_scale).exp() + h.numel() * (log_scale + 0.5 * _LOG_TWO_PI)


def check_by_hand(model: FacetModel) -> None:
    """Raise a ConfigError if the hand-written objective is not that of the model."""
    told = model.model.__func__ is MFCVAE.model and not model.structure.infers_clusters_first
    if not told or model.heads_given_others is not None:
        raise ConfigError(
            "the hand-written objective knows MFCVAE's story with independent facets, got another "
            f"({type(model).__name__}); leave out steps and memory (--only)"
        )
    if not isinstance(model.likelihood, (BernoulliLikelihood, GaussianLikelihood)):
        raise ConfigError(
            "the hand-written objective knows the likelihoods bernoulli and gaussian, got "
            f"{type(model.likelihood).__name__}; leave out steps and memory (--only)"
        )


class HandWrittenTraining:
    """The hand-written training step.

    Args:
        objective: on the training device, in training mode.
        x: training observations, uint8 or floating point, (N, *event), on the same device.
        training: batch size and learning rate are taken from it.
        fade: weights of the facets, shape (J,).
        n_samples: S.
    """

    def __init__(
        self,
        objective: HandWritten,
        x: Tensor,
        training: TrainingConfig,
        fade: Tensor,
        n_samples: int = 1,
    ) -> None:
        self.objective, self.x, self.fade, self.n_samples = objective, x, fade, n_samples
        self.batch_size = training.batch_size
        self.rows = torch.empty(0, dtype=torch.long)
        learnt = [p for p in objective.parameters() if p.requires_grad]
        fused = all(p.device.type in ("cpu", "cuda") for p in learnt)
        self.optimizer = torch.optim.Adam(
            learnt, training.learning_rate, eps=training.adam_eps, fused=fused or None
        )

    def step(self) -> None:
        """Take one step."""
        if not len(self.rows):
            self.rows = torch.randperm(len(self.x), device=self.x.device)
        x = self.x[self.rows[: self.batch_size]]
        self.rows = self.rows[self.batch_size :]
        x = x.to(self.fade.dtype) / 255 if x.dtype == torch.uint8 else x.to(self.fade.dtype)
        self.objective(x, self.fade, self.n_samples).backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
