"""The figures of a run, drawn into its folder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pyro_mfcvae.figures import Recorded, Seen, draw_figures
from pyro_mfcvae.runs.measure import open_trained
from pyro_mfcvae.training.say import Say

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mfcvae.data import Dataset
    from pyro_mfcvae.runs.run import Run


def look(run: Run, dataset: Dataset | None = None) -> Seen:
    """A run's model at its newest checkpoint, and its held-out observations.

    Args:
        run: the run.
        dataset: its data; None loads them again.

    Raises:
        ConfigError: if the data are not such as the model was made for.
    """
    trained = open_trained(run, dataset)
    names = {"cluster_names": run.cluster_names(), "facet_names": run.facet_names()}
    return Seen.of(trained.model, trained.dataset, run.config.sampling_temperature, **names)


def draw_run(run: Run, dataset: Dataset | None = None, say: Say = lambda _: None) -> list[Path]:
    """Draw all figures of a run into its folder ``figures``.

    Args:
        run: the run.
        dataset: its data; None loads them again.
        say: is told which figures are left out, and why.

    Returns:
        the files.
    """
    seen = replace(
        look(run, dataset),
        name=run.path.name,
        metrics=run.metrics() or None,
        results=run.evaluation(),
        comparison=run.comparison(),
    )
    return draw_figures(run.figures, seen, say)


def draw_comparison(run: Run) -> list[Path]:
    """Draw a run's latest comparison of guides into its folder ``figures``.

    Returns:
        the file; none where guides were not compared.
    """
    return draw_figures(run.figures, Recorded(comparison=run.comparison()))
