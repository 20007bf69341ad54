"""Settings for a person's own data, in whose units new rows come, too."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from pyro_mfcvae.config import Component, Config
from pyro_mfcvae.data import Dataset, as_float, load_dataset, spread
from pyro_mfcvae.data.columns import ColumnKind, columns_likelihood, describe_columns
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.presets.auto import Auto, auto_config
from pyro_mfcvae.runs.run import Run

_MOST_ROWS = 100_000  # that columns are described by


def settings_from_data(
    dataset: Dataset,
    data: Component,
    n_clusters: Sequence[int] | None = None,
    latent_dim: Sequence[int] | None = None,
    n_starts: int | None = None,
) -> Auto:
    """Settings for a data set, and why they are what they are.

    The columns of a table keep their units: each has a density of its own kind, which knows where
    the column's values lie.

    Args:
        dataset: the data.
        data: settings that load them.
        n_clusters: K of each facet, shallow first; None takes what there are rows for.
        latent_dim: D of each facet; None takes what suits the data, here as below.
        n_starts: runs of which one is taken.
    """
    columns = _columns_of(dataset) if dataset.observation.kind == "table" else []
    auto = auto_config(dataset, n_clusters, latent_dim, n_starts=n_starts, columns=columns)
    return replace(auto, config=replace(auto.config, data=data))


def with_kinds(config: Config) -> tuple[Config, Dataset | None]:
    """Settings whose likelihood ``columns``, if it has no kinds, takes those of the data.

    Returns:
        the settings, and the data if they had to be loaded.

    Raises:
        ConfigError, DataError: if the data cannot be loaded, or are no table.
    """
    likelihood = config.model.likelihood
    if likelihood.name != "columns" or "kinds" in likelihood.options:
        return config, None
    dataset = load_dataset(config.data)
    if dataset.observation.kind != "table":
        raise ConfigError(f"likelihood columns is for tables, and {dataset.name} are pictures")
    found = columns_likelihood(_columns_of(dataset), dataset.observation.missing)
    likelihood = replace(found, options={**found.options, **likelihood.options})
    return replace(config, model=replace(config.model, likelihood=likelihood)), dataset


def _columns_of(dataset: Dataset) -> list[ColumnKind]:
    x = as_float(spread(dataset.x, _MOST_ROWS))
    return describe_columns(x, dataset.feature_names, dataset.n_categories)


@contextmanager
def fit_folder(config: Config, out: Path | None) -> Iterator[Path]:
    """The folder of a fit: its starts are in ``runs``, and it becomes the run that is chosen.

    It is removed if it ends up empty.

    Args:
        config: the settings.
        out: a new folder, or that of a fit that was interrupted; None numbers one under ``runs``.

    Raises:
        ConfigError: if the folder is another one, or none can be made there.
    """
    if out is None or not (out / "runs").is_dir():
        Run.check_path(out)
        out = Run.number(config) if out is None else out
        out.mkdir(parents=True, exist_ok=True)
    elif (out / "report.html").exists():
        raise ConfigError(f"{out} exists already, and is finished; choose a new folder")
    try:
        yield out
    finally:
        with suppress(OSError):
            out.rmdir()
