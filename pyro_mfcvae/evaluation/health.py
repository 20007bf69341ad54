r"""What is wrong with a model, by numbers that need no labels.

What a latent tells of an observation is at most

.. math::
    I(x; z) \le \tfrac12 \sum_d \Big( \log \big( \mathrm{Var}_x\, m_d(x) + E_x\, s_d(x)^2 \big)
    - E_x \log s_d(x)^2 \Big)

with q(z | x) = N(m(x), diag s(x)^2), as no density of this variance has more entropy than the
normal one. The KL of z and c is no less than I(x; z), but need not be near 0 in a dead facet: with
fixed weights it is log K where all observations are in one cluster.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.data.observations import Observations, as_float, spread
from pyro_mfcvae.evaluation.accuracies import redundancy
from pyro_mfcvae.evaluation.predictions import encode_batches
from pyro_mfcvae.findings import Finding, Kind
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.checks import LARGE, STANDARDISE, STEADY

N_EXAMINED = 2000  # observations, which tell shares to about one percent

_DEAD = 0.1  # nats; two clusters of equal size are 0.69
_COLLAPSED = 0.95  # share of one cluster: what is left is no partition
_EMPTY = 0.8  # share of the clusters; the default job leaves 0.75 empty and does better for it
_UNSURE = 0.3  # from 0, where all clusters are as probable, to 1; a hundred of them need time
SAME = 0.8  # NMI; different starts of one facet have less
_EXPLODING = 100.0  # standard deviation of a latent, which starts at about 1
_NOISY = 3.0  # noise over the data's standard deviation; a decoder that gives the mean has 1


@dataclass(frozen=True)
class Vitals:
    """Numbers of one facet.

    Attributes:
        has_clusters: whether there are any by design.
        fade: its fade weight.
        information: what z tells of an observation at most, in nats.
        n_clusters: K.
        n_used: clusters with an observation.
        largest: share of the observations in the largest cluster.
        sureness: mean probability of the observations' own clusters.
        scale: largest standard deviation of q(z | x) and of the clusters in use.
        may_be_empty: whether the prior is there to switch clusters off.
    """

    has_clusters: bool = True
    fade: float = 1.0
    information: float = math.inf
    n_clusters: int = 2
    n_used: int = 2
    largest: float = 0.5
    sureness: float = 1.0
    scale: float = 1.0
    may_be_empty: bool = False


def find_illnesses(
    facets: Sequence[Vitals], redundancy: NDArray[np.floating], noise: float = 0.0
) -> list[Finding]:
    """What is wrong, and what to change.

    Nothing is said of a facet that is not faded in, and of clusters where there are none by design.
    Of what follows from each other the cause is told.

    Args:
        facets: shallow first.
        redundancy: NMI of the facets' clusters, (J, J).
        noise: standard deviation of p(x | z) over that of the data; 0 where it is not learnt.
    """
    numbers = [x for v in facets for x in (v.information, v.sureness, v.scale)]
    if any(map(math.isnan, (*numbers, noise))) or any(math.isinf(v.scale) for v in facets):
        return [Finding("not finite", (), f"latents or clusters are no longer finite: {STEADY}")]
    found: list[Finding] = []
    partitions = []
    for j, own in enumerate(facets):
        if own.fade < 1:
            continue
        if own.scale > _EXPLODING:
            found.append(
                _of(
                    "exploding",
                    j,
                    f"standard deviations of its latents go up to {own.scale:.3g}: lower "
                    "training.learning_rate and training.mixture_learning_rate",
                )
            )
        if not own.has_clusters:
            continue
        illness = _illness(j, own)
        if illness is not None:
            found.append(illness)
        if illness is None or illness.kind not in ("dead", "collapsed"):
            partitions.append(j)
    found += [
        Finding(
            "same",
            (i, j),
            f"facets {i} and {j} say nearly the same (NMI {redundancy[i, j]:.2f}): leave one out, "
            "give the deep one a start (an entry of training.epochs_per_step for each facet), or "
            "make their latents of other sizes",
        )
        for i in partitions
        for j in partitions
        if i < j and redundancy[i, j] > SAME
    ]
    if noise > _NOISY:
        sentence = (
            f"the noise of p(x | z) is {noise:.3g} times the standard deviation of the data: lower "
            "training.learning_rate, or give model.likelihood.options.scale without learn_scale"
        )
        found.append(Finding("exploding", (), sentence))
    return found


def _illness(j: int, own: Vitals) -> Finding | None:
    """What is wrong with the clusters of a facet."""
    k = own.n_clusters
    if own.information < _DEAD:
        return _of(
            "dead",
            j,
            f"it is dead, its latent tells {max(own.information, 0):.2f} nats of an observation: "
            "leave the facet out, lower training.kl_weight, or start with a low one "
            "(training.kl_start and training.kl_warm_up)",
        )
    if own.n_used == 1 or own.largest > _COLLAPSED:
        return _of(
            "collapsed",
            j,
            f"{100 * own.largest:.0f} % of the observations are in one of {k} clusters: fit its "
            "mixture anew while it trains (training.refit_mixtures), lower training.kl_weight, or "
            "leave the facet out",
        )
    if not own.may_be_empty and k - own.n_used > _EMPTY * k:
        return _of(
            "empty",
            j,
            f"{k - own.n_used} of {k} clusters have no observations: give it fewer "
            f"(n_clusters, about {own.n_used})",
        )
    if own.sureness < 1 / k + _UNSURE * (1 - 1 / k):
        return _of(
            "unsure",
            j,
            f"observations belong to their clusters with a probability of {own.sureness:.2f} only: "
            "give it fewer clusters or more latent dimensions, or train longer",
        )
    return None


def _of(kind: Kind, j: int, what: str) -> Finding:
    return Finding(kind, (j,), f"facet {j}: {what}")


def examine(
    model: FacetModel, x: Observations, fade: Sequence[float] | None = None
) -> list[Finding]:
    """What is wrong with a model, by what it says of observations (N, *event).

    No noise is drawn, and the model stays as it is.

    Args:
        model: the model.
        x: observations, of which 2,000 are taken, evenly spread.
        fade: weights of the facets; None takes the model's.
    """
    x = spread(x, N_EXAMINED)
    parts = [
        (posteriors, model.assign(batch, [q.mean for q in posteriors]))
        for batch, posteriors in encode_batches(model, x)
    ]
    fade = model.fade.tolist() if fade is None else fade
    facets, clusters = [], []
    for j, stated in enumerate(model.structure.facets):
        r = torch.cat([assigned[j] for _, assigned in parts])
        own, own_clusters = r.max(1)
        shares = torch.bincount(own_clusters, minlength=stated.n_clusters) / len(r)
        variances = torch.cat([posteriors[j].variance for posteriors, _ in parts])
        means = torch.cat([posteriors[j].mean for posteriors, _ in parts])
        components = model.facets[j].at_origin().scale_tril.detach()[shares > 0]
        clusters.append(own_clusters.cpu().numpy())
        facets.append(
            Vitals(
                has_clusters=stated.has_clusters,
                fade=fade[j],
                information=_information(means, variances),
                n_clusters=stated.n_clusters,
                n_used=int((shares > 0).sum()),
                largest=float(shares.max()),
                sureness=float(own.mean()),
                may_be_empty=model.facets[j].n_observations is not None,
                scale=max(_largest(variances.mean(0)), _largest(components.square().sum(-1))),
            )
        )
    same = np.array([[redundancy(a, b) for b in clusters] for a in clusters])
    noise = model.likelihood.noise(as_float(x).to(model.fade.device))
    return find_illnesses(facets, same, 0.0 if noise is None else float(noise.detach().max()))


def examine_elbo(elbo: Mapping[str, float], observation: ObservationSpec) -> list[Finding]:
    """Whether the ELBO of a part of the data is no number, and what to change.

    Args:
        elbo: of each part.
        observation: what one observation looks like.
    """
    parts = [
        f"{value} of the {part} part" for part, value in elbo.items() if not math.isfinite(value)
    ]
    if not parts:
        return []
    largest = max(-observation.low, observation.high)
    cause = (
        f"values of x go up to {largest:,.6g}; leave such observations out, or {STANDARDISE}"
        if largest > LARGE
        else STEADY
    )
    return [Finding("not finite", (), f"the ELBO is {' and '.join(parts)}: {cause}")]


def _information(means: Tensor, variances: Tensor) -> float:
    """What a latent tells of x at most, in nats; of q(z | x) means and variances, (N, D)."""
    between = means.double().var(0, correction=0)
    variances = variances.double()
    return float(0.5 * ((between + variances.mean(0)).log() - variances.log().mean(0)).sum())


def _largest(variances: Tensor) -> float:
    return float(variances.max().sqrt())
