"""The columns that a run's model takes, as its folder keeps them."""

from __future__ import annotations

import json
from typing import Any

from pyro_mfcvae.data import Dataset
from pyro_mfcvae.files import validated

Columns = dict[str, list[str] | None]
"""Names of a table's columns in their order, each with its categories, if it has some."""


def columns_of(dataset: Dataset) -> Columns:
    """The columns of a table, where they have names."""
    categories = {name: list(texts) for name, texts in dataset.categories.items()}
    return {name: categories.get(name) for name in dataset.feature_names}


def written_columns(columns: Columns) -> str:
    """What ``columns.json`` holds: names with categories, or a list where no column has some."""
    return json.dumps(columns if any(columns.values()) else list(columns))


def read_columns(values: Any) -> Columns:
    """The columns in what ``columns.json`` holds.

    Raises:
        ValueError: if it holds something else.
    """
    if isinstance(values, list):
        return dict.fromkeys(validated(list[str], values))
    return validated(Columns, values)
