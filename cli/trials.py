"""Trials of a sweep on the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from typing_extensions import override

from pyro_mfcvae.studies.sweep import Sweep, Trial, Watch
from pyro_mfcvae.studies.sweep.results import notes, results_table
from pyro_mfcvae.tables import make_table, show_table

if TYPE_CHECKING:
    from rich.progress import TaskID


def show_trials(screen: Console, sweep: Sweep) -> None:
    """List all trials."""
    rows = [
        [trial.name, trial.arm.label, str(trial.seed), sweep.records[trial.name].state]
        for trial in sweep.trials
    ]
    show_table(screen, make_table("", ["run", "settings", "seed", "state"], rows, is_text=True))
    screen.print(f"{len(sweep.trials)} trials, {len(sweep.missing)} to train", highlight=False)


def show_sweep(screen: Console, results: dict[str, Any]) -> None:
    """Print the table, and what went wrong."""
    show_table(screen, results_table(results))
    for note in notes(results):
        screen.print(note, style="dim", highlight=False, markup=False)


@contextmanager
def watch_trials(screen: Console, sweep: Sweep) -> Iterator[Watch]:
    """Show a bar for all trials and one for each that is being trained; a line for each ended.

    Where there is no terminal, only the lines are shown.
    """
    bars = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not screen.is_terminal,
    )
    with bars:
        yield _Bars(screen, sweep, bars)


class _Bars(Watch):
    def __init__(self, screen: Console, sweep: Sweep, bars: Progress) -> None:
        self.screen, self.sweep, self.bars = screen, sweep, bars
        self.n, self.n_ended = len(sweep.trials), len(sweep.trials) - len(sweep.missing)
        self._all = bars.add_task("all trials", total=self.n, completed=self.n_ended)
        self._running: dict[str, TaskID] = {}
        if self.n_ended:
            screen.print(f"{self.n_ended} of {self.n} trials are finished", highlight=False)

    @override
    def on_begin(self, trial: Trial) -> None:
        self._running[trial.name] = self.bars.add_task(escape(str(trial)), total=None)

    @override
    def on_step(self, trial: Trial, step: int, n_steps: int) -> None:
        self.bars.update(self._running[trial.name], completed=step, total=n_steps)

    @override
    def on_end(self, trial: Trial, error: str | None) -> None:
        self.bars.remove_task(self._running.pop(trial.name))
        self.n_ended += 1
        self.bars.update(self._all, completed=self.n_ended)
        record = self.sweep.records[trial.name]
        found = f"failed: {error}" if error else record.state
        if record.outcome is not None:
            entry = self.sweep.spec.objective.entry(trial.arm.label)
            value = entry.value(record.outcome.evaluation)
            found = f"{100 * value:.2f} %" if entry.percent else f"{value:.3f}"
        self.screen.print(
            f"trial {self.n_ended} of {self.n}: {trial}: {found}",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )
