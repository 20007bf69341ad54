"""What may happen beside the steps of a training run."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, NotRequired

import torch
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text
from typing_extensions import TypedDict, override

from pyro_mfcvae.config import Whole
from pyro_mfcvae.errors import RunError, TrainingError
from pyro_mfcvae.files import naming, open_regular, read_json, validated, write_whole
from pyro_mfcvae.findings import Finding
from pyro_mfcvae.training.checks import STANDARDISE, STEADY, large_values
from pyro_mfcvae.training.state import TrainingState

Metrics = dict[str, float]
HEALTH = "health"
"""The split of log points that say what is wrong with the model."""

_LONGEST = 2**20  # bytes of a log point


class _Record(TypedDict):
    """A log point: what was measured on a split of the data at a step, or found to be wrong."""

    step: Whole
    epoch: Whole
    split: str
    values: dict[str, int | float]
    findings: NotRequired[list[dict[str, Any]]]


class Callback:
    """Hooks of a training run; each does nothing unless overridden."""

    def on_start(self, state: TrainingState) -> None:
        """Before the first step, also after resuming."""

    def on_step(self, state: TrainingState) -> None:
        """After each step."""

    def on_log(self, state: TrainingState, metrics: Metrics) -> None:
        """At each log point, with the means of all terms since the last one."""

    def on_epoch(self, state: TrainingState, metrics: Metrics) -> None:
        """After each epoch, with the means at the latest log point; empty before the first."""

    def on_end(self, state: TrainingState) -> None:
        """After the last step, also of an interrupted run."""


class MetricsLog(Callback):
    """Keeps the log points of a run, each a dictionary.

    Args:
        path: of a ``.jsonl`` file to which each is appended as a line; None keeps them in memory.

    Attributes:
        records: all log points, in order.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []

    @override
    def on_start(self, state: TrainingState) -> None:
        """Drop what a killed run wrote after the checkpoint that training goes on from."""
        if self.path is not None and (found := read_metrics(self.path)):
            last = state.step - state.pending
            self.records = [record for record in found if record["step"] <= last]
            write_whole(self.path, "".join(f"{json.dumps(record)}\n" for record in self.records))

    @override
    def on_log(self, state: TrainingState, metrics: Metrics) -> None:
        self.add(state, "train", metrics)

    def add(self, state: TrainingState, split: str, values: Metrics, **more: object) -> None:
        """Add one log point: what was measured on a split of the data at this step."""
        record = {"step": state.step, "epoch": state.epoch, "split": split, "values": values}
        record |= more
        self.records.append(record)
        if self.path is not None:
            with naming(self.path), self.path.open("a") as file:
                file.write(json.dumps(record) + "\n")

    def add_findings(self, state: TrainingState, findings: Sequence[Finding]) -> None:
        """Add a log point that says what is wrong with the model at this step."""
        self.add(state, HEALTH, {}, findings=[finding.to_dict() for finding in findings])


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """All log points of a file, in order, up to a line that a full disk left unfinished.

    Returns:
        them; none if there is no such file.

    Raises:
        RunError: if it is no regular file, or a line is no log point.
    """
    records: list[dict[str, Any]] = []
    try:
        with open_regular(path) as file:
            while line := file.readline(_LONGEST):
                try:
                    records.append(dict(validated(_Record, json.loads(line))))
                except (ValueError, RecursionError) as error:
                    if line.endswith(b"\n") or len(line) == _LONGEST:
                        raise RunError(
                            f"line {len(records) + 1} of {path} is no log point ({error}); remove "
                            "the lines from there on"
                        ) from None
    except FileNotFoundError:
        pass
    return records


@dataclass(frozen=True)
class Stretch:
    """A stretch of training, or of pretraining, which has no steps."""

    first_step: Whole
    last_step: Whole
    seconds: float
    device: str
    n_threads: int


class Timings(Callback):
    """Records how long each stretch of training took, measuring and saving included.

    Args:
        path: of a JSON file with a list, which is added to.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @override
    def on_start(self, state: TrainingState) -> None:
        """Note the beginning; a file that cannot be added to is told of now."""
        read_timings(self.path)
        self._began, self._first_step = time.monotonic(), state.step

    @override
    def on_end(self, state: TrainingState) -> None:
        add_timing(self.path, state, self._first_step, time.monotonic() - self._began)


def add_timing(path: Path, state: TrainingState, first_step: int, seconds: float) -> None:
    """Add a stretch of training, or of pretraining, which has no steps, to a file of timings."""
    device, n_threads = str(state.fade.device), torch.get_num_threads()
    new = Stretch(first_step, state.step, round(seconds, 2), device, n_threads)
    stretches = [asdict(stretch) for stretch in (*read_timings(path), new)]
    write_whole(path, json.dumps(stretches, indent=1) + "\n")


def read_timings(path: Path) -> list[Stretch]:
    """The stretches that a run was trained in; none if there is no such file.

    Raises:
        RunError: if it is damaged.
    """
    try:
        return read_json(path, partial(validated, list[Stretch]))
    except FileNotFoundError:
        return []


class StopAtNonsense(Callback):
    """Ends a run whose objective is no longer finite, before it spoils the last checkpoint.

    Args:
        log: is told of it.
    """

    def __init__(self, log: MetricsLog) -> None:
        self.log = log

    @override
    def on_log(self, state: TrainingState, metrics: Metrics) -> None:
        wrong = [name for name, value in metrics.items() if not math.isfinite(value)]
        if wrong:
            told = explain_not_finite(state, ", ".join(wrong))
            self.log.add_findings(state, [Finding("not finite", (), told)])
            raise TrainingError(told)


def explain_not_finite(state: TrainingState, what: str) -> str:
    """What is no longer finite, since when, and what to change.

    Args:
        state: of the run.
        what: to be named where the term that broke first is not known.
    """
    step, names = state.first_not_finite()
    if len(names) > 1:
        names = [name for name in names if name != "elbo"]
    large = large_values(state.model.observation, state.config)
    cause = f": {large}, so {STANDARDISE};" if large else ";"
    return f"{', '.join(names) or what} is no longer finite at step {step}{cause} {STEADY}"


@contextmanager
def while_read(state: TrainingState) -> Iterator[None]:
    """Interrupt the run, which saves it, once nobody reads what is printed any more."""
    try:
        yield
    except (OSError, SystemExit):  # the latter is how a console ends the process then
        state.interrupted = state.step < state.n_steps


class ProgressBar(Callback):
    """Shows ELBO, its parts, fade weights and the time left.

    On a terminal it is a bar; elsewhere, such as in a log file, a line now and then.

    Args:
        console: where to show it.
        seconds_per_line: between lines where there is no terminal.
    """

    def __init__(self, console: Console, seconds_per_line: float = 15.0) -> None:
        self.console = console
        self.seconds_per_line = seconds_per_line
        self._text = ""
        self._bar: _BarAndText | None = None

    @override
    def on_start(self, state: TrainingState) -> None:
        self._started = self._last_line = time.monotonic()
        self._first_step = state.step
        if self.console.is_terminal:
            self._bar = _BarAndText(
                MofNCompleteColumn(),
                BarColumn(bar_width=None),
                TimeElapsedColumn(),
                TextColumn("left"),
                TimeRemainingColumn(),
                console=self.console,
            )
            self._task = self._bar.add_task("", total=state.n_steps, completed=state.step)
            self._bar.start()

    @override
    def on_step(self, state: TrainingState) -> None:
        if self._bar is not None:
            with while_read(state):
                self._bar.update(self._task, completed=state.step)

    @override
    def on_log(self, state: TrainingState, metrics: Metrics) -> None:
        self._text = describe(metrics)
        if self._bar is not None:
            self._bar.text = self._text
        elif time.monotonic() - self._last_line > self.seconds_per_line:
            with while_read(state):
                self._print_line(state)

    @override
    def on_end(self, state: TrainingState) -> None:
        with while_read(state):
            if self._bar is not None:
                self._bar.stop()
                self._bar = None
            else:
                self._print_line(state)

    def _print_line(self, state: TrainingState) -> None:
        self._last_line = time.monotonic()
        n_done = max(state.step - self._first_step, 1)
        left = (self._last_line - self._started) / n_done * (state.n_steps - state.step)
        self.console.print(
            f"step {state.step}/{state.n_steps}  {self._text}  {left:.0f} s left",
            highlight=False,
            soft_wrap=True,
            markup=False,
        )


def describe(metrics: Metrics) -> str:
    """ELBO and its parts in one line, the KLs weighed as in the ELBO; others by site."""
    parts = [f"ELBO {metrics['elbo']:.2f}", f"log p(x|z) {metrics['reconstruction']:.2f}"]
    fades = [value for name, value in metrics.items() if name.startswith("fade_")]
    weights = [metrics.get(f"kl_weight_{j}", fade) for j, fade in enumerate(fades)]
    for label, name in (("KL z", "kl_z"), ("KL c", "kl_c")):
        weighed = [weight * metrics[f"{name}_{j}"] for j, weight in enumerate(weights)]
        parts.append(f"{label} " + "/".join(f"{value:.2f}" for value in weighed))
    known = ("elbo", "reconstruction", "kl_z_", "kl_c_", "fade_", "kl_weight_")
    for name, value in metrics.items():
        if not name.startswith(known):
            parts.append(f"{name} {metrics.get(f'kl_weight_{name}', 1.0) * value:.2f}")
    parts.append("fade " + "/".join(f"{fade:.2f}" for fade in fades))
    return "  ".join(parts)


class _BarAndText(Progress):
    """A progress bar with a line of text below it, where narrow terminals have room for it."""

    text = ""

    @override
    def get_renderables(self) -> Iterable[RenderableType]:
        yield from super().get_renderables()
        yield Text(self.text, style="dim")
