"""What studies share on the terminal: a bar for each run that is being trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from pyro_mfcvae.cli.options import say_plainly

if TYPE_CHECKING:
    from rich.console import Console

    from pyro_mfcvae.studies.engine import Study
    from pyro_mfcvae.studies.jobs import Record, Watch


@contextmanager
def watch_study(
    screen: Console, study: Study, what: str, found: Callable[[Record], str], bars: bool = True
) -> Iterator[Watch]:
    """Show a bar for all runs and one for each that is being trained; a line for each ended.

    Where there is no terminal, only the lines are shown.

    Args:
        screen: the terminal.
        study: the study.
        what: its runs are called.
        found: describes a run that has ended.
        bars: False shows lines only, for trainings that show bars of their own.
    """
    from rich.markup import escape
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeElapsedColumn,
    )

    from pyro_mfcvae.studies.jobs import Job, Watch

    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=screen,
        transient=True,
        disable=not (bars and screen.is_terminal),
    )
    n, n_ended = len(study.jobs), len(study.jobs) - len(study.missing)

    class Bars(Watch):
        def __init__(self) -> None:
            self.n_ended = n_ended
            self.all = progress.add_task(f"all {what}s", total=n, completed=n_ended)
            self.running: dict[str, TaskID] = {}

        def on_begin(self, job: Job) -> None:
            self.running[job.name] = progress.add_task(escape(str(job)), total=None)
            if not bars:
                say_plainly(screen, f"{what} {self.n_ended + 1} of {n}: {job}")

        def on_step(self, job: Job, step: int, n_steps: int) -> None:
            progress.update(self.running[job.name], completed=step, total=n_steps)

        def on_end(self, job: Job, error: str | None) -> None:
            progress.remove_task(self.running.pop(job.name))
            self.n_ended += 1
            progress.update(self.all, completed=self.n_ended)
            if bars or error:
                text = f"failed: {error}" if error else found(study.records[job.name])
                say_plainly(screen, f"{what} {self.n_ended} of {n}: {job}: {text}")

    if n_ended:
        say_plainly(screen, f"{n_ended} of {n} {what}s are finished")
    with progress:
        yield Bars()
