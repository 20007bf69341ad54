"""The sites of guide and model: run, enumerated, labelled with facets, and their densities."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.distributions import Independent, Normal
from pyro.poutine.messenger import Messenger
from pyro.poutine.runtime import InferDict, Message, effectful
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from pyro_mfcvae.inference.threads import one_thread
from pyro_mfcvae.priors.clusters import RelaxedCluster
from pyro_mfcvae.priors.densities import MixtureComponent

Site = Mapping[str, Any]
Arguments = tuple[Any, ...]
Program = Callable[..., Any]

DATA_DIM, SAMPLES_DIM = -1, -2
_WITHOUT_A_PLATE = {
    DATA_DIM: 'write it below "with pyro.plate("data", len(x), dim=-1):"',
    SAMPLES_DIM: "make dimensions of an observation part of the event with .to_event(1)",
}
ANALYTIC = "analytic"
"""Mark in the ``infer`` of a guide's normal site: take expectations in closed form."""
CLOSED_FORM = cast(InferDict, {ANALYTIC: True})  # Pyro's type has Pyro's own keys only

_SAMPLES = "samples"


def run_programs(
    model: Program, guide: Program, n_samples: int, args: Arguments, kwargs: Mapping[str, Any]
) -> tuple[list[Site], list[Site]]:
    """Run the guide, then the model on the guide's values.

    Args:
        model: Pyro program.
        guide: Pyro program.
        n_samples: S; above 1 both run in a plate ``samples`` at dim -2.
        args: of both programs.
        kwargs: of both programs.

    Returns:
        the sample sites of the guide and of the model.

    Raises:
        ValueError: if a latent site is neither sampled with a gradient nor enumerated.
    """
    enumerated = Enumerate()
    guide_sites = _run(guide, n_samples, args, kwargs, enumerated)
    model_sites = _run(model, n_samples, args, kwargs, enumerated, Replay(guide_sites))
    _check(guide_sites, model_sites)
    return guide_sites, model_sites


def run_guide(
    guide: Program, n_samples: int, args: Arguments, kwargs: Mapping[str, Any]
) -> list[Site]:
    """Run a guide alone, as :func:`run_programs` does; returns its sample sites."""
    return _run(guide, n_samples, args, kwargs, Enumerate())


def _run(
    program: Program,
    n_samples: int,
    args: Arguments,
    kwargs: Mapping[str, Any],
    *handlers: Messenger,
) -> list[Site]:
    """Sample sites of a program under handlers, the first of which stands outermost."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(one_thread())
        stack.enter_context(LeaveUnscaled())
        recorded = stack.enter_context(poutine.trace())
        for handler in handlers:
            stack.enter_context(handler)
        if n_samples > 1:
            stack.enter_context(pyro.plate(_SAMPLES, n_samples, dim=SAMPLES_DIM))
        program(*args, **kwargs)
    return _sample_sites(recorded.trace)


@effectful(type="fade_scaling")
def _scales_sites() -> bool:
    """Whether a faded site's scale is multiplied with its weight; handlers outside may say no."""
    return True


class Fade(Messenger):
    """Gives the sites inside it to facet j and weighs them with alpha_j.

    The site's ``infer`` gets the labels ``facet`` and ``fade``. Under any of Pyro's objectives the
    site's scale is multiplied with the weight as well. Under
    :class:`~pyro_mfcvae.inference.elbo.FacetELBO` it is not: that objective keeps the terms it
    reports unweighted, and weighs them itself. Unlike ``pyro.poutine.scale`` this allows a weight
    of 0.

    Args:
        facet: j.
        weight: alpha_j, a tensor of shape () on the model's device; None labels with the facet
            only.
    """

    def __init__(self, facet: int, weight: Tensor | None = None) -> None:
        super().__init__()
        self.facet = facet
        self.weight = weight

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        msg["infer"]["facet"] = self.facet
        if self.weight is None:
            return
        msg["infer"]["fade"] = self.weight
        if _scales_sites():
            msg["scale"] = msg["scale"] * self.weight


class LeaveUnscaled(Messenger):
    """Has :class:`Fade` label sites and leave their scale: the objective weighs its terms."""

    def _pyro_fade_scaling(self, msg: dict[str, Any]) -> None:
        msg["value"] = False
        msg["done"] = True


class Enumerate(Messenger):
    """Enumerates marked sites along new dimensions, from -3 to the left.

    One handler serves guide and model, so that their dimensions differ. Unlike Pyro's it never
    reads a value, which lets whole programs run under ``torch.func.vmap``.
    """

    def __init__(self) -> None:
        super().__init__()
        self.n_sites = 0

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if msg["done"] or msg["is_observed"] or msg["infer"].get("enumerate") != "parallel":
            return
        dim = SAMPLES_DIM - 1 - self.n_sites
        self.n_sites += 1
        fn = msg["fn"]
        support = fn.enumerate_support(expand=False)
        value = support.reshape(support.shape[:1] + (1,) * (-1 - dim) + fn.event_shape)
        if hasattr(support, "_pyro_categorical_support"):
            value._pyro_categorical_support = id(fn)
        msg["infer"]["_enumerate_dim"] = dim
        msg["value"] = value
        msg["done"] = True


class Replay(Messenger):
    """Gives the model the guide's values, and leaves the model's own marks on its sites."""

    def __init__(self, guide_sites: Iterable[Site]) -> None:
        super().__init__()
        self.sites = {site["name"]: site for site in guide_sites}

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        site = self.sites.get(msg["name"])
        if site is None or msg["is_observed"]:
            return
        msg["value"] = site["value"]
        msg["done"] = True
        if "_enumerate_dim" in site["infer"]:
            msg["infer"]["_enumerate_dim"] = site["infer"]["_enumerate_dim"]


def is_analytic(site: Site) -> bool:
    """Whether log-densities of a guide's site are averaged over its q in closed form."""
    return bool(site["infer"].get(ANALYTIC))


def enumerated_dim(site: Site) -> int | None:
    """The dimension along which a site is enumerated, if it is."""
    return site["infer"].get("_enumerate_dim")


def _sample_sites(trace: poutine.Trace) -> list[Site]:
    return [
        site
        for site in trace.nodes.values()
        if site["type"] == "sample" and not site_is_subsample(site)
    ]


def _check(guide_sites: list[Site], model_sites: list[Site]) -> None:
    for site in [*guide_sites, *model_sites]:
        if site["infer"].get("enumerate") == "sequential":
            raise ValueError(
                f'site {site["name"]!r} is enumerated sequentially; mark it "parallel" instead'
            )
    guide_names = {site["name"] for site in guide_sites}
    _check_plates([*guide_sites, *model_sites])
    for site in guide_sites:
        if enumerated_dim(site) is None and not site["fn"].has_rsample and not site["is_observed"]:
            raise ValueError(
                f"guide site {site['name']!r} ({type(site['fn']).__name__}) is sampled without "
                'reparameterisation; mark it infer={"enumerate": "parallel"} or use '
                "pyro.infer.TraceEnum_ELBO"
            )
    for site in model_sites:
        latent = not site["is_observed"] and site["name"] not in guide_names
        if latent and enumerated_dim(site) is None:
            raise ValueError(
                f"model site {site['name']!r} is neither observed nor in the guide; add it to the "
                'guide or, if it is discrete, mark it infer={"enumerate": "parallel"}'
            )
        if latent and not in_data_plate(site):
            raise ValueError(
                f"model site {site['name']!r} is summed out but stands outside the plate over "
                "observations, which all share it; put it into the guide"
            )
    if not any(site["is_observed"] for site in model_sites):
        raise ValueError("the model has no observed site; pass the observations with obs=x")


def _check_plates(sites: list[Site]) -> None:
    frames = [(site["name"], frame) for site in sites for frame in site["cond_indep_stack"]]
    sizes = {frame.size for _, frame in frames if frame.dim == DATA_DIM}
    if len(sizes) > 1:
        raise ValueError(f"all observations must be in plates of one size, got {sorted(sizes)}")
    for site in sites:
        shape, dims = site["fn"].batch_shape, {frame.dim for frame in site["cond_indep_stack"]}
        for dim, remedy in _WITHOUT_A_PLATE.items():
            if len(shape) >= -dim and shape[dim] > 1 and dim not in dims:
                raise ValueError(
                    f"site {site['name']!r} has batch shape {tuple(shape)} and is in no plate at "
                    f"dim {dim}; {remedy}"
                )
    for name, frame in frames:
        own = frame.dim == SAMPLES_DIM and frame.name == _SAMPLES
        if frame.dim != DATA_DIM and not own:
            raise ValueError(
                f"site {name!r} is in plate {frame.name!r} at dim {frame.dim}; only a plate over "
                "observations at dim -1 is allowed: make further dimensions part of the event with "
                ".to_event(), or use pyro.infer.TraceEnum_ELBO"
            )


def in_data_plate(site: Site) -> bool:
    """Whether a site has one value per observation."""
    return any(frame.dim == DATA_DIM for frame in site["cond_indep_stack"])


class ScaleShared(Messenger):
    """Scales what the batch has once: sites outside of the plate over observations.

    Several processes that share a batch each run the whole program on their part of it.

    Args:
        scale: such as one over the number of processes.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        if not in_data_plate(msg) and not site_is_subsample(cast(Message[..., Any], msg)):
            msg["scale"] = msg["scale"] * self.scale


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
