"""Curves over training: the ELBO's terms and the fade weights."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

_STYLES = ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 5)))


def training_curves(records: Sequence[dict[str, Any]], title: str = "") -> Figure:
    """ELBO, weighted KLs, agreement of clusters with labels, and fade weights, over steps.

    Args:
        records: log points of ``metrics.jsonl``. Those of the split ``train`` give the terms,
            those of the split ``test``, where there are any, the dashed ELBO and the agreement.
        title: above the curves.

    Raises:
        ValueError: if there are no log points of the training split.
    """
    train, test = (
        [record for record in records if record["split"] == split] for split in ("train", "test")
    )
    if not train:
        raise ValueError("there are no log points to draw")
    factors = _agreement_names(test)
    panels = {"elbo": 3, "kl": 3} | ({"agreement": 3} if factors else {}) | {"fade": 1}
    figure = Figure(figsize=(8, 1 + sum(panels.values())), layout="constrained")
    stacked = figure.subplots(len(panels), 1, sharex=True, height_ratios=list(panels.values()))
    axes: dict[str, Axes] = dict(zip(panels, stacked, strict=True))

    _draw_elbo(axes["elbo"], train, test)
    _draw_facets(axes["kl"], axes["fade"], train)
    if factors:
        _draw_agreement(axes["agreement"], test, factors)
    axes["fade"].set_xlabel("step")
    for panel in stacked:
        if panel.get_legend() is None:
            panel.legend(loc="best", fontsize=8)
        panel.grid(alpha=0.3)
    stacked[0].set_title(title)
    return figure


def _series(records: Sequence[dict[str, Any]], name: str) -> tuple[list[int], np.ndarray]:
    """Steps and values of one quantity."""
    steps = [record["step"] for record in records]
    return steps, np.array([record["values"][name] for record in records])


def _draw_elbo(axes: Axes, train: Sequence[dict[str, Any]], test: Sequence[dict[str, Any]]) -> None:
    shown: list[float] = []
    for color, (name, label) in enumerate((("elbo", "ELBO"), ("reconstruction", "log p(x | z)"))):
        steps, values = _series(train, name)
        axes.plot(steps, values, color=f"C{color}", label=label)
        shown += list(values)
        if test:
            axes.plot(*_series(test, name), "--", color=f"C{color}", label=f"{label}, held out")
    _zoom(axes, shown)
    axes.set_ylabel("nats per observation")


def _draw_facets(kl_axes: Axes, fade_axes: Axes, train: Sequence[dict[str, Any]]) -> None:
    n_facets = sum(name.startswith("fade_") for name in train[0]["values"])
    shown: list[float] = []
    for j in range(n_facets):
        steps, weights = _series(train, f"fade_{j}")
        for name, style in (("z", "-"), ("c", ":")):
            kl = weights * _series(train, f"kl_{name}_{j}")[1]
            shown += list(kl)
            kl_axes.plot(steps, kl, style, color=f"C{j}", label=f"KL of {name}, facet {j}")
        fade_axes.plot(steps, weights, color=f"C{j}", label=f"facet {j}")
    _zoom(kl_axes, shown)
    kl_axes.set_ylabel("fade weight x KL, nats")
    fade_axes.set_ylabel("fade weight")


def _agreement_names(test: Sequence[dict[str, Any]]) -> list[tuple[int, str]]:
    """Facets and factors whose agreement was measured."""
    found = [re.fullmatch(r"nmi_(\d+)_(.+)", name) for name in (test[0]["values"] if test else ())]
    return [(int(match[1]), match[2]) for match in found if match]


def _draw_agreement(
    axes: Axes, test: Sequence[dict[str, Any]], factors: Sequence[tuple[int, str]]
) -> None:
    """One colour per facet, one line style per factor."""
    names = sorted({factor for _, factor in factors})
    for j, factor in factors:
        style = _STYLES[names.index(factor) % len(_STYLES)]
        label = f"facet {j}, {factor.replace('_', ' ')}"
        axes.plot(*_series(test, f"nmi_{j}_{factor}"), ls=style, color=f"C{j}", label=label)
    axes.set_ylabel("NMI with labels, held out")
    axes.set_ylim(-0.02, 1.02)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), fontsize=8)


def _zoom(axes: Axes, values: Sequence[float]) -> None:
    """Leave the first steps' extremes out of view."""
    low, high = np.quantile(values, [0.03, 0.995])
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
