r"""The objective: the ELBO as named terms, one number per observation, their weights, and the loss.

.. math::
    \mathcal L(x) = E \log p(x \mid z) - \sum_j w_j \big( KL_{z_j} + KL_{c_j} \big)
    - s \sum KL_{other}, \qquad
    w_j = s \, \big(f + (1 - f) \, \alpha_j\big)

The fade-in weights alpha (MFCVAE, Eq. 89) reach the decoder as well; the other two do not. With the
floor f a facet whose turn has not come is pulled towards its prior already (MFCVAE, Appendix D.3,
"pretraining"). The scale s is for a warm-up of the KL terms, and for a beta-VAE.

Source: MFCVAE, Eq. 14 and 89. Given z the facets are independent components. Each is summed
over its clusters and weighed with its own alpha, which Pyro's own ``TraceEnum_ELBO`` cannot do:
it wants one common scale for all that it sums out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import torch
from pyro.infer import TraceEnum_ELBO
from torch import Tensor

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.factors import RECONSTRUCTION, expected_costs, sample_log_weights
from pyro_mfcvae.inference.sites import Program, Site, run_programs
from pyro_mfcvae.priors.normal import memoise_densities


@dataclass(frozen=True, eq=False)
class ElboTerms:
    """The parts of the ELBO, unweighted, per observation.

    Attributes:
        reconstruction: E log p(x | z), shape (B,). What else is observed stands here, too; what the
            batch observes once is divided by B.
        kl_z: KL of z_j, shape (B, J): log q(z_j | x) - E log p(z_j | c_j); where c_j is summed
            out of the model, log q(z_j | x) - log p(z_j). Of a latent that the batch shares,
            divided by B.
        kl_c: KL of c_j, shape (B, J); zero where c_j is summed out of the model.
        other: KLs of no single facet, per observation, {sites: (B,)}: of facets that are summed
            out together, named by their sites, and of latents without a facet.
        shared: KLs of no facet that the batch has once, divided by B, {site: ()}.
    """

    reconstruction: Tensor
    kl_z: Tensor
    kl_c: Tensor
    other: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def elbo(self) -> Tensor:
        """The bound on log p(x), shape (B,): every term with the weight 1."""
        cost = (self.kl_z + self.kl_c).sum(-1)
        return self.reconstruction - reduce(
            add, [*self.other.values(), *self.shared.values()], cost
        )

    @property
    def loss(self) -> Tensor:
        """Minus the mean of the bound over the batch, shape ()."""
        return -self.elbo.mean()


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights of the terms of the objective.

    Attributes:
        fade: alpha, shape (J,).
        floor: f, from 0 to 1.
        scale: s, shape (); None means 1.
        min_information: lambda_j, in nats: what the KL of c_j costs at least, on the mean over the
            batch, shape (J,), 0 for a facet without clusters; None leaves that out.

    Raises:
        ConfigError: if the floor is out of range.
    """

    fade: Tensor
    floor: float = 0.0
    scale: Tensor | None = None
    min_information: Tensor | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.floor <= 1:
            raise ConfigError(f"the KL floor must be from 0 to 1, got {self.floor}")

    @property
    def is_fade_alone(self) -> bool:
        """Whether the KL terms of a facet are weighed with alpha_j and nothing else."""
        return self.floor == 0 and self.scale is None

    @property
    def kl(self) -> Tensor:
        """The weights w_j of both KL terms of each facet, shape (J,)."""
        if self.is_fade_alone:
            return self.fade
        raised = self.floor + (1 - self.floor) * self.fade
        return raised if self.scale is None else raised * self.scale


def elbo(terms: ElboTerms, weights: Weights) -> Tensor:
    """The weighted ELBO, shape (B,); no bound on log p(x) while a weight is between 0 and 1."""
    cost = ((terms.kl_z + terms.kl_c) * weights.kl).sum(-1)
    others = [*terms.other.values(), *terms.shared.values()]
    if weights.scale is not None:
        others = [weights.scale * kl for kl in others]
    return terms.reconstruction - reduce(add, others, cost)


def loss(terms: ElboTerms, weights: Weights) -> Tensor:
    r"""Minus the mean of the weighted ELBO, shape (); with a minimum of information what raises it.

    .. math::
        \max\big(\lambda_j, \tfrac1B \sum_i KL_{c_j}(x_i)\big)

    then stands for the KL of c_j, so that below lambda_j it has no gradient. Source:
    Dilokthanakul et al., "Deep Unsupervised Clustering with Gaussian Mixture Variational
    Autoencoders", 2016, Section 3.3, after Kingma et al., "Improving Variational Inference with
    Inverse Autoregressive Flow", 2016.
    """
    cost = -elbo(terms, weights).mean()
    if weights.min_information is None:
        return cost
    missing = (weights.min_information - terms.kl_c.mean(0)).relu()
    return cost + (missing * weights.kl).sum()


@torch.no_grad()
def term_means(terms: ElboTerms, weights: Weights) -> dict[str, Tensor]:
    """What logs and evaluations record of a batch, by name, each of shape ().

    The weighted ELBO, the bare terms averaged over the batch, and the weights: ``fade_J``, and
    where they differ from these ``kl_weight_J`` and ``kl_weight_SITE``. KLs that weigh nothing
    are 0.
    """
    columns = {"elbo": elbo(terms, weights), "reconstruction": terms.reconstruction}
    counts = weights.kl != 0
    kl_z, kl_c = terms.kl_z * counts, terms.kl_c * counts
    for j in range(len(weights.fade)):
        columns |= {f"kl_z_{j}": kl_z[:, j], f"kl_c_{j}": kl_c[:, j]}
    columns |= terms.other
    values = torch.stack(list(columns.values())).mean(-1).unbind()
    means = dict(zip(columns, values, strict=True))
    by_facet = {"fade": weights.fade}
    if not weights.is_fade_alone:
        by_facet["kl_weight"] = weights.kl
    for name, of_facets in by_facet.items():
        means |= {f"{name}_{j}": value for j, value in enumerate(of_facets.unbind())}
    if weights.scale is not None:
        means |= {f"kl_weight_{name}": weights.scale for name in (*terms.other, *terms.shared)}
    return means | {name: value.detach() for name, value in terms.shared.items()}


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
            return -elbo(terms, Weights(_fade_of(*sites, terms.kl_z))).sum()

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


def elbo_terms(
    guide: Sequence[Site], model: Sequence[Site], n_facets: int | None = None
) -> ElboTerms:
    """The terms of the ELBO, unweighted.

    Args:
        guide: sample sites of the guide.
        model: sample sites of the model, run on the guide's values.
        n_facets: J; None counts the facets that the sites are labelled with.

    Raises:
        ValueError: if no site is observed in a plate over observations, the expectation of an
            analytic site has no closed form, or sites that are summed out together are weighed
            with the fade weights of one facet.
    """
    costs = expected_costs(guide, model)
    observed = costs.pop(RECONSTRUCTION, None)
    if observed is None or observed.dim() == 0:
        raise ValueError("no observed site is in a plate over observations at dim -1")
    reconstruction = -observed
    if n_facets is None:
        labels = (site["infer"].get("facet", -1) for site in (*guide, *model))
        n_facets = max(labels, default=-1) + 1
    zero = torch.zeros_like(reconstruction)
    for kind, j in [*costs]:
        if kind == "shared_kl":
            shared = costs.pop((kind, j))
            costs["kl_z", j] = costs.get(("kl_z", j), zero) + shared
    kl = {
        kind: _stack([costs.pop((kind, j), zero) for j in range(n_facets)], like=zero)
        for kind in ("kl_z", "kl_c")
    }
    others = {
        of: {str(name): cost for (kind, name), cost in costs.items() if kind == of}
        for of in ("other", "shared")
    }
    return ElboTerms(reconstruction, kl["kl_z"], kl["kl_c"], others["other"], others["shared"])


def _stack(costs: list[Tensor], like: Tensor) -> Tensor:
    """J costs (B,) or () -> (B, J)."""
    if not costs:
        return like.new_zeros(*like.shape, 0)
    return torch.stack([cost.expand_as(like) for cost in costs], -1)


def _fade_of(guide: Sequence[Site], model: Sequence[Site], like: Tensor) -> Tensor:
    """The fade weights that sites are labelled with, (J,); 1 for a facet without a label.

    Args:
        guide: sample sites of the guide.
        model: likewise.
        like: has the dtype and device of the weights, and J as its last dimension.
    """
    labels = (site["infer"] for site in (*guide, *model))
    given = {label["facet"]: label["fade"] for label in labels if "fade" in label}
    one, n_facets = like.new_ones(()), like.shape[-1]
    if not given:
        return one.expand(n_facets)
    return torch.stack([given.get(j, one) for j in range(n_facets)])
