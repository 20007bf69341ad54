"""Curves of several runs over each other, from their log points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from pyro_mfcvae.evaluation.results import log_name, logged_factors
from pyro_mfcvae.figures.lines import mark_single_points
from pyro_mfcvae.figures.names import readable

Records = Sequence[dict[str, Any]]

_STYLES = ("-", "--", ":", "-.")  # of facets
_N_PANELS = 6
_MEASURE = "majority_accuracy"


def elbo_over_epochs(runs: Mapping[str, Records]) -> Figure | None:
    """The ELBO of each run while it trained, and dashed that of held-out observations.

    Args:
        runs: {name: log points}.

    Returns:
        None if no run has any.
    """
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    shown = []
    for color, (name, records) in enumerate(runs.items()):
        for split, style, what in (("train", "-", ""), ("test", "--", ", held out")):
            epochs, values = _series(records, split, "elbo")
            if len(values):
                label = f"{readable(name, 40)}{what}"
                axes.plot(epochs, values, style, color=f"C{color % 10}", lw=1.2, label=label)
                shown.append(values[epochs >= 0.1 * epochs[-1]])
    if not shown:
        return None
    low = min(float(np.quantile(values, 0.02)) for values in shown)
    high = max(float(values.max()) for values in shown)
    margin = 0.08 * (high - low) or 1.0
    axes.set_ylim(low - margin, high + margin)
    axes.set_ylabel("ELBO, nats per observation")
    _finish(figure, [axes])
    return figure


def accuracy_over_epochs(runs: Mapping[str, Records]) -> Figure | None:
    """Majority accuracy on held-out observations: a panel per factor, a line per run and facet.

    Args:
        runs: {name: log points}.

    Returns:
        None if no run measured it while it trained.
    """
    found = {
        name: sorted(
            {
                pair
                for record in records
                if record["split"] == "test"
                for pair in logged_factors(list(record["values"]), _MEASURE)
            }
        )
        for name, records in runs.items()
    }
    factors = list(dict.fromkeys(factor for keys in found.values() for _, factor in keys))
    if not factors:
        return None
    factors = _best_told(factors, runs, found)[:_N_PANELS]
    n_columns = min(2, len(factors))
    n_rows = -(-len(factors) // n_columns)
    figure = Figure(figsize=(9, 0.8 + 2.9 * n_rows), layout="constrained")
    panels = figure.subplots(n_rows, n_columns, sharey=True, squeeze=False).ravel()
    for axes, factor in zip(panels, factors, strict=False):
        for color, (name, records) in enumerate(runs.items()):
            for j in (facet for facet, other in found[name] if other == factor):
                label = f"{readable(name, 40)}, facet {j}"
                axes.plot(
                    *_series(records, "test", log_name(_MEASURE, j, factor)),
                    _STYLES[j % len(_STYLES)],
                    color=f"C{color % 10}",
                    lw=1.2,
                    label=label,
                )
        axes.set_title(readable(factor), fontsize=10)
        axes.yaxis.set_major_formatter(PercentFormatter(1))
        axes.set_ylim(0, 1.02)
    for axes in panels[len(factors) :]:
        axes.set_axis_off()
    panels[0].set_ylabel("majority accuracy, held out")
    _finish(figure, panels[: len(factors)])
    return figure


def _best_told(
    factors: Sequence[str],
    runs: Mapping[str, Records],
    found: Mapping[str, Sequence[tuple[int, str]]],
) -> list[str]:
    """Factors, those first that some facet of some run tells best in the end."""
    last = {
        factor: max(
            _series(runs[name], "test", log_name(_MEASURE, j, factor))[1][-1]
            for name, keys in found.items()
            for j, other in keys
            if other == factor
        )
        for factor in factors
    }
    return sorted(factors, key=lambda factor: -last[factor])


def _series(records: Records, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Epochs, with fractions where the last log point tells how long one is, and values."""
    own = [record for record in records if record["split"] == split and name in record["values"]]
    values = np.array([record["values"][name] for record in own], dtype=float)
    last = records[-1] if records else {"epoch": 0, "step": 0}
    if split == "train" and last["epoch"]:
        epochs_per_step = last["epoch"] / last["step"]
        return np.array([record["step"] * epochs_per_step for record in own]), values
    return np.array([record["epoch"] for record in own], dtype=float), values


def _finish(figure: Figure, panels: Sequence[Axes]) -> None:
    for axes in panels:
        mark_single_points(axes)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.tick_params(labelsize=8)
    handles = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(),
        handles.keys(),
        loc="outside lower center",
        fontsize=8,
        frameon=False,
        ncols=2,
    )
