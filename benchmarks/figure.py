"""Speed: candidates beside the hand-written step, and the cost of a step over each size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator

from benchmarks.scans import MIXTURES, ROWS

Results = Mapping[str, Any]

_SIZES = {
    "n_clusters": "clusters of each facet, K",
    "n_facets": "facets, J",
    "latent_dim": "latent dimensions of each facet, D",
    "n_samples": "samples of z, S",
    "batch_size": "batch size, B",
    "n_observations": "observations, N: first step of an epoch",
    "n_runs": "runs at once, R",
    ROWS: "rows of a .npy file, N, read as they are needed",
    MIXTURES: "full covariances, J x K x D, at J K D$^2$",
}
_N_COLUMNS = 3


def bench_figure(record: Results) -> Figure:
    """Ratios to the hand-written step for each preset, and below them a panel for each size.

    Args:
        record: as ``bench.json`` has it.

    Raises:
        ValueError: if it has neither steps nor scans.
    """
    presets = record["presets"]
    stepped = {name: results["steps"] for name, results in presets.items() if "steps" in results}
    scanned = {name: results["scans"] for name, results in presets.items() if results.get("scans")}
    sizes = [size for size in _SIZES if any(size in scans for scans in scanned.values())]
    if not stepped and not sizes:
        raise ValueError("the record has neither steps nor scans to draw")
    n_stepped, n_sized = (-(-n // _N_COLUMNS) for n in (len(stepped), len(sizes)))
    n_columns = min(_N_COLUMNS, max(len(stepped), len(sizes)))
    heights = [2.9] * n_stepped + [2.6] * n_sized
    figure = Figure(figsize=(1 + 4.0 * n_columns, 0.8 + sum(heights)), layout="constrained")
    panels = figure.subplots(len(heights), n_columns, squeeze=False, height_ratios=heights)
    upper = list(panels[:n_stepped].flat)
    lower = list(panels[n_stepped:].flat)
    for axes, (name, steps) in zip(upper, stepped.items(), strict=False):
        _draw_ratios(axes, name, steps)
    for axes, size in zip(lower, sizes, strict=False):
        _draw_scan(axes, size, scanned, "CPU ms" if record["clock"] == "cpu" else "ms")
    for axes in upper[len(stepped) :] + lower[len(sizes) :]:
        axes.remove()
    figure.suptitle(_where(record["machine"]), fontsize=9)
    return figure


def _draw_ratios(axes: Axes, preset: str, steps: Results) -> None:
    reference = steps["ratios_to"]
    others = {name: c for name, c in steps["candidates"].items() if name != reference}
    rows = np.arange(len(others))[::-1]
    ratios = np.array([candidate["ratio"] for candidate in others.values()])
    quartiles = np.array([candidate["ratio_quartiles"] for candidate in others.values()]).T
    axes.errorbar(ratios, rows, xerr=np.abs(quartiles - ratios), fmt="o", ms=5, capsize=3, lw=1)
    axes.axvline(1, color="0.4", lw=1)
    beside = axes.get_yaxis_transform()
    for row, ratio in zip(rows, ratios, strict=True):
        axes.text(1.02, row, f"{ratio:.3f}", transform=beside, va="center", fontsize=8)
    axes.set_yticks(rows, others, fontsize=8)
    axes.set_xlim(0.95 * min(1, quartiles.min()), 1.05 * max(1, quartiles.max()))
    axes.set_ylim(-0.5, len(others) - 0.5)
    axes.set_xlabel(f"seconds / {reference}: median, quartiles", fontsize=8)
    milliseconds = 1e3 * steps["candidates"][reference]["seconds"]
    axes.set_title(f"{preset}: {reference} {milliseconds:.3g} ms", fontsize=9)
    axes.grid(axis="x", alpha=0.3)
    axes.tick_params(labelsize=8)


def _draw_scan(axes: Axes, size: str, scanned: Mapping[str, Results], unit: str) -> None:
    """Milliseconds at the smallest value, times the median ratio to it of each value."""
    ticks: dict[int, str] = {}
    drawn: list[float] = []
    for color, (preset, scans) in enumerate(scanned.items()):
        if size not in scans:
            continue
        candidates = scans[size]["candidates"]
        places = {_place(size, value): _tick(value) for value in candidates}
        first = candidates[scans[size]["ratios_to"]]
        milliseconds = [1e3 * first["seconds"] * c["ratio"] for c in candidates.values()]
        axes.loglog([*places], milliseconds, "o-", ms=4, color=f"C{color}")
        # Of mixtures the lines meet where they end.
        at, offset = (0, (0, 11)) if size == MIXTURES else (-1, (5, 0))
        axes.annotate(
            preset,
            ([*places][at], milliseconds[at]),
            offset,
            textcoords="offset points",
            va="center",
            fontsize=8,
            color=f"C{color}",
        )
        ticks |= places
        drawn += milliseconds
    axes.set_xlim(min(ticks) / 1.2, max(ticks) * (max(ticks) / min(ticks)) ** 0.25 * 1.2)
    slanted = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks([*ticks], [*ticks.values()], **(slanted if size == MIXTURES else {}))
    axes.minorticks_off()
    axes.set_xlabel(_SIZES[size], fontsize=8)
    axes.set_ylabel(f"{unit} per step", fontsize=8)
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylim(min(drawn) / 2, 2 * max(drawn))  # a tick at least, and no noise filling it
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3, which="both")


def _place(size: str, value: str) -> int:
    """Where a value stands: of J x K x D, the numbers of all Cholesky factors."""
    if size != MIXTURES:
        return int(value)
    n_facets, n_clusters, latent_dim = map(int, value.split("x"))
    return n_facets * n_clusters * latent_dim**2


def _tick(value: str) -> str:
    return EngFormatter(sep="")(int(value)) if len(value.strip("0")) == 1 else value


def _where(machine: Results) -> str:
    device = machine["cuda_device"] or f"{machine['cpu']}, threads: {machine['n_threads']}"
    packages = machine["packages"]
    return f"{device}; torch {packages['torch']}, pyro {packages['pyro-ppl']}"
