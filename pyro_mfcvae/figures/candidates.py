"""Candidates of a search without labels: how good, stable, different and full their facets are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pyro_mfcvae.evaluation.ranking import Ranking
from pyro_mfcvae.figures.marks import panel_grid

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_ROW = 0.3  # inches
_TITLES = ("held-out ELBO behind the best", "stability", "redundancy", "clusters in use")
_NOTES = (
    "nats a row, ± standard error; grey: other starts",
    "NMI with the other starts",
    "NMI of two facets",
    "share of each facet's",
)


def ranked_candidates(ranking: Ranking, title: str = "") -> Figure:
    """A row for each candidate, the recommended one on top and orange, those with a fault hollow.

    Args:
        ranking: the candidates in order.
        title: above all.
    """
    rows = ranking.rows
    height = 0.4 + _ROW * len(rows)
    figure, panels = panel_grid(4, 4, (2.6, height), (1.4, 0.9), sharey=True)
    best = rows[0].candidate.elbo.mean() + rows[0].behind
    for place, row in enumerate(rows):
        one = row.candidate
        color = "C1" if place == 0 else "C0"
        style: dict[str, Any] = {"color": color, "mfc": "white" if one.ills else color, "ms": 5}
        starts = best - np.asarray(one.starts)
        panels[0].plot(starts, [place] * len(starts), "o", color="0.75", ms=3, zorder=1)
        panels[0].errorbar(row.behind, place, xerr=row.standard_error, fmt="o", **style)
        others = one.redundancy[np.tril_indices(len(one.used), -1)]
        shares = np.divide(one.used, one.n_clusters)
        for axes, values in zip(panels[1:], (one.stability, others, shares), strict=True):
            axes.plot(values, [place] * len(values), "o", alpha=0.8, **style)
    for axes, head, note in zip(panels, _TITLES, _NOTES, strict=True):
        axes.set_title(head, fontsize=9)
        axes.set_xlabel(note, fontsize=8)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    for axes in panels[1:]:
        axes.set_xlim(-0.05, 1.05)
    panels[0].set_yticks(range(len(rows)), [row.label for row in rows])
    panels[0].invert_yaxis()
    figure.suptitle(title, fontsize=11)
    figure.supxlabel(
        "orange: recommended; hollow: has a fault; a dot for each facet", fontsize=8, color="0.35"
    )
    return figure
