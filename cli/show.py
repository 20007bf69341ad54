"""Results on the terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

import click
from rich.console import Console

from pyro_mfcvae.cli.options import say_plainly, sayer
from pyro_mfcvae.evaluation import tables
from pyro_mfcvae.evaluation.results import Comparison, Evaluation
from pyro_mfcvae.tables import Table, show_table


def console() -> Console:
    """The terminal; elsewhere wide enough not to break the tables."""
    screen = Console()
    return screen if screen.is_terminal else Console(width=100)


def printer(to_stderr: bool, quiet: bool) -> tuple[Console, Callable[[str], None]]:
    """The terminal, and what says there what is going on.

    Args:
        to_stderr: leave the standard output to what is piped on.
        quiet: say nothing.
    """
    screen = Console(stderr=True) if to_stderr else console()
    return screen, (lambda _: None) if quiet else sayer(screen)


def show_json(values: object) -> None:
    """Print values for other programs to read."""
    click.echo(json.dumps(values, indent=2))


def show_list(found: Mapping[str, object], as_json: bool) -> None:
    """Print what is known by name as JSON, or the names alone, one a line."""
    if as_json:
        show_json(found)
    else:
        click.echo("\n".join(found))


def show_comparison(screen: Console, comparison: Comparison) -> None:
    """Print what a comparison of guides measured."""
    show_tables(screen, tables.guide_terms_table(comparison), tables.guides_table(comparison))


def show_evaluation(screen: Console, evaluation: Evaluation, everything: bool = False) -> None:
    """Print the ELBO, how clusters agree with held-out labels, and what else was asked for.

    Args:
        screen: the terminal.
        evaluation: the results.
        everything: print all terms and every measure, for both parts of the data.
    """
    step, n_steps = evaluation.step, evaluation.n_steps
    if step < n_steps:
        say_plainly(screen, f"not finished: after step {step} of {n_steps}")
    for part in evaluation.elbo:
        elbo = evaluation.value("elbo", part)
        say_plainly(screen, f"ELBO, {part}: {elbo:.2f} nats per observation")
    makers = [tables.health_table, tables.agreement_table, tables.run_table, tables.bound_table]
    makers += [tables.pairs_table, tables.diversity_table, tables.probe_table]
    if everything:
        makers += [tables.elbo_table, tables.use_table]
    show_tables(screen, *(make(evaluation) for make in makers))
    for j in range(len(evaluation.facets)) if everything else ():
        show_tables(screen, tables.facet_table(evaluation, j))


def show_tables(screen: Console, *found: Table | None) -> None:
    """Print those tables that there are."""
    for table in found:
        if table is not None:
            show_table(screen, table)
