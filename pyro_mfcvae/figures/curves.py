"""Curves over training: the ELBO's terms and the fade weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def training_curves(records: Sequence[dict[str, Any]], title: str = "") -> Figure:
    """ELBO and reconstruction, the facets' weighted KLs, and the fade weights, over steps.

    Args:
        records: log points of ``metrics.jsonl``.
        title: above the curves.

    Raises:
        ValueError: if there are no log points.
    """
    if not records:
        raise ValueError("there are no log points to draw")
    steps = [record["step"] for record in records]
    names = records[0]["values"]
    n_facets = sum(name.startswith("fade_") for name in names)

    def series(name: str) -> list[float]:
        return [record["values"][name] for record in records]

    figure = Figure(figsize=(8, 7.5), layout="constrained")
    top, middle, bottom = figure.subplots(3, 1, sharex=True, height_ratios=(3, 3, 1))
    for name, label in (("elbo", "ELBO"), ("reconstruction", "log p(x | z)")):
        top.plot(steps, series(name), label=label)
    _zoom(top, series("elbo") + series("reconstruction"))
    shown = []
    for j in range(n_facets):
        weights = np.array(series(f"fade_{j}"))
        for name, style in (("z", "-"), ("c", ":")):
            kl = weights * series(f"kl_{name}_{j}")
            shown += list(kl)
            middle.plot(steps, kl, style, color=f"C{j}", label=f"KL of {name}, facet {j}")
        bottom.plot(steps, weights, color=f"C{j}", label=f"facet {j}")
    _zoom(middle, shown)
    top.set_ylabel("nats per observation")
    middle.set_ylabel("fade weight x KL, nats")
    bottom.set_ylabel("fade weight")
    bottom.set_xlabel("step")
    for axes in (top, middle, bottom):
        axes.legend(loc="best", fontsize=8)
        axes.grid(alpha=0.3)
    top.set_title(title)
    return figure


def _zoom(axes: Axes, values: Sequence[float]) -> None:
    """Leave the first steps' extremes out of view."""
    low, high = np.quantile(values, [0.03, 0.995])
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
