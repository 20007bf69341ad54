r"""The objective: the ELBO as named terms, one number per observation.

.. math::
    \mathcal L(x) = E \log p(x \mid z)
    - \sum_j \alpha_j \big( KL_{z_j} + KL_{c_j} \big)

Source: MFCVAE, Eq. 14 and 89. Given z the facets are independent components. Each is summed
over its clusters and weighed with its own alpha, which Pyro's own ``TraceEnum_ELBO`` cannot do:
it wants one common scale for all that it sums out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from pyro_mfcvae.inference.enumeration import Program, run_programs
from pyro_mfcvae.inference.factors import Factors
from pyro_mfcvae.priors.memo import memoise_densities


@dataclass(frozen=True)
class ElboTerms:
    """The parts of the ELBO, unweighted, per observation.

    Attributes:
        reconstruction: E log p(x | z), shape (B,).
        kl_z: KL of z_j, shape (B, J): log q(z_j | x) - E log p(z_j | c_j); where c_j is summed
            out of the model, log q(z_j | x) - log p(z_j). Of a latent that the batch shares,
            divided by B.
        kl_c: KL of c_j, shape (B, J); zero where c_j is summed out of the model.
        fade: weights alpha_j, shape (J,).
        kl_weight: weights of both KLs, shape (J,); None where they are alpha_j.
        other: KLs of no single facet, per observation, {sites: (B,)}: of facets that are summed
            out together, named by their sites, and of latents without a facet.
        shared: costs of no facet that the batch has once, divided by B, {site: ()}.
        min_information: lambda_j, in nats: what the KL of c_j costs at least, on the mean over the
            batch, shape (J,), 0 for a facet without clusters; None leaves that out.
        kl_scale: what ``other`` and ``shared`` are multiplied with, shape (); None means 1.
        unscaled: names in ``shared`` that it leaves as they are: observed, so that they are no KL.
    """

    reconstruction: Tensor
    kl_z: Tensor
    kl_c: Tensor
    fade: Tensor
    kl_weight: Tensor | None = None
    other: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)
    min_information: Tensor | None = None
    kl_scale: Tensor | None = None
    unscaled: frozenset[str] = frozenset()

    @property
    def elbo(self) -> Tensor:
        """The bound on log p(x), shape (B,); no bound while a weight is between 0 and 1."""
        cost = ((self.kl_z + self.kl_c) * self.weights).sum(-1)
        without_facet = [
            kl if self.kl_scale is None or name in self.unscaled else self.kl_scale * kl
            for name, kl in [*self.other.items(), *self.shared.items()]
        ]
        return self.reconstruction - reduce(add, without_facet, cost)

    @property
    def weights(self) -> Tensor:
        """What both KLs are weighed with, shape (J,)."""
        return self.fade if self.kl_weight is None else self.kl_weight

    @property
    def loss(self) -> Tensor:
        r"""Minus the mean ELBO, shape (); with a minimum of information what raises it to that.

        .. math::
            \max\big(\lambda_j, \tfrac1B \sum_i KL_{c_j}(x_i)\big)

        then stands for the KL of c_j, so that below lambda_j it has no gradient. Source:
        Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
        Autoencoders", 2016, Section 3.3, after Kingma et al., "Improving Variational Inference with
        Inverse Autoregressive Flow", 2016.
        """
        loss = -self.elbo.mean()
        if self.min_information is None:
            return loss
        missing = (self.min_information - self.kl_c.mean(0)).relu()
        return loss + (missing * self.weights).sum()

    def means(self) -> dict[str, Tensor]:
        """Every term averaged over the batch, detached, as tensors of shape ()."""
        with torch.no_grad():
            columns = {"elbo": self.elbo, "reconstruction": self.reconstruction}
            for j in range(len(self.fade)):
                columns |= {f"kl_z_{j}": self.kl_z[:, j], f"kl_c_{j}": self.kl_c[:, j]}
            columns |= self.other
            values = torch.stack(list(columns.values())).mean(-1).unbind()
            means = dict(zip(columns, values, strict=True))
            weights = {"fade": self.fade, "kl_weight": self.kl_weight}
            for name, values in weights.items():
                if values is not None:
                    means |= {f"{name}_{j}": value for j, value in enumerate(values.unbind())}
            if self.kl_scale is not None:
                scaled = [*self.other, *(name for name in self.shared if name not in self.unscaled)]
                means |= {f"kl_weight_{name}": self.kl_scale for name in scaled}
            return means | {name: value.detach() for name, value in self.shared.items()}


class FacetELBO(TraceEnum_ELBO):
    """``TraceEnum_ELBO`` with a weight per facet, named terms, and no waiting for the device.

    Equal to the stock class wherever that is valid. Valid for programs whose plates are
    ``data`` at dim -1 (and, added here, ``samples`` at dim -2), whose continuous guide sites
    are reparameterised and whose discrete latents are all marked
    ``infer={"enumerate": "parallel"}``, in the guide or in the model; checked at every call.

    Args:
        n_samples: S, samples of the continuous latents per observation.
    """

    def __init__(self, n_samples: int = 1) -> None:
        if n_samples < 1:
            raise ValueError(f"n_samples must be 1 or more, got {n_samples}")
        super().__init__(num_particles=n_samples, vectorize_particles=True, max_plate_nesting=1)

    def terms(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> ElboTerms:
        """Run guide and model once and return the terms of the ELBO, differentiable.

        Args:
            model: Pyro program, called with the further arguments.
            guide: Pyro program, called with the same arguments.
            *args: of both programs.
            **kwargs: of both programs.

        Raises:
            ValueError: if a program is outside of what this class is valid for.
        """
        with memoise_densities():
            sites = run_programs(model, guide, self.num_particles, args, kwargs)
            return ElboTerms(**Factors(*sites).terms())

    def log_weights(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> Tensor:
        """Log p(x, z) - log q(z | x) of every sample, with all clusters summed out.

        No fade weights are applied. Terms that the batch has once are shared out evenly.

        Args:
            model: Pyro program, called with the further arguments.
            guide: Pyro program without enumerated sites, called with the same arguments.
            *args: of both programs.
            **kwargs: of both programs.

        Returns:
            shape (S, B).

        Raises:
            ValueError: if the guide enumerates, or a program is outside of what this class is
                valid for.
        """
        sites = run_programs(model, guide, self.num_particles, args, kwargs)
        return Factors(*sites).log_weights()

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Minus the ELBO summed over the batch, as ``TraceEnum_ELBO`` has it."""
        return -self.terms(model, guide, *args, **kwargs).elbo.sum()

    def loss(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Minus the ELBO summed over the batch, as a number."""
        with torch.no_grad():
            return self.differentiable_loss(model, guide, *args, **kwargs).item()

    def loss_and_grads(self, model: Program, guide: Program, *args: Any, **kwargs: Any) -> float:
        """Minus the ELBO summed over the batch, after adding its gradients to the parameters."""
        loss = self.differentiable_loss(model, guide, *args, **kwargs)
        if loss.requires_grad:
            loss.backward()
        return loss.item()
