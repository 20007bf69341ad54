"""The model card of a fitted estimator."""

from __future__ import annotations

from pyro_mfcvae.estimators.base import FacetEstimator
from pyro_mfcvae.estimators.frames import cluster_rows, facet_rows, rows_table
from pyro_mfcvae.hub import card_head
from pyro_mfcvae.tables import as_markdown, make_table, printable


def estimator_card(estimator: FacetEstimator, title: str) -> str:
    """What people who find the model should know of it, in Markdown.

    Args:
        estimator: a fitted one.
        title: its name, or ``OWNER/NAME``.
    """
    kind, facts = type(estimator).__name__, estimator.facts_
    what = "rows" if len(estimator.units_.event) == 1 else "pictures"
    names = printable(", ".join(f"`{name}`" for name in estimator.column_names))
    shape = " x ".join(map(str, estimator.units_.event))
    choices = [(c.setting, str(c.value), c.reason) for c in estimator.choices_]
    clusters = [
        (name, rows_table("clusters", "cluster", _shown(estimator, j)))
        for j, name in enumerate(estimator.facet_names_)
    ]
    parts = [
        f"# {title}",
        f"A fitted `{kind}` of the Python library pyro_mfcvae. It assigns {what} to clusters in "
        f"{len(facts)} {'facet' if len(facts) == 1 else 'facets'}, and was fitted to "
        f"{len(estimator.labels_)} {what} without labels.",
        "## Use",
        f"```python\nfrom pyro_mfcvae import {kind}\n\n"
        f"model = {kind}.from_pretrained({title!r})\n"
        "model.predict(X)\n```",
        f"Columns of X, in their units: {names}." if what == "rows" else f"Shape of X: {shape}.",
        "## Results",
        *(f"- {line}" for line in estimator.health_),
        as_markdown(rows_table("facets", "facet", facet_rows(estimator))),
        *(f"Clusters of {name}:\n\n{as_markdown(table)}" for name, table in clusters),
        f"Held-out ELBO of the starts, in nats: {', '.join(f'{s:.2f}' for s in estimator.scores_)}",
        "## Settings from the data",
        as_markdown(make_table("settings", ("setting", "value", "reason"), choices)),
        "## Limits",
        "Clusters are what the model finds in these data, not classes that a person has defined. "
        "Other data than those of the fit may get confident assignments that mean nothing.",
    ]
    text = "\n\n".join(part.strip() for part in parts).replace("<", "&lt;")
    return f"{card_head([str(estimator._model)])}\n{text}\n"


def _shown(estimator: FacetEstimator, j: int) -> dict:
    """Rows of facet j without the names of people's rows."""
    rows = cluster_rows(estimator, j)
    return {name: {k: v for k, v in row.items() if k != "typical"} for name, row in rows.items()}
