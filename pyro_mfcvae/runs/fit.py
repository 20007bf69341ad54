"""Settings for a person's own data, in whose units new rows come, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pyro_mfcvae.config import Component, Config
from pyro_mfcvae.data import Dataset, as_float, spread
from pyro_mfcvae.data.columns import ColumnKind, describe_columns
from pyro_mfcvae.presets.auto import Choice, auto_config

_MOST_ROWS = 100_000  # that columns are described by


def settings_from_data(
    dataset: Dataset, data: Component, n_clusters: Sequence[int] | None = None
) -> tuple[Config, list[Choice]]:
    """Settings for a data set, and why they are what they are.

    The columns of a table keep their units: each has a density of its own kind, which knows where
    the column's values lie.

    Args:
        dataset: the data.
        data: settings that load them.
        n_clusters: K of each facet, shallow first; None takes what there are rows for.
    """
    columns: list[ColumnKind] = []
    if dataset.observation.kind == "table":
        x = as_float(spread(dataset.x, _MOST_ROWS))
        columns = describe_columns(x, dataset.feature_names)
    auto = auto_config(dataset, n_clusters, columns=columns)
    choices = [choice for choice in auto.choices if choice.setting != "n_init"]
    return replace(auto.config, data=data), choices
