"""What a page says of one run: everything that was measured, drawn and recorded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyro_mfcvae.data import in_folder
from pyro_mfcvae.errors import (
    ConfigError,
    DamagedCheckpointWarning,
    DataError,
    NotSavedWarning,
    OtherDataWarning,
    OtherModelWarning,
    RunError,
)
from pyro_mfcvae.evaluation.results import Comparison, Evaluation, FacetResults
from pyro_mfcvae.figures import read_reasons
from pyro_mfcvae.report.pictures import Picture, read_pictures
from pyro_mfcvae.runs.complete import complete, is_drawn
from pyro_mfcvae.runs.draw import draw_comparison
from pyro_mfcvae.runs.measure import lacking
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.training.checkpoints import Checkpoint
from pyro_mfcvae.training.say import Say

_FAILURES = (ConfigError, DataError, RunError, OSError)
_WARNINGS = (DamagedCheckpointWarning, NotSavedWarning, OtherDataWarning, OtherModelWarning)


@dataclass(frozen=True, eq=False)
class Facts:
    """One run, as a page shows it.

    Attributes:
        run: the run.
        evaluation: results of the latest evaluation, where there are any.
        comparison: of guides, where there is one.
        metrics: log points.
        environment: command, versions and machine, as far as they were recorded.
        pictures: the run's figures.
        left_out: figures that do not fit the run, by name, and why.
        data: fingerprint of the data that the model was trained on, where it is known.
        notes: what a reader should know before believing the rest.
    """

    run: Run
    evaluation: Evaluation | None
    comparison: Comparison | None
    metrics: list[dict[str, Any]]
    environment: dict[str, Any]
    pictures: tuple[Picture, ...]
    left_out: dict[str, str]
    data: str | None
    notes: tuple[str, ...]

    @property
    def name(self) -> str:
        """The folder's name."""
        return self.run.path.resolve().name

    @property
    def facets(self) -> list[FacetResults]:
        """What was measured of each facet, shallow first; empty before any evaluation."""
        return self.evaluation.facets if self.evaluation else []


def gather(run: Run, data_dir: Path | None = None, say: Say = lambda _: None) -> Facts:
    """Measure and draw what is missing, as far as model and data can be had, and collect it all.

    Args:
        run: the run.
        data_dir: folder of the data's files, in place of the one in the settings.
        say: is told what is going on.

    Raises:
        ConfigError: if a folder is given and the data set reads no files.
        RunError: if there is neither a model nor an evaluation, or a file of results is damaged.
    """
    if data_dir is not None:
        in_folder(run.config.data, data_dir)
    run.evaluation()  # before anything long: a damaged file is refused
    comparison = run.comparison()
    notes: list[str] = []
    with _warnings_in(notes):
        checkpoint = _checkpoint(run, notes)
        if checkpoint is not None:
            _complete(run, checkpoint, data_dir, notes, say)
    evaluation = run.evaluation()
    n_facets, names = len(run.config.model.facets), run.facet_names()
    pictures, damaged = read_pictures(run.figures, n_facets, names)
    notes += [as_sentence(found.sentence) for found in (evaluation and evaluation.health) or ()]
    notes += [f"The figure {name} is damaged and left out." for name in damaged]
    data = (checkpoint.data if checkpoint else None) or (evaluation.data if evaluation else None)
    return Facts(
        run=run,
        evaluation=evaluation,
        comparison=comparison,
        metrics=run.metrics(),
        environment=run.environment(),
        pictures=pictures,
        left_out=read_reasons(run.figures),
        data=data,
        notes=tuple(dict.fromkeys(notes)),
    )


def _checkpoint(run: Run, notes: list[str]) -> Checkpoint | None:
    """The newest checkpoint, or None with a note where earlier results can stand in for it."""
    try:
        return run.checkpoint()
    except RunError as error:
        if run.evaluation() is None:
            raise
        notes.append(
            f"The model cannot be opened ({error}). This page shows what was measured and drawn "
            "before."
        )
        return None


def _complete(
    run: Run, checkpoint: Checkpoint, data_dir: Path | None, notes: list[str], say: Say
) -> None:
    """Evaluate and draw, where that is not done for this checkpoint; notes say what failed."""
    before = run.evaluation()
    try:
        if not ((lacking(run) is None) and is_drawn(run)):
            say(f"{run.path}: preparing the data")
            dataset = run.dataset(data_dir)
            complete(run, dataset, lambda text: say(f"{run.path}: {text}"), anew=False)
        elif run.comparison() and not (run.figures / "guides.png").exists():
            draw_comparison(run)
    except _FAILURES as error:
        done = {"measured": (lacking(run) is None), "drawn": is_drawn(run)}
        missing = " and ".join(name for name in done if not done[name])
        notes.append(f"The newest checkpoint could not be {missing} for this page: {error}")
        if before is not None and not done["measured"]:
            notes.append(
                f"The measures are those of step {before.step}; the newest checkpoint is of "
                f"step {checkpoint.step}."
            )


@contextmanager
def _warnings_in(notes: list[str]) -> Iterator[None]:
    """Collect the library's own warnings as notes; others go on as they would."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for warning in caught:
        if issubclass(warning.category, _WARNINGS):
            notes.append(f"Take care: {warning.message}.")
        else:
            warnings.warn_explicit(
                warning.message, warning.category, warning.filename, warning.lineno
            )


def as_sentence(text: str) -> str:
    """The text with a capital letter and a full stop."""
    return f"{text[0].upper()}{text[1:]}."
