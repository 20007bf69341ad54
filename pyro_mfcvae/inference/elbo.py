r"""The objective: the ELBO as named terms, one number per observation.

.. math::
    \mathcal L(x) = E \log p(x \mid z)
    - \sum_j \alpha_j \big( KL_{z_j} + KL_{c_j} \big)

Source: MFCVAE, Eq. 14 and 89. Given z the facets are independent components. Each is summed
over its clusters and weighed with its own alpha, which Pyro's own ``TraceEnum_ELBO`` cannot do:
it wants one common scale for all that it sums out.
"""

from __future__ import annotations

from typing import Any

import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from pyro_mfcvae.inference.enumeration import Program, run_programs
from pyro_mfcvae.inference.factors import elbo_terms, fade_of, sample_log_weights
from pyro_mfcvae.inference.terms import ElboTerms
from pyro_mfcvae.inference.weights import Weights, elbo
from pyro_mfcvae.priors.memo import memoise_densities


class FacetELBO(TraceEnum_ELBO):
    """``TraceEnum_ELBO`` with a weight per facet, named terms, and no waiting for the device.

    Equal to the stock class wherever that is valid. Valid for programs whose plates are
    ``data`` at dim -1 (and, added here, ``samples`` at dim -2), whose continuous guide sites
    are reparameterised and whose discrete latents are all marked
    ``infer={"enumerate": "parallel"}``, in the guide or in the model; checked at every call.

    Args:
        n_samples: S, samples of the continuous latents per observation.
        n_facets: J; None counts the facets that the sites are labelled with.
    """

    def __init__(self, n_samples: int = 1, n_facets: int | None = None) -> None:
        if n_samples < 1:
            raise ValueError(f"n_samples must be 1 or more, got {n_samples}")
        super().__init__(num_particles=n_samples, vectorize_particles=True, max_plate_nesting=1)
        self.n_facets = n_facets

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
            return elbo_terms(*sites, self.n_facets)

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
        return sample_log_weights(*sites)

    def differentiable_loss(
        self, model: Program, guide: Program, *args: Any, **kwargs: Any
    ) -> Tensor:
        """Minus the ELBO summed over the batch, as ``TraceEnum_ELBO`` has it.

        The KL terms are weighed with the fade weights that the sites are labelled with.
        """
        with memoise_densities():
            sites = run_programs(model, guide, self.num_particles, args, kwargs)
            terms = elbo_terms(*sites, self.n_facets)
            return -elbo(terms, Weights(fade_of(*sites, terms))).sum()

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
