r"""From the sites of guide and model to the terms of the ELBO.

With the clusters C of the guide averaged over and the clusters M of the model summed out,

.. math::
    \mathcal L(x) = \frac1S \sum_s \sum_{c \in C} q(c \mid x) \Big[
        \log \sum_{m \in M} p(x, z^{(s)}, c, m) - \log q(z^{(s)}, c \mid x) \Big]

Given z the facets share no factor, so that the inner sum falls apart into components, and the ELBO
into terms: each site's log-probability, or a component's, is a *cost* of one term, with its sign,
and the ELBO is minus the sum of all costs' expectations. Where a site of the guide is marked
``analytic``, its own log-density and that of the model's site of its name are replaced by their
expectations over it, in closed form. Source: MFCVAE, Eq. 14 and Appendix C.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add

from torch import Tensor

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.sites import (
    ANALYTIC,
    DATA_DIM,
    Site,
    enumerated_dim,
    in_data_plate,
    is_analytic,
    log_prob_of,
)
from pyro_mfcvae.priors.clusters import RelaxedCluster

Term = tuple[str, int | str]
"""What a cost belongs to: kind, and facet or sites."""

RECONSTRUCTION: Term = ("reconstruction", "")
_SHARED = ("shared", "shared_kl")  # kinds of terms that the batch has once


@dataclass(frozen=True, eq=False)
class _Programs:
    """The sites of both programs, and what follows from them together.

    Attributes:
        guide: sample sites of the guide.
        model: sample sites of the model, run on the guide's values.
        log_probs: {id of a site: its log-probability, or the expectation that takes its place}.
        guide_dims: dimensions along which the guide's sites are enumerated.
        model_dims: dimensions along which sites are enumerated that only the model has.
        facets: {name: facet} of the sites that are labelled with one.
        relaxed: names of relaxed clusters.
        n_data: B.
    """

    guide: Sequence[Site]
    model: Sequence[Site]
    log_probs: dict[int, Tensor]
    guide_dims: set[int]
    model_dims: set[int]
    facets: dict[str, int]
    relaxed: set[str]
    n_data: int

    def summed_dims(self, site: Site) -> set[int]:
        """Dimensions that tie a model site to clusters that are summed out."""
        own = {dim for dim in self.model_dims if dim == enumerated_dim(site)}
        return _dims(self.log_probs[id(site)], self.model_dims) | own


def expected_costs(guide: Sequence[Site], model: Sequence[Site]) -> dict[Term, Tensor]:
    """Expectations of the costs of each term: (B,), or () of what the batch has once, over B.

    Args:
        guide: sample sites of the guide.
        model: sample sites of the model, run on the guide's values.

    Raises:
        ValueError: if the expectation of an analytic site has no closed form, or sites that are
            summed out together are weighed with the fade weights of one facet.
        ConfigError: if the guide infers clusters apart that depend on each other.
    """
    programs = _programs(guide, model)
    means = {term: _expectation(costs, programs) for term, costs in _costs(programs).items()}
    return {
        term: mean.mean() / programs.n_data if term[0] in _SHARED else mean
        for term, mean in means.items()
    }


def sample_log_weights(guide: Sequence[Site], model: Sequence[Site]) -> Tensor:
    """Log p(x, z) - log q(z | x) of every sample, shape (S, B); no weights of facets apply.

    Args:
        guide: as for :func:`expected_costs`.
        model: likewise.

    Raises:
        ValueError: if the guide enumerates a site: then there is no single q(z | x).
    """
    programs = _programs(guide, model)
    if programs.guide_dims:
        raise ValueError(
            "expected a guide that leaves all clusters to the model, such as enumerate, got one "
            "that enumerates sites of its own"
        )
    total: float | Tensor = 0.0
    for (kind, _), costs in _costs(programs).items():
        cost = reduce(add, costs)
        total = total - (cost / programs.n_data if kind in _SHARED else cost)
    assert isinstance(total, Tensor)
    total = total.reshape(total.shape[-2:]) if total.dim() > 2 else total
    return total if total.dim() == 2 else total.unsqueeze(0)


def sites_summed_with_observations(guide: Sequence[Site], model: Sequence[Site]) -> list[str]:
    """Names of clusters without a KL of their own: they are summed out with the observations."""
    programs = _programs(guide, model)
    return [
        site["name"]
        for sites in _components(programs)
        if any(site["is_observed"] for site in sites)
        for site in sites
        if not site["is_observed"]
    ]


def _programs(guide: Sequence[Site], model: Sequence[Site]) -> _Programs:
    sites = [*guide, *model]
    analytic = {site["name"]: site for site in guide if is_analytic(site)}
    names = {site["name"] for site in guide}
    frames = (frame for site in sites for frame in site["cond_indep_stack"])
    programs = _Programs(
        guide=guide,
        model=model,
        log_probs={id(site): log_prob_of(site, analytic.get(site["name"])) for site in sites},
        guide_dims=_enumerated_sites(guide),
        model_dims=_enumerated_sites(site for site in model if site["name"] not in names),
        facets={site["name"]: site["infer"]["facet"] for site in sites if "facet" in site["infer"]},
        relaxed={n for n, site in analytic.items() if isinstance(site["fn"], RelaxedCluster)},
        n_data=next((frame.size for frame in frames if frame.dim == DATA_DIM), 1),
    )
    for site in model:
        if site["name"] in analytic and programs.summed_dims(site):
            raise ValueError(
                f"site {site['name']!r} is marked {ANALYTIC!r} in the guide, but its clusters "
                "are summed out of the model: the expectation of log p(z) has no closed form; "
                "put the clusters into the guide, or leave out the mark"
            )
        _check_apart(programs, site)
    return programs


def _check_apart(programs: _Programs, site: Site) -> None:
    """Refuse a q that is made for independent clusters where a density of the model ties them."""
    dims = _dims(programs.log_probs[id(site)], programs.guide_dims)
    tied = [each for each in programs.guide if enumerated_dim(each) in dims]
    if len(tied) > 1 and any(each["infer"].get("apart") for each in tied):
        names = ", ".join(each["name"] for each in tied)
        raise ConfigError(
            f"the clusters {names} depend on each other in the model (site {site['name']!r}), and "
            "this guide infers each from its own mixture; choose guide enumerate or amortized, or "
            "infer them together in sample_posterior, as examples/hierarchical_facets.py does"
        )


def _enumerated_sites(sites: Iterable[Site]) -> set[int]:
    dims = (enumerated_dim(site) for site in sites)
    return {dim for dim in dims if dim is not None}


def _costs(programs: _Programs) -> dict[Term, list[Tensor]]:
    """The costs of all sites by their terms.

    Where facets are summed out together no single one's weight applies, so the guide's side of
    their KL stands beside the model's, under no weight: half a KL with another weight than the
    other half would be no cost at all.
    """
    costs: dict[Term, list[Tensor]] = defaultdict(list)
    components = [(_component_term(programs, sites), sites) for sites in _components(programs)]
    joint = {
        site["name"]: term
        for term, sites in components
        for site in sites
        if term[0] == "other" and site["name"] in programs.facets
    }
    for site in programs.guide:
        term = joint.get(site["name"]) or _term(programs, site)
        costs[term].append(_cost(programs, site, programs.log_probs[id(site)]))
    for site in programs.model:
        if not programs.summed_dims(site):
            cost = _cost(programs, site, -programs.log_probs[id(site)])
            costs[_term(programs, site)].append(cost)
    for term, sites in components:
        costs[term].append(_scale(*_marginal(programs, sites)))
    return costs


def _cost(programs: _Programs, site: Site, log_prob: Tensor) -> Tensor:
    """The cost of a site by itself; what the batch observes once is shared out evenly."""
    cost = _scale(log_prob, site["scale"])
    is_shared = not in_data_plate(site) and _term(programs, site) == RECONSTRUCTION
    return cost / programs.n_data if is_shared else cost


def _scale(cost: Tensor, scale: float | Tensor) -> Tensor:
    return cost if not isinstance(scale, Tensor) and scale == 1 else cost * scale


def _term(programs: _Programs, site: Site) -> Term:
    """The term that a site's cost belongs to."""
    name = site["name"]
    facet = programs.facets.get(name)
    if not in_data_plate(site) and facet is not None:
        return "shared_kl", facet
    if site["is_observed"]:
        return RECONSTRUCTION
    if not in_data_plate(site):
        return "shared", name
    if facet is None:
        return "other", name
    is_cluster = enumerated_dim(site) is not None or name in programs.relaxed
    return "kl_c" if is_cluster else "kl_z", facet


def _component_term(programs: _Programs, sites: Sequence[Site]) -> Term:
    """The term of a component, once its clusters have been summed out."""
    facets = {programs.facets[site["name"]] for site in sites if site["name"] in programs.facets}
    observed = any(site["is_observed"] for site in sites)
    if len(facets) == 1 and not observed:
        return "kl_z", facets.pop()
    names = ",".join(site["name"] for site in sites)
    if any("fade" in site["infer"] for site in sites):
        raise ValueError(
            f"the sites {names} are summed out together, so no single facet's fade weight "
            "applies; enumerate them in the guide, or label them with their facets alone: "
            'infer={"facet": j} in place of the fade-in handler'
        )
    return RECONSTRUCTION if observed else ("other", names)


def _components(programs: _Programs) -> list[list[Site]]:
    """Model sites with summed dimensions, grouped by the dimensions that connect them."""
    components: list[tuple[set[int], list[Site]]] = []
    for site in programs.model:
        dims, sites = programs.summed_dims(site), [site]
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


def _marginal(programs: _Programs, sites: Sequence[Site]) -> tuple[Tensor, float | Tensor]:
    """Cost of a component with its clusters summed out, and its sites' common scale."""
    scale = sites[0]["scale"]
    if not all(_same(site["scale"], scale) for site in sites):
        names = ", ".join(site["name"] for site in sites)
        raise ValueError(
            f"the sites {names} are summed out together: give them one scale, as a number"
        )
    joint = reduce(add, [programs.log_probs[id(site)] for site in sites])
    dims = sorted(_dims(joint, programs.model_dims))
    return -joint.logsumexp(dims, keepdim=True) if dims else -joint, scale


def _expectation(costs: Sequence[Tensor], programs: _Programs) -> Tensor:
    """Average over the guide's enumerated sites, then over samples: shape (B,) or ()."""
    by_dims: dict[frozenset[int], list[Tensor]] = defaultdict(list)
    for cost in costs:
        by_dims[frozenset(_dims(cost, programs.guide_dims))].append(cost)
    means = []
    for dims, group in by_dims.items():
        cost = reduce(add, group)
        if dims:
            log_q = _log_q(dims, programs)
            summed = sorted(_dims(log_q, programs.guide_dims) | dims)
            cost = (log_q.exp() * cost).sum(summed, keepdim=True)
        means.append(_mean_over_samples(cost))
    return reduce(add, means)


def _log_q(dims: Iterable[int], programs: _Programs) -> Tensor:
    """Log q of the enumerated guide sites that live on these dimensions, or above them."""
    needed, chosen = set(dims), []
    for site in reversed(programs.guide):  # a site depends on earlier ones only
        if enumerated_dim(site) in needed:
            chosen.append(programs.log_probs[id(site)])
            needed |= _dims(chosen[-1], programs.guide_dims)
    return reduce(add, chosen)


def _dims(values: Tensor, among: set[int]) -> set[int]:
    return {dim for dim in among if values.dim() >= -dim and values.shape[dim] > 1}


def _same(a: float | Tensor, b: float | Tensor) -> bool:
    """Whether two scales are one, decided without reading a tensor."""
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return a is b
    return a == b


def _mean_over_samples(cost: Tensor) -> Tensor:
    if cost.dim() > 2:  # enumerated dimensions, each of size 1 by now
        cost = cost.reshape(cost.shape[-2:])
    return cost.mean(0) if cost.dim() == 2 else cost
