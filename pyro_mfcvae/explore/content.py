"""What a page shows of a run from the start, as plain data for its script."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from pyro_mfcvae.data.categories import indicator_names, largest_of_columns
from pyro_mfcvae.evaluation.accuracies import contingency
from pyro_mfcvae.evaluation.cluster_facts import cluster_rows, largest_first
from pyro_mfcvae.explore.opened import Opened
from pyro_mfcvae.explore.sheets import short
from pyro_mfcvae.figures import get_figure
from pyro_mfcvae.figures.confusion import factors_by_agreement
from pyro_mfcvae.figures.latents import lay_out
from pyro_mfcvae.figures.marks import class_colors, cluster_colors
from pyro_mfcvae.figures.seen import labelled

_N_APART = 6  # columns beside the members of a cluster
_N_FACTORS = 3  # that a cluster is described by


def describe_run(opened: Opened) -> dict[str, Any]:
    """Observations on the maps, labels, facets and their clusters; lists are in the maps' order."""
    seen, shown = opened.seen, opened.shown
    return {
        "run": opened.run.path.resolve().name,
        "n_observations": len(seen.x),
        "numbers": shown.tolist(),
        "rows": opened.row_names(shown),
        "has_names": bool(opened.dataset.row_names),
        "columns": [opened.feature_names[c] for c in opened.columns],
        "categories": [opened.categories.get(opened.feature_names[c]) for c in opened.columns],
        "n_columns": len(opened.feature_names),
        "shown": opened.show(seen.observed(shown)),
        "labels": [_factor(opened, factor) for factor in seen.labels],
        "facets": [_facet(opened, j) for j in range(seen.model.n_facets)],
        "pairs": list(combinations(seen.clustered, 2)),
        "swaps": get_figure("swaps").fits(seen, 0) or "",
    }


def _factor(opened: Opened, factor: str) -> dict[str, Any]:
    names = opened.seen.class_names[factor]
    return {
        "name": factor,
        "classes": list(names),
        "colours": _hex(class_colors(len(names))),
        "of": opened.seen.labels[factor][opened.shown].tolist(),
    }


def _facet(opened: Opened, j: int) -> dict[str, Any]:
    seen, shown, facts = opened.seen, opened.shown, opened.facts[j]
    figure, own = get_figure("latents"), seen.predictions.responsibilities[j]
    order = largest_first(facts.sizes)
    has_clusters = j in seen.clustered
    return {
        "missing": figure.fits(seen, j) or "",
        "map": None if figure.fits(seen, j) else _map(opened, j),
        "at_zero": seen.is_conditional(j),
        "has_clusters": has_clusters,
        "cluster_of": own[shown].argmax(1).tolist(),
        "sure": [short(p) for p in own[shown].max(1)],
        "clusters": _clusters(opened, j, order),
        "means": _means(opened, j, order) if has_clusters else None,
        "typical": _typical(opened, j, order) if has_clusters else None,
    }


def _map(opened: Opened, j: int) -> dict[str, Any]:
    layout = lay_out(get_figure("latents").compute(opened.seen, j), opened.shown)
    points = {"points": layout.points, "centers": layout.centers, "window": layout.window}
    found = {name: [[short(v) for v in p] for p in at] for name, at in points.items()}
    return found | {"used": layout.used.tolist(), "axes": list(layout.names)}


def _clusters(opened: Opened, j: int, order: Sequence[int]) -> list[dict[str, Any]]:
    facts, about = opened.facts[j], _about(opened, j)
    rows = cluster_rows(facts, {}, indicator_names(opened.feature_names, opened.categories))
    colours = _hex(cluster_colors(len(order)))
    return [
        {
            "number": k,
            "colour": colour,
            "size": row["size"],
            "share": short(row["share"]),
            "sure": short(row["sure"]),
            "typical": opened.row_names(np.array(row["typical"])),
            "apart": row["apart"],
            "columns": _apart(opened, j, k),
            "about": about.get(k, ""),
        }
        for k, colour, row in zip(order, colours, rows.values(), strict=True)
    ]


def _apart(opened: Opened, j: int, k: int) -> list[int]:
    """Places of the shown columns that set a cluster apart most."""
    if not opened.is_table:
        return []
    differences = np.abs(np.nan_to_num(opened.facts[j].differences[k]))
    of_columns = largest_of_columns(differences, opened.feature_names, opened.categories)
    return np.argsort(-of_columns[opened.columns], kind="stable")[:_N_APART].tolist()


def _about(opened: Opened, j: int) -> dict[int, str]:
    """Classes that most of a cluster's observations have, of the factors that agree best."""
    seen, said = opened.seen, dict[int, list[str]]()
    for factor in factors_by_agreement(seen, j)[:_N_FACTORS]:
        names = seen.class_names[factor]
        counts = contingency(
            *labelled(seen.labels[factor], seen.predictions.clusters[j]), n_classes=len(names)
        )
        for k, own in enumerate(counts):
            if own.max() > own.sum() / 2:
                text = f"{_class(factor, names[own.argmax()])} ({own.max() / own.sum():.0%})"
                said.setdefault(k, []).append(text)
    return {k: ", ".join(texts) for k, texts in said.items()}


def _means(opened: Opened, j: int, order: Sequence[int]) -> dict[str, Any]:
    means = get_figure("means").compute(opened.seen, j, clusters=[list(order)])
    return opened.show(means.arrays["pictures"])


def _typical(opened: Opened, j: int, order: Sequence[int]) -> dict[str, Any] | None:
    """Pictures of the clusters' typical observations, one cluster's after the other's."""
    if opened.is_table:
        return None
    rows = [row for k in order for row in opened.facts[j].typical[k]]
    return opened.show(opened.seen.observed(np.array(rows)))


def _class(factor: str, name: str) -> str:
    """A class, with its factor unless its name begins with that."""
    words = factor.replace("_", " ")
    return name if name.replace("_", " ").startswith(words) else f"{words}: {name}"


def _hex(colours: np.ndarray) -> list[str]:
    return ["#" + "".join(f"{round(255 * part):02x}" for part in colour) for colour in colours]
