"""One run from its settings to its results: train or go on, evaluate, draw."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import RunError
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.runs.measure import evaluate_run, lacking
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import Parts, resume, train
from pyro_mfcvae.training import Callback
from pyro_mfcvae.training.checkpoints import checkpoints
from pyro_mfcvae.training.say import Say, quiet


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop; everything so far is saved."""


def finish(
    config: Config,
    folder: Path,
    dataset: Dataset,
    callbacks: Sequence[Callback] = (),
    say: Say = quiet,
    judged: Parts = ("test",),
) -> Run:
    """Train a run to its end, unless that was done; an interrupted one goes on.

    Args:
        config: the settings; of a run that exists only the places may be others.
        folder: of the run. What was killed there before its first step is removed.
        dataset: its data.
        callbacks: of the training loop.
        say: is told what is going on.
        judged: as for :func:`~pyro_mfcvae.runs.train.train`.

    Raises:
        Interrupted: if Ctrl-C or SIGTERM ended the training.
        RunError: if another process is at it, or the folder holds a run of other data.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.with_name(f".{folder.name}.lock"), timeout=0):
            if folder.exists() and not checkpoints(folder / "checkpoints"):
                shutil.rmtree(folder)
            if not folder.exists():
                run, state, _ = train(
                    config, folder, callbacks, say, dataset=dataset, judged=judged
                )
            elif is_finished(run := Run(folder), dataset):
                if run.checkpoint().data not in (None, dataset.fingerprint):
                    raise RunError(
                        f"{folder} was trained on other data than those that its settings give "
                        "now; put the data back, or choose another folder"
                    )
                return run
            else:
                places = (config.data.options.get("data_dir"), config.training.device)
                state, _ = resume(run, callbacks, say, *places, dataset=dataset, judged=judged)
    except Timeout:
        raise RunError(
            f"another process is training {folder}; wait for its end, or interrupt it"
        ) from None
    if state.interrupted or state.stop_requested:
        raise Interrupted
    return run


def is_finished(run: Run, dataset: Dataset) -> bool:
    """Whether all steps were done."""
    return run.step() >= run.n_steps(len(dataset.train))


def complete(
    run: Run,
    dataset: Dataset | None = None,
    say: Say = quiet,
    *,
    anew: bool = True,
    draw: bool = True,
    slow: Mapping[str, Any] | None = None,
) -> Evaluation:
    """Evaluate a run as it is now, and draw its figures.

    Args:
        run: the run.
        dataset: its data; None loads them again, if they are needed.
        say: is told what is going on.
        anew: whether to do what was done for the newest checkpoint already.
        draw: whether to draw figures.
        slow: what takes long to measure, as for :func:`~pyro_mfcvae.runs.measure.evaluate_run`.

    Raises:
        ConfigError, DataError, RunError: as of evaluating and drawing.
    """
    from pyro_mfcvae.runs.draw import draw_run

    lacks = slow if anew else lacking(run, dataset, slow)
    to_measure, to_draw = anew or lacks is not None, draw and (anew or not is_drawn(run))
    if dataset is None and (to_measure or to_draw):
        say("preparing the data")
        dataset = run.dataset()
    found = None
    if to_measure:
        say("evaluating")
        found = evaluate_run(run, dataset, lacks, say)
    if to_draw:
        say("drawing")
        draw_run(run, dataset)
    found = found or run.evaluation()
    assert found is not None
    return found


def is_drawn(run: Run) -> bool:
    """Whether the figures are there, but for those with a reason, of the newest model and names."""
    from pyro_mfcvae.figures import drawn

    with suppress(RunError, FileNotFoundError):  # damaged, or a checkpoint that training removes
        written = (run.checkpoint().path / "state.json").stat().st_mtime
        if run.names_path.exists():
            written = max(written, run.names_path.stat().st_mtime)
        files = [run.figures / f"{name}.png" for name in drawn(run.figures)]
        return bool(files) and all(path.stat().st_mtime >= written for path in files)
    return False
