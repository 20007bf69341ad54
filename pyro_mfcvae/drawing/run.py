"""All figures of a run."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from matplotlib.figure import Figure

from pyro_mfcvae import figures
from pyro_mfcvae.drawing.clusters import draw_agreement, draw_mixtures, draw_pictures
from pyro_mfcvae.drawing.details import details
from pyro_mfcvae.drawing.held_out import HeldOut, look
from pyro_mfcvae.drawing.interventions import draw_interventions
from pyro_mfcvae.drawing.saving import save_figure, save_left_out
from pyro_mfcvae.training.callbacks import Say

if TYPE_CHECKING:
    from pathlib import Path

    from pyro_mfcvae.data import Dataset
    from pyro_mfcvae.drawing.clusters import Named
    from pyro_mfcvae.runs.run import Run


def draw_run(run: Run, dataset: Dataset | None = None, say: Say = lambda _: None) -> list[Path]:
    """Draw a run's figures into its folder ``figures``.

    Args:
        run: the run.
        dataset: its data; None loads them again.
        say: is told which figures are left out, and why; so is ``left-out.json`` there.

    Returns:
        the files: reconstructions, mixture weights, an interpolation, training curves, of every
        facet traversals, swaps with other observations and the latent space, of every facet with
        clusters examples, samples, means and, where there are labels, clusters against classes;
        means of every pair of these; every measure of agreement where the run was evaluated;
        guides side by side where they were compared.
    """
    seen = look(run, dataset)
    return _save(
        run,
        chain(
            draw_pictures(seen),
            draw_interventions(seen),
            draw_mixtures(seen),
            draw_agreement(seen),
            _measures(run),
            _curves(run),
            _guides(run),
        ),
        seen,
        say,
    )


def draw_comparison(run: Run) -> list[Path]:
    """Draw a run's latest comparison of guides into its folder ``figures``.

    Returns:
        the file; none where guides were not compared.
    """
    return _save(run, _guides(run))


def _save(
    run: Run, drawn: Named, seen: HeldOut | None = None, say: Say = lambda _: None
) -> list[Path]:
    run.figures.mkdir(exist_ok=True)
    paths, left_out = [], {}
    for name, figure in drawn:
        path = run.figures / f"{name}.png"
        if isinstance(figure, Figure):
            save_figure(path, figure, details(seen, name) if seen else "")
            paths.append(path)
        else:
            path.unlink(missing_ok=True)
            left_out[name] = figure
            say(f"{name} is left out: {figure}")
    if seen:
        save_left_out(run.figures, left_out)
    return paths


def _measures(run: Run) -> Named:
    """Every measure of agreement, as the latest evaluation has it."""
    results = run.evaluation()
    if results is None:
        return
    if matrices := results.matrices():
        yield (
            "agreement",
            figures.agreement_matrices(
                matrices,
                results.factors,
                [facet.n_clusters for facet in results.facets],
                f"held-out observations after step {results.step}, percent",
            ),
        )


def _curves(run: Run) -> Named:
    records = run.metrics()
    if any(record["split"] == "train" for record in records):
        yield "curves", figures.training_curves(records, title=run.path.name)


def _guides(run: Run) -> Named:
    """Guides side by side; the title names the step, as the run may have gone on since."""
    results = run.comparison()
    if results is not None:
        title = (
            f"guides under the same noise after step {results.step}: "
            f"{results.observations}, {results.n_draws} draws"
        )
        yield "guides", figures.guide_comparison(results, title)
