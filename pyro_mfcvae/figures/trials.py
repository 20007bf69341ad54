"""All trials of a sweep: one number of each, against every setting that was varied."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator, PercentFormatter

from pyro_mfcvae.figures.marks import panel_grid
from pyro_mfcvae.figures.names import readable

Settings = Mapping[str, Any]

_N_COLUMNS = {1: 1, 2: 2, 4: 2}  # of so many panels; three of others
_MOST_LETTERS = 20  # side by side below a panel
_MOST_TICKS, _LEAST_GAP = 8, 0.1  # one tick per value, where the axis has room
_OUTLYING = 3.0  # times the range of the upper three quarters


def all_trials(
    settings: Sequence[Settings],
    objectives: Sequence[float],
    seeds: Sequence[int],
    names: Mapping[str, str],
    objective: str,
    percent: bool = False,
    best: Settings | None = None,
    logarithmic: Sequence[str] = (),
    title: str = "",
    more_is_better: bool = True,
) -> Figure:
    """A panel for every setting that was varied, or one for the seeds if none was.

    Dots are trials; bars, where a setting has several trials, are means over seeds. Thin lines
    join means of settings that differ in the panel's only; the black one joins means over all
    trials with a value.

    Args:
        settings: of each of N trials, by path.
        objectives: of each trial.
        seeds: of each trial.
        names: of the settings that were varied, by path.
        objective: in words.
        percent: whether it is a share.
        best: the settings that are marked.
        logarithmic: paths of the settings with a logarithmic axis; it is also taken for positive
            numbers that lie more evenly on one.
        title: above all.
        more_is_better: whether trials far below all others may be left out.

    Raises:
        ValueError: if there are no trials.
    """
    if not settings:
        raise ValueError("there are no finished trials to draw")
    if not names:
        settings, names, best = [{"seed": seed} for seed in seeds], {"seed": "seed"}, None
    n_columns = _N_COLUMNS.get(len(names), 3)
    figure, panels = panel_grid(len(names), n_columns, (3.7, 3), (1.2, 1.1), sharey=True)
    for axes, (path, name) in zip(panels, names.items(), strict=True):
        places = _places(axes, [given[path] for given in settings], path in logarithmic)
        _draw(axes, places, settings, objectives, path, best)
        axes.set_xlabel(readable(name, 40), fontsize=9)
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    if more_is_better:
        _limit(panels[0], np.asarray(objectives))
    for axes in panels[::n_columns]:
        axes.set_ylabel(readable(objective, 60), fontsize=9)
        if percent:
            axes.yaxis.set_major_formatter(PercentFormatter(1))
    figure.suptitle(readable(title, 100), fontsize=11)
    several = len({_key(given) for given in settings}) < len(settings)
    note = "dots: trials" + "; bars: means over seeds" * several
    note += "; black: means over all trials with a value" * _has_black_line(figure)
    figure.supxlabel(
        f"{note}; the best setting in orange" if best else note, fontsize=8, color="0.35"
    )
    return figure


def _places(axes: Axes, values: Sequence[Any], logarithmic: bool) -> np.ndarray:
    """Where the values lie on the axis, (N,), which gets its scale and ticks."""
    if not all(isinstance(v, int | float) and not isinstance(v, bool) for v in values):
        texts = [v if isinstance(v, str) else json.dumps(v) for v in values]
        order = list(dict.fromkeys(texts))
        labels = [readable(text) for text in order]
        turned = len("".join(labels)) > _MOST_LETTERS
        axes.set_xticks(range(len(order)), labels, rotation=30 * turned)
        axes.set_xlim(-0.5, len(order) - 0.5)
        return np.array([order.index(text) for text in texts], dtype=float)
    distinct = sorted(set(values))
    is_log = logarithmic or _even_logarithms(distinct)
    if is_log:
        axes.set_xscale("log")
    gaps = np.diff(np.log(distinct) if is_log else distinct)
    if len(distinct) <= _MOST_TICKS and (gaps >= _LEAST_GAP * gaps.sum()).all():
        axes.set_xticks(distinct, [f"{value:.4g}" for value in distinct])
        axes.xaxis.set_minor_locator(NullLocator())
    return np.array(values, dtype=float)


def _even_logarithms(distinct: Sequence[float]) -> bool:
    """Whether positive numbers in ascending order lie more evenly on a logarithmic axis."""
    if len(distinct) < 3 or distinct[0] <= 0:
        return False
    gaps = (np.diff(distinct), np.diff(np.log(distinct)))
    linear, logarithmic = (gap.std() / gap.mean() for gap in gaps)
    return bool(logarithmic < linear)


def _draw(
    axes: Axes,
    places: np.ndarray,
    settings: Sequence[Settings],
    objectives: Sequence[float],
    path: str,
    best: Settings | None,
) -> None:
    """Trials, means over seeds, and lines between those that differ in one setting."""
    groups: dict[str, list[int]] = {}
    for i, given in enumerate(settings):
        groups.setdefault(_key(given), []).append(i)
    lines: dict[str, list[tuple[float, float]]] = {}
    faded = max(0.15, min(0.7, 8 / len(groups)))
    for key, members in groups.items():
        given, place = settings[members[0]], places[members[0]]
        own = [objectives[i] for i in members]
        mean = float(np.mean(own))
        others = {name: value for name, value in given.items() if name != path}
        lines.setdefault(_key(others), []).append((place, mean))
        is_best = best is not None and key == _key(best)
        style: dict[str, Any] = {"color": f"C{int(is_best)}", "zorder": 3 + is_best}
        style["alpha"] = 1 if is_best else faded
        axes.plot([place] * len(own), own, "o", ms=4.5, mew=0, **style)
        if len(own) > 1:
            axes.plot(place, mean, "_", ms=13, mew=2, **style)
    for points in lines.values():
        axes.plot(*zip(*sorted(points), strict=True), color="0.6", lw=0.7, alpha=faded, zorder=1)
    if len(lines) < len(groups) and len(lines) > 1:
        joined = sorted(set(places))
        means = [float(np.mean(np.asarray(objectives)[places == place])) for place in joined]
        axes.plot(joined, means, color="black", lw=1.5, zorder=5)


def _has_black_line(figure: Figure) -> bool:
    return any(line.get_color() == "black" for axes in figure.axes for line in axes.lines)


def _key(settings: Settings) -> str:
    return json.dumps(dict(settings), sort_keys=True)


def _limit(axes: Axes, objectives: np.ndarray) -> None:
    """Leave out what lies so far below that it would squeeze all else."""
    low, high = np.quantile(objectives, [0.25, 1])
    spread = high - low
    if spread > 0 and objectives.min() < low - _OUTLYING * spread:
        shown = objectives[objectives >= low - _OUTLYING * spread]
        axes.set_ylim(shown.min() - 0.1 * spread, high + 0.1 * spread)
        axes.set_title(f"trials below: {len(objectives) - len(shown)}", fontsize=8, loc="left")
