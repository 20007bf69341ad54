"""The callback between a run and its trackers, which no failure of a tracker passes."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path

from typing_extensions import override

from pyro_mfcvae.config import Config, identity
from pyro_mfcvae.errors import ConfigError, NotTrackedWarning
from pyro_mfcvae.files import read_json, validated, write_whole
from pyro_mfcvae.training.callbacks import Callback, Metrics, MetricsLog
from pyro_mfcvae.training.state import TrainingState
from pyro_mfcvae.training.trackers.base import TRACKERS, Status, Tracked, Tracker


class Tracking(Callback):
    """Tells a tracker every log point of a run. Its place is behind all that add log points.

    A tracker that fails is told no more, with one warning: training goes on.

    Args:
        name: of the tracker.
        log: of the run.
        title: name of the run.
        folder: of the run, where ``trackers.json`` says what trackers call it; None in memory.
    """

    def __init__(self, name: str, log: MetricsLog, title: str, folder: Path | None = None) -> None:
        self.name, self.log, self.title, self.folder = name, log, title, folder
        self._tracker: Tracker | None = None

    @override
    def on_start(self, state: TrainingState) -> None:
        self._n_told = len(self.log.records)  # those of a resumed run were told before
        self._tracker = TRACKERS[self.name]()
        self._try(lambda tracker: self._begin(tracker, state))

    @override
    def on_log(self, state: TrainingState, metrics: Metrics) -> None:
        self._tell()

    @override
    def on_epoch(self, state: TrainingState, metrics: Metrics) -> None:
        self._tell()

    @override
    def on_end(self, state: TrainingState) -> None:
        self._tell()
        status: Status = "failed" if state.failed else "finished"
        if state.interrupted and not state.failed:
            status = "interrupted"
        self._try(lambda tracker: tracker.end(status))

    def _begin(self, tracker: Tracker, state: TrainingState) -> None:
        known = {} if self.folder is None or not state.step else read_names(self.folder)
        run = Tracked(self.title, identity(state.config), state.step, self.folder)
        found = tracker.begin(run, known.get(self.name))
        if found is not None and self.folder is not None and known.get(self.name) != found:
            names = read_names(self.folder) | {self.name: found}
            write_whole(self.folder / "trackers.json", json.dumps(names, indent=2) + "\n")

    def _tell(self) -> None:
        new, self._n_told = self.log.records[self._n_told :], len(self.log.records)
        if new:
            self._try(lambda tracker: _pass_on(tracker, new))

    def _try(self, act: Callable[[Tracker], None]) -> None:
        if self._tracker is None:
            return
        try:
            act(self._tracker)
        except Exception as error:
            self._tracker = None
            told = " ".join(f"{type(error).__name__}: {error}".split())
            warnings.warn(
                f"{self.name} is told no more of {self.title} ({told}); training goes on, and its "
                "own log is whole",
                NotTrackedWarning,
                stacklevel=3,
            )


def _pass_on(tracker: Tracker, records: Iterable[dict]) -> None:
    for record in records:
        step, split = record["step"], record["split"]
        if record["values"]:
            tracker.log(step, {f"{split}/{name}": v for name, v in record["values"].items()})
        if "findings" in record:
            sentences = [finding["sentence"] for finding in record["findings"]]
            tracker.tell(step, "\n\n".join(sentences) or "Nothing is wrong any more.")


def trackings(
    config: Config, log: MetricsLog, title: str, folder: Path | None = None
) -> list[Callback]:
    """What tells the trackers of ``training.track``; arguments as for :class:`Tracking`."""
    return [Tracking(name, log, title, folder) for name in dict.fromkeys(config.training.track)]


def check_trackers(config: Config) -> None:
    """Raise a ConfigError if a tracker is unknown, or its package is not installed."""
    for name in config.training.track:
        tracker = TRACKERS[name]
        if find_spec(tracker.package) is None:
            raise ConfigError(
                f"tracker {name!r} needs the package {tracker.package}: "
                f'pip install "{tracker.install}", or take it out of training.track'
            )


def read_names(folder: Path) -> dict[str, str]:
    """What trackers call the run in a folder, by their names.

    Raises:
        RunError: if the file is damaged.
    """
    try:
        return read_json(folder / "trackers.json", lambda v: validated(dict[str, str], v))
    except FileNotFoundError:
        return {}
