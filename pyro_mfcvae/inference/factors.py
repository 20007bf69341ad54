"""From the sites of guide and model to the terms of the ELBO."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import reduce
from operator import add
from typing import Any

import torch
from torch import Tensor

from pyro_mfcvae.inference.enumeration import (
    ANALYTIC,
    DATA_DIM,
    Site,
    enumerated_dim,
    in_data_plate,
    is_analytic,
)
from pyro_mfcvae.inference.expectations import log_prob_of
from pyro_mfcvae.priors.clusters import RelaxedCluster

Term = tuple[str, Any]

_RECONSTRUCTION: Term = ("reconstruction", None)


class Factors:
    """The log-probabilities of all sites, sorted into terms.

    A *cost* is a log-probability with its sign, so that the ELBO is minus the sum of all costs'
    expectations. Sites enumerated in the guide are averaged over with their q; those enumerated
    in the model are summed out, component by component: given z, facets share no factor. Where
    the guide's site is marked ``analytic``, its own log-density and that of the model's site of
    its name are replaced by their expectations over it, in closed form.

    Args:
        guide_sites: sample sites of the guide.
        model_sites: sample sites of the model, run on the guide's values.
    """

    def __init__(self, guide_sites: list[Site], model_sites: list[Site]) -> None:
        self.guide_sites, self.model_sites = guide_sites, model_sites
        self.sites = [*guide_sites, *model_sites]
        analytic = {site["name"]: site for site in guide_sites if is_analytic(site)}
        self.relaxed = {
            name for name, site in analytic.items() if isinstance(site["fn"], RelaxedCluster)
        }
        self.log_probs = {
            id(site): log_prob_of(site, analytic.get(site["name"])) for site in self.sites
        }
        guide_names = {site["name"] for site in guide_sites}
        self.guide_dims = {enumerated_dim(site) for site in guide_sites} - {None}
        self.model_dims = {
            enumerated_dim(site) for site in model_sites if site["name"] not in guide_names
        } - {None}
        self.facets = {
            site["name"]: site["infer"]["facet"] for site in self.sites if "facet" in site["infer"]
        }
        self._check_analytic(analytic)
        self.costs: dict[Term, list[Tensor]] = defaultdict(list)

    def terms(self) -> dict[str, Any]:
        """What :class:`~pyro_mfcvae.inference.elbo.ElboTerms` is made of."""
        self._collect()
        means = {term: self._expectation(costs) for term, costs in self.costs.items()}
        if _RECONSTRUCTION not in means:
            raise ValueError("no observed site is in a plate over observations at dim -1")
        reconstruction = -means.pop(_RECONSTRUCTION)
        zero = torch.zeros_like(reconstruction)
        one, scale = zero.new_ones(()), self._kl_scale()
        fade = self._weights("fade", one)
        if fade is None:
            fade = zero.new_ones(self._n_facets)
        kl_weight = self._weights("kl_weight", one if scale is None else scale)
        if kl_weight is None and scale is not None:
            kl_weight = scale.expand(len(fade))
        n_data = self._batch_size()
        for kind, j in [*means]:
            if kind == "shared_kl":
                shared = means.pop((kind, j)).mean() / n_data
                means["kl_z", j] = means.get(("kl_z", j), zero) + shared
        kl = {
            name: _stack([means.pop((name, j), zero) for j in range(len(fade))], like=zero)
            for name in ("kl_z", "kl_c")
        }
        return {
            "reconstruction": reconstruction,
            **kl,
            "fade": fade,
            "kl_weight": kl_weight,
            "other": {name: cost for (kind, name), cost in means.items() if kind == "other"},
            "kl_scale": scale,
            "shared": {
                name: cost.mean() / n_data
                for (kind, name), cost in means.items()
                if kind == "shared"
            },
            "unscaled": frozenset(
                site["name"]
                for site in self.sites
                if site["is_observed"] and self._term(site)[0] == "shared"
            ),
        }

    def log_weights(self) -> Tensor:
        """Log p(x, z) - log q(z | x) of every sample, shape (S, B); no weights of facets apply.

        Raises:
            ValueError: if the guide enumerates a site: then there is no single q(z | x).
        """
        if self.guide_dims:
            raise ValueError(
                "expected a guide that leaves all clusters to the model, such as enumerate, got "
                "one that enumerates sites of its own"
            )
        self._collect()
        n_data, total = self._batch_size(), 0.0
        for (kind, _), costs in self.costs.items():
            cost = reduce(add, costs)
            total = total - (cost / n_data if kind in ("shared", "shared_kl") else cost)
        total = total.reshape(total.shape[-2:]) if total.dim() > 2 else total
        return total if total.dim() == 2 else total.unsqueeze(0)

    def _collect(self) -> None:
        """Sort the costs of all sites into terms.

        Where facets are summed out together no single one's weight applies, so the guide's side of
        their KL stands beside the model's, under no weight: half a KL with another weight than the
        other half would be no cost at all.
        """
        components = [(self._component_term(sites), sites) for sites in self._components()]
        joint = {
            site["name"]: term
            for term, sites in components
            for site in sites
            if term[0] == "other" and site["name"] in self.facets
        }
        for site in self.guide_sites:
            term = joint.get(site["name"]) or self._term(site)
            self._add(term, self.log_probs[id(site)], site["scale"])
        for site in self.model_sites:
            if not self._summed_dims(site):
                self._add(self._term(site), -self.log_probs[id(site)], site["scale"])
        for term, component in components:
            self._add(term, *self._marginal(component))

    def _add(self, term: Term, cost: Tensor, scale: float | Tensor) -> None:
        unscaled = not isinstance(scale, Tensor) and scale == 1
        self.costs[term].append(cost if unscaled else cost * scale)

    def _term(self, site: Site) -> Term:
        """The term that a site's cost belongs to."""
        if not in_data_plate(site):
            facet = self.facets.get(site["name"])
            return ("shared", site["name"]) if facet is None else ("shared_kl", facet)
        if site["is_observed"]:
            return _RECONSTRUCTION
        if site["name"] in self.facets:
            is_cluster = enumerated_dim(site) is not None or site["name"] in self.relaxed
            return "kl_c" if is_cluster else "kl_z", self.facets[site["name"]]
        return "other", site["name"]

    def _component_term(self, sites: list[Site]) -> Term:
        """The term of a component, once its clusters have been summed out."""
        facets = {self.facets[site["name"]] for site in sites if site["name"] in self.facets}
        observed = any(site["is_observed"] for site in sites)
        if len(facets) == 1 and not observed:
            return "kl_z", facets.pop()
        names = ",".join(site["name"] for site in sites)
        if any("fade" in site["infer"] for site in sites):
            raise ValueError(
                f"the sites {names} are summed out together, so no single facet's fade weight "
                "applies; train this model without fade-in (fade=None) or enumerate them in the "
                "guide"
            )
        if observed and any("kl_scale" in site["infer"] for site in sites):
            raise ValueError(
                f"the sites {names} are summed out together with the observations, so that what "
                "KL terms are multiplied with cannot reach them; leave training.kl_weight and "
                "training.kl_start at 1, or enumerate the clusters in the guide"
            )
        return _RECONSTRUCTION if observed else ("other", names)

    def _check_analytic(self, analytic: Mapping[str, Site]) -> None:
        for site in self.model_sites:
            if site["name"] in analytic and self._summed_dims(site):
                raise ValueError(
                    f"site {site['name']!r} is marked {ANALYTIC!r} in the guide, but its clusters "
                    "are summed out of the model: the expectation of log p(z) has no closed form; "
                    "put the clusters into the guide, or leave out the mark"
                )

    def _summed_dims(self, site: Site) -> set[int]:
        """Dimensions that tie a model site to clusters that are summed out."""
        own = {enumerated_dim(site)} & self.model_dims
        return _dims(self.log_probs[id(site)], self.model_dims) | own

    def _components(self) -> list[list[Site]]:
        """Model sites with summed dimensions, grouped by the dimensions that connect them."""
        components: list[tuple[set[int], list[Site]]] = []
        for site in self.model_sites:
            dims, sites = self._summed_dims(site), [site]
            if not dims:
                continue
            apart = []
            for other_dims, other_sites in components:
                if dims & other_dims:
                    dims, sites = dims | other_dims, other_sites + sites
                else:
                    apart.append((other_dims, other_sites))
            components = [*apart, (dims, sites)]
        return [sites for _, sites in components]

    def _marginal(self, sites: list[Site]) -> tuple[Tensor, float | Tensor]:
        """Cost of a component with its clusters summed out, and its sites' common scale."""
        scale = sites[0]["scale"]
        if not all(_same(site["scale"], scale) for site in sites):
            names = ", ".join(site["name"] for site in sites)
            raise ValueError(
                f"the sites {names} are summed out together: give them one scale, as a number"
            )
        joint = reduce(add, [self.log_probs[id(site)] for site in sites])
        dims = sorted(_dims(joint, self.model_dims))
        return -joint.logsumexp(dims, keepdim=True) if dims else -joint, scale

    def _expectation(self, costs: list[Tensor]) -> Tensor:
        """Average over the guide's enumerated sites, then over samples: shape (B,) or ()."""
        by_dims: dict[frozenset[int], list[Tensor]] = defaultdict(list)
        for cost in costs:
            by_dims[frozenset(_dims(cost, self.guide_dims))].append(cost)
        means = []
        for dims, group in by_dims.items():
            cost = reduce(add, group)
            if dims:
                log_q = self._log_q(dims)
                summed = sorted(_dims(log_q, self.guide_dims) | dims)
                cost = (log_q.exp() * cost).sum(summed, keepdim=True)
            means.append(_mean_over_samples(cost))
        return reduce(add, means)

    def _log_q(self, dims: frozenset[int]) -> Tensor:
        """Log q of the enumerated guide sites that live on these dimensions, or above them."""
        needed, chosen = set(dims), []
        for site in reversed(self.guide_sites):  # a site depends on earlier ones only
            if enumerated_dim(site) in needed:
                chosen.append(self.log_probs[id(site)])
                needed |= _dims(chosen[-1], self.guide_dims)
        return reduce(add, chosen)

    def _batch_size(self) -> int:
        frames = (frame for site in self.sites for frame in site["cond_indep_stack"])
        return next((frame.size for frame in frames if frame.dim == DATA_DIM), 1)

    @property
    def _n_facets(self) -> int:
        return max(self.facets.values(), default=-1) + 1

    def _kl_scale(self) -> Tensor | None:
        """What KL terms that no facet weighs are multiplied with, shape (), if that was set."""
        scales = (site["infer"]["kl_scale"] for site in self.sites if "kl_scale" in site["infer"])
        return next(scales, None)

    def _weights(self, key: str, untagged: Tensor) -> Tensor | None:
        """The weights that the sites were tagged with under a key, shape (J,), if there are any.

        Args:
            key: of the sites' ``infer``.
            untagged: weight of a facet whose sites have none, shape ().
        """
        tagged = {
            site["infer"]["facet"]: site["infer"][key]
            for site in self.sites
            if key in site["infer"]
        }
        if not tagged:
            return None
        return torch.stack([tagged.get(j, untagged) for j in range(self._n_facets)])


def _dims(values: Tensor, among: set[int]) -> set[int]:
    return {dim for dim in among if values.dim() >= -dim and values.shape[dim] > 1}


def _same(a: float | Tensor, b: float | Tensor) -> bool:
    """Whether two scales are one, decided without reading a tensor."""
    numbers = not isinstance(a, Tensor) and not isinstance(b, Tensor)
    return a == b if numbers else a is b


def _mean_over_samples(cost: Tensor) -> Tensor:
    if cost.dim() > 2:  # enumerated dimensions, each of size 1 by now
        cost = cost.reshape(cost.shape[-2:])
    return cost.mean(0) if cost.dim() == 2 else cost


def _stack(costs: list[Tensor], like: Tensor) -> Tensor:
    """J costs (B,) or () -> (B, J)."""
    if not costs:
        return like.new_zeros(*like.shape, 0)
    return torch.stack([cost.expand_as(like) for cost in costs], -1)
