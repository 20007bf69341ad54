"""Log-probability of a site's value, or its expectation under the guide's site in closed form."""

from __future__ import annotations

import torch
from pyro.distributions import Independent, Normal
from torch import Tensor

from pyro_mfcvae.inference.enumeration import ANALYTIC, Site
from pyro_mfcvae.priors.clusters import RelaxedCluster
from pyro_mfcvae.priors.densities import MixtureComponent


def log_prob_of(site: Site, under: Site | None = None) -> Tensor:
    """Log-probability of a site's value, or its expectation under an analytic site of the guide.

    Args:
        site: of the guide or the model.
        under: the guide's site of that name, if it is marked ``analytic``.

    Returns:
        the shape of the site's batch, with the dimensions of what it depends on.

    Raises:
        ValueError: if the expectation has no closed form.
    """
    if under is None:
        log_prob = site["fn"].log_prob(site["value"])
    else:
        log_prob = _expected_log_prob(site, under)
    mask = site["mask"]
    if mask is None or mask is True:
        return log_prob
    if mask is False:
        return torch.zeros_like(log_prob)
    return torch.where(mask, log_prob, torch.zeros_like(log_prob))


def _expected_log_prob(site: Site, under: Site) -> Tensor:
    """E log p over the q of a guide's site, for that site itself or the model's."""
    q, p = under["fn"], site["fn"]
    if isinstance(q, RelaxedCluster):
        return q.expected_log_prob(p)
    normal = q.base_dist if isinstance(q, Independent) else None
    if not isinstance(normal, Normal) or q.event_dim != 1:
        raise ValueError(
            f"guide site {under['name']!r} is marked {ANALYTIC!r}, which needs "
            f"Normal(...).to_event(1) or a RelaxedCluster, got {type(normal or q).__name__}; leave "
            "out the mark"
        )
    if site is under:
        return -q.entropy()
    if isinstance(p, Independent) and isinstance(p.base_dist, Normal) and p.event_dim == 1:
        traces = (normal.scale / p.base_dist.scale).square().sum(-1)
        return p.log_prob(normal.loc) - 0.5 * traces
    if not isinstance(p, MixtureComponent):
        raise ValueError(
            f"guide site {under['name']!r} is marked {ANALYTIC!r}, which needs a MixtureComponent "
            "(MixturePrior.component) or Normal(...).to_event(1) as the model's site, got "
            f"{type(p).__name__}; leave out the mark"
        )
    return p.expected_log_prob(normal.loc, normal.scale)
