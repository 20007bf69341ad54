"""Results on the terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

_COLUMNS = {
    "majority": "majority_accuracy_training_map",
    "Hungarian": "hungarian_accuracy",
    "NMI": "nmi",
    "ARI": "ari",
}


def console() -> Console:
    """The terminal; elsewhere wide enough not to break the tables."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=100)


def show_evaluation(screen: Console, results: dict[str, Any]) -> None:
    """Print ELBO and, per facet and factor, how clusters agree with held-out labels."""
    if results["step"] < results["n_steps"]:
        screen.print(
            f"not finished: after step {results['step']} of {results['n_steps']}", highlight=False
        )
    for part, terms in results["elbo"].items():
        screen.print(f"ELBO, {part}: {terms['elbo']:.2f} nats per observation", highlight=False)
    table = Table(box=box.SIMPLE, title="held-out observations, percent", title_justify="left")
    table.add_column("facet")
    table.add_column("clusters used", max_width=8)
    table.add_column("factor (classes)", no_wrap=True)
    for name in _COLUMNS:
        table.add_column(name, justify="right")
    for j, facet in enumerate(results["facets"]):
        used = f"{facet['occupied_clusters']['test']} of {facet['n_clusters']}"
        first = True
        for factor, measures in facet["factors"].items():
            values = [f"{100 * measures['test'][key]:.1f}" for key in _COLUMNS.values()]
            label = escape(f"{factor} ({measures['n_classes']})")
            table.add_row(str(j) if first else "", used if first else "", label, *values)
            first = False
        if first:
            table.add_row(str(j), used, "no labels")
        table.add_section()
    screen.print(table)
    if not any(facet["factors"] for facet in results["facets"]):
        return
    screen.print(
        "majority: each cluster stands for the class most frequent in it among the training "
        "observations;\nHungarian: one cluster per class, surplus clusters count as wrong.",
        style="dim",
        highlight=False,
    )
