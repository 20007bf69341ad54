"""Results on the terminal."""

from __future__ import annotations

from rich.console import Console

from pyro_mfcvae.evaluation import tables
from pyro_mfcvae.evaluation.results import Comparison, Evaluation
from pyro_mfcvae.tables import Table, show_table


def console() -> Console:
    """The terminal; elsewhere wide enough not to break the tables."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=100)


def show_comparison(screen: Console, comparison: Comparison) -> None:
    """Print what a comparison of guides measured."""
    _show(screen, tables.guide_terms_table(comparison), tables.guides_table(comparison))


def show_evaluation(screen: Console, evaluation: Evaluation, everything: bool = False) -> None:
    """Print the ELBO, how clusters agree with held-out labels, and what else was asked for.

    Args:
        screen: the terminal.
        evaluation: the results.
        everything: print all terms and every measure, for both parts of the data.
    """
    step, n_steps = evaluation.step, evaluation.n_steps
    if step < n_steps:
        screen.print(f"not finished: after step {step} of {n_steps}", highlight=False)
    for part in evaluation.elbo:
        elbo = evaluation.value("elbo", part)
        screen.print(f"ELBO, {part}: {elbo:.2f} nats per observation", highlight=False)
    further = (tables.run_table, tables.bound_table, tables.pairs_table, tables.diversity_table)
    _show(
        screen,
        tables.agreement_table(evaluation),
        *(make(evaluation) for make in (*further, tables.probe_table)),
    )
    if everything:
        facets = range(len(evaluation.facets))
        _show(
            screen,
            tables.elbo_table(evaluation),
            tables.use_table(evaluation),
            *(tables.facet_table(evaluation, j) for j in facets),
        )


def show_runs(screen: Console, evaluations: dict[str, Evaluation]) -> None:
    """Print for several runs what each facet agrees with most, one run in a row."""
    _show(screen, tables.runs_table(evaluations))


def _show(screen: Console, *found: Table | None) -> None:
    for table in found:
        if table is not None:
            show_table(screen, table)
