"""What every tracker does: it begins a run, or goes on with one, and is told its log points."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from pyro_mfcvae.registry import Registry

Status = Literal["finished", "interrupted", "failed"]

TRACKERS: Registry[type[Tracker]] = Registry("tracker")

register_tracker = TRACKERS.register
"""Class decorator: make a tracker known by name to the setting ``training.track``."""

PROJECT = "pyro_mfcvae"
"""The project or experiment of runs, unless the tracker's own environment variable names one."""


@dataclass(frozen=True)
class Tracked:
    """What a tracker is told of a run.

    Attributes:
        name: of the run.
        settings: those that change its results, by their dotted paths.
        step: steps that were done before: 0, or where a resumed run goes on.
        folder: of the run; None in memory.
    """

    name: str
    settings: Mapping[str, Any]
    step: int = 0
    folder: Path | None = None


class Tracker(ABC):
    """A tracker, of one run. Whatever it raises is caught by :class:`Tracking`.

    Attributes:
        package: the Python package that it needs.
        install: what pip installs to have the package.
    """

    package: ClassVar[str]
    install: ClassVar[str] = "pyro_mfcvae[track]"

    @abstractmethod
    def begin(self, run: Tracked, known: str | None) -> str | None:
        """Begin a run, or go on with one.

        Args:
            run: the run.
            known: what an earlier call returned, where the run is resumed.

        Returns:
            what the tracker finds the run again by; None where the run's folder suffices.
        """

    @abstractmethod
    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Add numbers.

        Args:
            step: steps done.
            values: by ``SPLIT/NAME``, with the split and the names of ``metrics.jsonl``.
        """

    @abstractmethod
    def tell(self, step: int, text: str) -> None:
        """Add what is wrong with the model now, in sentences."""

    @abstractmethod
    def end(self, status: Status) -> None:
        """End the run, which may be gone on with unless it is finished."""
