"""Which facets, clusters and latents suit the data: a ranking that no label has a part in.

Each candidate is trained from several starts, of which the one with the best held-out ELBO stands
for it. With e_i(n) the ELBO of held-out row n under candidate i, and b the candidate whose mean is
the best,

    behind_i = mean_n (e_b(n) - e_i(n)),    SE_i = sd_n (e_b(n) - e_i(n)) / sqrt(N).

The differences are paired: how hard a row is for every candidate cancels. Candidates with a fault
come last. Of the others those with behind_i <= SE_i count as good as the best (one-standard-error
rule; Hastie, Tibshirani and Friedman, "The Elements of Statistical Learning", Section 7.10), and
the simplest of them is recommended.

That other starts do not find a facet again is told, and is no fault: they may be the ones that
failed. On penguins one start in four gave the years of the counting a facet, 1.4 nats ahead.

The bound pays for clusters that are too many. It does not pay for a second facet, as one facet with
more latents describes the same rows: so the first candidate of every J is named, too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pyro_mfcvae.config import Config, config_to_dict
from pyro_mfcvae.evaluation.accuracies import normalized_mutual_information
from pyro_mfcvae.evaluation.health import SAME

_UNSTABLE = 0.2  # NMI of a facet with its match in other starts

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Candidate:
    """Settings that were trained from several starts, and what came out.

    Attributes:
        n_clusters: K of each facet, (J,).
        latent_dim: D of each facet, (J,).
        elbo: of the best start's held-out rows, (N,), in nats.
        starts: mean held-out ELBO of every start.
        stability: of each facet, (J,), as of :func:`matched`; NaN with one start.
        redundancy: NMI of the facets' clusters with each other, (J, J).
        used: clusters with rows in each facet, (J,).
        density: what the ELBO is of: the likelihood and the units of the rows.
    """

    n_clusters: tuple[int, ...]
    latent_dim: tuple[int, ...]
    elbo: Array
    starts: Sequence[float]
    stability: Array
    redundancy: Array
    used: tuple[int, ...]
    density: str = ""

    @property
    def n_empty(self) -> int:
        """Clusters without rows."""
        return sum(self.n_clusters) - sum(self.used)

    @property
    def size(self) -> tuple[int, int, float]:
        """How complex it is: clusters in use, latents, and then how unstable."""
        stability = 0.0 if np.isnan(self.stability).any() else float(self.stability.mean())
        return sum(self.used), sum(self.latent_dim), -stability

    @property
    def ills(self) -> list[str]:
        """What is wrong with it, in words; nothing where all is well."""
        found = [] if np.isfinite(self.elbo).all() else ["its held-out ELBO is not finite"]
        for j, (k, used) in enumerate(zip(self.n_clusters, self.used, strict=True)):
            if k > 1 and used == 1:
                found.append(f"facet {j} has all rows in one cluster")
            found += [
                f"facets {i} and {j} say the same (NMI {self.redundancy[i, j]:.2f})"
                for i in range(j)
                if used > 1 and self.redundancy[i, j] > SAME
            ]
        return found

    @property
    def doubts(self) -> list[str]:
        """Facets that other starts do not find again, in words."""
        return [
            f"other starts do not find facet {j} again (NMI {stable:.2f})"
            for j, stable in enumerate(self.stability)
            if stable < _UNSTABLE
        ]


@dataclass(frozen=True, eq=False)
class Ranked:
    """A candidate in its place.

    Attributes:
        candidate: the candidate.
        label: what tells it from the others, such as ``(6, 4)``.
        behind: nats a row that its mean held-out ELBO lies below the best one, and
        standard_error: of that.
        verdict: why it has its place, in words.
    """

    candidate: Candidate
    label: str
    behind: float
    standard_error: float
    verdict: str


@dataclass(frozen=True, eq=False)
class Ranking:
    """Candidates in order.

    Attributes:
        rows: the recommended one first.
        order: their places in what :func:`rank` was given.
        recommendation: the first one and the reasons, in words.
    """

    rows: tuple[Ranked, ...]
    order: tuple[int, ...]
    recommendation: str


def density_of(config: Config) -> str:
    """What the ELBO of a model is of, as far as its settings say it."""
    return json.dumps(config_to_dict(config)["model"]["likelihood"])


def rank(candidates: Sequence[Candidate]) -> Ranking:
    """Put candidates in order: the best first that their held-out rows can tell.

    Raises:
        ValueError: if there are none, or their bounds cannot be compared: of other likelihoods, of
            values in other units, or of other rows.
    """
    if not candidates:
        raise ValueError("expected at least one candidate, got none")
    labels = _labels(candidates)
    for one, label in zip(candidates, labels, strict=True):
        for what, own, first in (
            ("rows held out", len(one.elbo), len(candidates[0].elbo)),
            ("density", one.density, candidates[0].density),
        ):
            if own != first:
                raise ValueError(
                    f"the held-out ELBO of {label} is not comparable with that of {labels[0]}: "
                    f"{what}: {own}, not {first}; rank them apart"
                )
    ills = [one.ills for one in candidates]
    well = [i for i, found in enumerate(ills) if not found] or [*range(len(candidates))]
    best = max(well, key=lambda i: candidates[i].elbo.mean())
    behind, error = np.transpose([_behind(one, candidates[best]) for one in candidates])
    close = [i for i in well if behind[i] <= error[i]]
    chosen = min(close, key=lambda i: candidates[i].size)

    def verdict(i: int) -> str:
        one, fault = candidates[i], " and ".join(ills[i])
        gap = f"{behind[i]:.2f} ± {error[i]:.2f} nats a row behind"
        size = f"{sum(one.used)} clusters in use and {sum(one.latent_dim)} latents"
        if i == chosen:
            why = "its held-out ELBO is the best"
            if i != best:
                why = (
                    "its held-out ELBO is within one standard error of the best "
                    f"({gap} {labels[best]}), and it is the simplest of these ({size})"
                )
            return f"{why}; yet it has a fault: {fault}" if fault else why
        if fault:
            return f"has a fault: {fault}"
        if i not in close:
            return f"is {gap}"
        why = "has the best held-out ELBO" if i == best else "is as good within one standard error"
        return (
            f"{why}, but {f'leaves {one.n_empty} clusters empty' if one.n_empty else f'has {size}'}"
        )

    def place(i: int) -> tuple[bool, bool, bool, float]:
        return i != chosen, i not in well, i not in close, behind[i]

    order = sorted(range(len(candidates)), key=place)
    rows = tuple(
        Ranked(
            candidates[i],
            labels[i],
            float(behind[i]),
            float(error[i]),
            "; ".join([verdict(i), *candidates[i].doubts]),
        )
        for i in order
    )
    said = [f"{rows[0].label}: {rows[0].verdict}"]
    leads: dict[int, str] = {}
    for row in rows:
        leads.setdefault(len(row.candidate.n_clusters), row.label)
    said += [f"The first of those with J = {j} is {leads[j]}" for j in [*leads][1:]]
    said += [f"{row.label} {row.verdict}" for row in rows[1:]]
    return Ranking(rows, tuple(order), ". ".join(said) + ".")


def table_rows(ranking: Ranking) -> list[dict[str, Any]]:
    """What is known of the candidates, in their order, as plain values by the names of columns."""
    return [
        {
            "candidate": row.label,
            "n_clusters": row.candidate.n_clusters,
            "latent_dim": row.candidate.latent_dim,
            "elbo": float(row.candidate.elbo.mean()),
            "behind": row.behind,
            "standard_error": row.standard_error,
            "used": row.candidate.used,
            "stable": float(row.candidate.stability.min()),
            "redundant": float(np.tril(row.candidate.redundancy, -1).max()),
            "starts": [float(elbo) for elbo in row.candidate.starts],
            "verdict": row.verdict,
        }
        for row in ranking.rows
    ]


def matched(
    facets: Sequence[NDArray[np.int64]], others: Sequence[Sequence[NDArray[np.int64]]]
) -> Array:
    """Mean NMI of each facet's clusters with those of its match in other starts, (J,); NaN of none.

    Facets are matched one to one, so that their NMIs sum to the most.
    """
    from scipy.optimize import linear_sum_assignment

    found = np.full((len(others), len(facets)), np.nan)
    for i, start in enumerate(others):
        nmi = np.array([[normalized_mutual_information(a, b) for b in start] for a in facets])
        rows, columns = linear_sum_assignment(nmi, maximize=True)
        found[i, rows] = nmi[rows, columns]
    return found.mean(0) if len(others) else np.full(len(facets), np.nan)


def _labels(candidates: Sequence[Candidate]) -> list[str]:
    labels = [str(one.n_clusters) for one in candidates]
    if len({*labels}) < len(labels):
        labels = [
            f"{k} with latents {one.latent_dim}" for k, one in zip(labels, candidates, strict=True)
        ]
    return labels


def _behind(one: Candidate, best: Candidate) -> tuple[float, float]:
    """How far the mean of a candidate's rows lies below the best one's, and the standard error."""
    differences = best.elbo - one.elbo
    error = differences.std(ddof=1) / math.sqrt(len(differences)) if len(differences) > 1 else 0.0
    return float(differences.mean()), float(error)
