r"""The objective: the ELBO as named terms, one number per observation.

.. math::
    \mathcal L(x) = E \log p(x \mid z)
    - \sum_j \alpha_j \big( KL_{z_j} + KL_{c_j} \big)

Source: MFCVAE, Eq. 14 and 89. Given z the facets are independent components. Each is summed
over its clusters and weighed with its own alpha, which Pyro's own ``TraceEnum_ELBO`` cannot do:
it wants one common scale for all that it sums out.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from operator import add
from typing import Any

import pyro
import torch
from pyro import poutine
from pyro.infer import TraceEnum_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import Message
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_mfcvae.fade_in import WeighsFacets

Site = Mapping[str, Any]
Program = Callable[..., Any]

_DATA_DIM, _SAMPLES_DIM = -1, -2


@dataclass(frozen=True)
class ElboTerms:
    """The parts of the ELBO, unweighted, per observation.

    Attributes:
        reconstruction: E log p(x | z), shape (B,).
        kl_z: KL of z_j, shape (B, J): log q(z_j | x) - E log p(z_j | c_j); where c_j is summed
            out of the model, log q(z_j | x) - log p(z_j).
        kl_c: KL of c_j, shape (B, J); zero where c_j is summed out of the model.
        fade: weights alpha_j of both KLs, shape (J,).
        other: further costs per observation, {site: (B,)}.
        shared: costs that the batch has once, divided by B, {site: ()}.
    """

    reconstruction: Tensor
    kl_z: Tensor
    kl_c: Tensor
    fade: Tensor
    other: Mapping[str, Tensor] = field(default_factory=dict)
    shared: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def elbo(self) -> Tensor:
        """The bound on log p(x), shape (B,); no bound while a weight is between 0 and 1."""
        cost = ((self.kl_z + self.kl_c) * self.fade).sum(-1)
        return self.reconstruction - reduce(
            add, [*self.other.values(), *self.shared.values()], cost
        )

    @property
    def loss(self) -> Tensor:
        """Minus the mean ELBO, shape ()."""
        return -self.elbo.mean()

    def means(self) -> dict[str, Tensor]:
        """Every term averaged over the batch, detached, as tensors of shape ()."""
        named = {"elbo": self.elbo, "reconstruction": self.reconstruction}
        for j in range(len(self.fade)):
            named[f"kl_z_{j}"] = self.kl_z[:, j]
            named[f"kl_c_{j}"] = self.kl_c[:, j]
            named[f"fade_{j}"] = self.fade[j]
        named |= {**self.other, **self.shared}
        return {name: value.detach().mean() for name, value in named.items()}


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
        guide_sites, model_sites = self._run(model, guide, args, kwargs)
        _check(guide_sites, model_sites)
        return _Collector(guide_sites, model_sites).terms()

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

    def _run(
        self, model: Program, guide: Program, args: tuple, kwargs: dict[str, Any]
    ) -> tuple[list[Site], list[Site]]:
        enumerated = _Enumerate()
        with WeighsFacets():
            with poutine.trace() as recorded, enumerated, self._samples():
                guide(*args, **kwargs)
            guide_sites = _sample_sites(recorded.trace)
            with poutine.trace() as recorded, enumerated, _Replay(guide_sites), self._samples():
                model(*args, **kwargs)
        return guide_sites, _sample_sites(recorded.trace)

    def _samples(self) -> contextlib.AbstractContextManager:
        if self.num_particles == 1:
            return contextlib.nullcontext()
        return pyro.plate("samples", self.num_particles, dim=_SAMPLES_DIM)


class _Enumerate(Messenger):
    """Enumerates marked sites along new dimensions, from -3 to the left.

    One handler serves guide and model, so that their dimensions differ. Unlike Pyro's it never
    reads a value, which lets whole programs run under ``torch.func.vmap``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_sites = 0

    def _pyro_sample(self, msg: Message) -> None:
        if msg["done"] or msg["is_observed"] or msg["infer"].get("enumerate") != "parallel":
            return
        dim = _SAMPLES_DIM - 1 - self.n_sites
        self.n_sites += 1
        fn = msg["fn"]
        support = fn.enumerate_support(expand=False)
        value = support.reshape(support.shape[:1] + (1,) * (-1 - dim) + fn.event_shape)
        if hasattr(support, "_pyro_categorical_support"):
            value._pyro_categorical_support = id(fn)
        msg["infer"]["_enumerate_dim"] = dim
        msg["value"] = value
        msg["done"] = True


class _Replay(Messenger):
    """Gives the model the guide's values, and leaves the model's own marks on its sites."""

    def __init__(self, guide_sites: Iterable[Site]) -> None:
        super().__init__()
        self.sites = {site["name"]: site for site in guide_sites}

    def _pyro_sample(self, msg: Message) -> None:
        site = self.sites.get(msg["name"])
        if site is None or msg["is_observed"]:
            return
        msg["value"] = site["value"]
        msg["done"] = True
        if "_enumerate_dim" in site["infer"]:
            msg["infer"]["_enumerate_dim"] = site["infer"]["_enumerate_dim"]


class _Collector:
    """Sorts the factors of both traces into terms.

    A *cost* is a log-probability with its sign, so that the ELBO is minus the sum of all costs'
    expectations. Sites enumerated in the guide are averaged over with q(c); those enumerated in
    the model are summed out, component by component.
    """

    def __init__(self, guide_sites: list[Site], model_sites: list[Site]) -> None:
        self.guide_sites, self.model_sites = guide_sites, model_sites
        self.log_probs = {id(site): _log_prob(site) for site in [*guide_sites, *model_sites]}
        guide_names = {site["name"] for site in guide_sites}
        self.guide_dims = {_dim(site) for site in guide_sites} - {None}
        self.model_dims = {
            _dim(site) for site in model_sites if site["name"] not in guide_names
        } - {None}
        self.costs: dict[tuple, list[Tensor]] = defaultdict(list)

    def terms(self) -> ElboTerms:
        for site in self.guide_sites:
            self._add(site, +1)
        left = [site for site in self.model_sites if not self._is_summed_out(site)]
        for site in left:
            self._add(site, -1)
        for component in self._summed_out_components():
            self._add_component(component)
        return self._assemble()

    def _is_summed_out(self, site: Site) -> bool:
        return bool(_dims(self.log_probs[id(site)], self.model_dims)) or (
            _dim(site) in self.model_dims
        )

    def _add(self, site: Site, sign: int) -> None:
        log_prob = self.log_probs[id(site)]
        cost = log_prob if sign > 0 else -log_prob
        if not _is_one(site["scale"]):
            cost = cost * site["scale"]
        self.costs[_term(site)].append(cost)

    def _summed_out_components(self) -> list[list[Site]]:
        """Model sites grouped by the enumerated dimensions that connect them."""
        components: list[tuple[set[int], list[Site]]] = []
        for site in self.model_sites:
            if not self._is_summed_out(site):
                continue
            dims = _dims(self.log_probs[id(site)], self.model_dims) | (
                {_dim(site)} & self.model_dims
            )
            sites = [site]
            apart = []
            for other_dims, other_sites in components:
                if dims & other_dims:
                    dims, sites = dims | other_dims, other_sites + sites
                else:
                    apart.append((other_dims, other_sites))
            components = [*apart, (dims, sites)]
        return [sites for _, sites in components]

    def _add_component(self, sites: list[Site]) -> None:
        scale = sites[0]["scale"]
        if not all(site["scale"] is scale or _is_one(site["scale"], scale) for site in sites):
            names = ", ".join(site["name"] for site in sites)
            raise ValueError(f"the sites {names} are summed out together: give them one scale")
        joint = reduce(add, [self.log_probs[id(site)] for site in sites])
        dims = sorted(_dims(joint, self.model_dims))
        marginal = joint.logsumexp(dims, keepdim=True) if dims else joint
        cost = -marginal if _is_one(scale) else -marginal * scale
        self.costs[_component_term(sites)].append(cost)

    def _expectation(self, costs: list[Tensor]) -> Tensor:
        """Average over the guide's enumerated sites, then over samples: shape (B,) or ()."""
        total = None
        by_dims: dict[frozenset[int], list[Tensor]] = defaultdict(list)
        for cost in costs:
            by_dims[frozenset(_dims(cost, self.guide_dims))].append(cost)
        for dims, group in by_dims.items():
            cost = reduce(add, group)
            weight = self._log_weight(dims)
            if weight is not None:
                reduced = sorted(_dims(weight, self.guide_dims) | dims)
                cost = (weight.exp() * cost).sum(reduced, keepdim=True)
            cost = _mean_over_samples(cost)
            total = cost if total is None else total + cost
        assert total is not None
        return total

    def _log_weight(self, dims: frozenset[int]) -> Tensor | None:
        """Log q of the enumerated guide sites that the dimensions depend on."""
        needed = set(dims)
        factors: dict[int, Tensor] = {}
        grew = bool(needed)
        while grew:
            grew = False
            for site in self.guide_sites:
                log_q = self.log_probs[id(site)]
                if _dim(site) in needed and id(site) not in factors:
                    factors[id(site)] = log_q
                    needed |= _dims(log_q, self.guide_dims)
                    grew = True
        return reduce(add, factors.values()) if factors else None

    def _assemble(self) -> ElboTerms:
        means = {term: self._expectation(costs) for term, costs in self.costs.items()}
        n_data = _batch_size([*self.guide_sites, *self.model_sites])
        reconstruction = -means.pop(("reconstruction",))
        zero = torch.zeros_like(reconstruction)
        weights = _fade_weights([*self.guide_sites, *self.model_sites], like=zero)
        facets = range(len(weights))
        kl = {
            name: torch.stack([means.pop((name, j), zero).expand_as(zero) for j in facets], -1)
            if facets
            else zero.new_zeros(*zero.shape, 0)
            for name in ("kl_z", "kl_c")
        }
        return ElboTerms(
            reconstruction,
            kl["kl_z"],
            kl["kl_c"],
            weights,
            other={term[1]: cost for term, cost in means.items() if term[0] == "other"},
            shared={term[1]: cost / n_data for term, cost in means.items() if term[0] == "shared"},
        )


def _check(guide_sites: list[Site], model_sites: list[Site]) -> None:
    for site in [*guide_sites, *model_sites]:
        if site["infer"].get("enumerate") == "sequential":
            raise ValueError(
                f'site {site["name"]!r} is enumerated sequentially; mark it "parallel" instead'
            )
    guide_names = {site["name"] for site in guide_sites}
    for site in guide_sites:
        if _dim(site) is None and not site["fn"].has_rsample and not site["is_observed"]:
            raise ValueError(
                f"guide site {site['name']!r} ({type(site['fn']).__name__}) is sampled without "
                'reparameterisation; mark it infer={"enumerate": "parallel"} or use '
                "pyro.infer.TraceEnum_ELBO"
            )
    for site in model_sites:
        latent = not site["is_observed"] and site["name"] not in guide_names
        if latent and _dim(site) is None:
            raise ValueError(
                f"model site {site['name']!r} is neither observed nor in the guide; add it to the "
                'guide or, if it is discrete, mark it infer={"enumerate": "parallel"}'
            )
    if not any(site["is_observed"] for site in model_sites):
        raise ValueError("the model has no observed site; pass the observations with obs=x")


def _sample_sites(trace: poutine.Trace) -> list[Site]:
    return [
        site
        for site in trace.nodes.values()
        if site["type"] == "sample" and not site_is_subsample(site)
    ]


def _log_prob(site: Site) -> Tensor:
    log_prob = site["fn"].log_prob(site["value"])
    mask = site["mask"]
    if mask is None or mask is True:
        return log_prob
    if mask is False:
        return torch.zeros_like(log_prob)
    return torch.where(mask, log_prob, torch.zeros_like(log_prob))


def _dim(site: Site) -> int | None:
    return site["infer"].get("_enumerate_dim")


def _dims(values: Tensor, among: set[int]) -> set[int]:
    return {dim for dim in among if values.dim() >= -dim and values.shape[dim] > 1}


def _is_one(scale: float | Tensor, one: float | Tensor = 1.0) -> bool:
    return not isinstance(scale, Tensor) and not isinstance(one, Tensor) and scale == one


def _in_data_plate(site: Site) -> bool:
    return any(frame.dim == _DATA_DIM for frame in site["cond_indep_stack"])


def _term(site: Site) -> tuple:
    """The term that a site's cost belongs to."""
    if site["is_observed"]:
        return ("reconstruction",)
    facet = site["infer"].get("facet")
    if facet is not None:
        return ("kl_z" if _dim(site) is None else "kl_c", facet)
    return ("other" if _in_data_plate(site) else "shared", site["name"])


def _component_term(sites: list[Site]) -> tuple:
    """The term that a component belongs to, once its clusters have been summed out."""
    facets = {site["infer"]["facet"] for site in sites if "facet" in site["infer"]}
    observed = any(site["is_observed"] for site in sites)
    if len(facets) == 1 and not observed:
        return ("kl_z", facets.pop())
    names = ",".join(site["name"] for site in sites)
    if any("fade" in site["infer"] for site in sites):
        raise ValueError(
            f"the sites {names} are summed out together, so no single facet's fade weight applies; "
            "train this model without fade-in (fade=None) or enumerate them in the guide"
        )
    return ("reconstruction",) if observed else ("other", names)


def _mean_over_samples(cost: Tensor) -> Tensor:
    if cost.dim() > 2:  # enumerated dimensions, each of size 1 by now
        cost = cost.reshape(cost.shape[-2:])
    return cost.mean(0) if cost.dim() == 2 else cost


def _batch_size(sites: list[Site]) -> int:
    frames = [frame for site in sites for frame in site["cond_indep_stack"]]
    return next((frame.size for frame in frames if frame.dim == _DATA_DIM), 1)


def _fade_weights(sites: list[Site], like: Tensor) -> Tensor:
    """The weights that the sites were tagged with, shape (J,); ones where there are none."""
    tagged = {
        site["infer"]["facet"]: site["infer"].get("fade")
        for site in sites
        if "facet" in site["infer"]
    }
    if not tagged:
        return like.new_ones(0)
    weights = [tagged.get(j) for j in range(max(tagged) + 1)]
    if all(weight is None for weight in weights):
        return like.new_ones(len(weights))
    return torch.stack([like.new_ones(()) if weight is None else weight for weight in weights])
