"""Training in memory: nothing is read from a run folder, and nothing is written."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pyro_mfcvae.config import Config
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.training.begin import begin
from pyro_mfcvae.training.callbacks import Callback, MetricsLog, StopAtNonsense
from pyro_mfcvae.training.devices.lockstep import take_steps_together
from pyro_mfcvae.training.devices.stepping import stepper
from pyro_mfcvae.training.loop import run_loop
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.state import TrainingState
from pyro_mfcvae.training.trackers import trackings


@dataclass(frozen=True, eq=False)
class Fitted:
    """What a training has come to.

    Attributes:
        state: after its last step.
        dataset: the data.
        log: log points, as in a run's ``metrics.jsonl``.
    """

    state: TrainingState
    dataset: Dataset
    log: list[dict[str, Any]]

    @property
    def model(self) -> FacetModel:
        """The model, on the training device, in evaluation mode."""
        return self.state.model

    @property
    def interrupted(self) -> bool:
        """Whether the training was asked to stop before its end."""
        return self.state.interrupted


def fit(
    config: Config,
    dataset: Dataset | None = None,
    callbacks: Sequence[Callback] = (),
    say: Say = quiet,
) -> Fitted:
    """Train a model from the beginning, in memory.

    The model is the one that :func:`~pyro_mfcvae.runs.train.train` writes into a run folder.

    Args:
        config: the settings.
        dataset: the data; None loads those that the settings name.
        callbacks: of the training loop.
        say: is told what is going on.

    Raises:
        ConfigError, DataError: if something does not fit.
        TrainingError: if pretraining or training breaks down.
    """
    dataset, state, _ = begin(config, dataset, say)
    log = MetricsLog()
    tracked = trackings(config, log, _title(config, dataset))
    take_steps(state, [StopAtNonsense(log), log, *callbacks, *tracked], say)
    return Fitted(state, dataset, log.records)


def fit_all(
    configs: Sequence[Config],
    dataset: Dataset,
    callbacks: Callable[[int, MetricsLog], Sequence[Callback]] = lambda _i, _log: (),
) -> list[Fitted]:
    """As :func:`fit`, for runs that take their steps together, as one program where that is faster.

    Args:
        configs: settings that may differ in their seeds, and in little else.
        dataset: the data.
        callbacks: of a run, by its number and its log.

    Returns:
        the runs that did not break down.

    Raises:
        ConfigError, DataError: if something does not fit.
        TrainingError: if all of them break down.
    """
    states = [begin(config, dataset)[1] for config in configs]
    logs = [MetricsLog() for _ in states]

    def own(i: int, log: MetricsLog) -> list[Callback]:
        tracked = trackings(configs[i], log, _title(configs[i], dataset))
        return [StopAtNonsense(log), log, *callbacks(i, log), *tracked]

    try:
        take_steps_together(states, [own(i, log) for i, log in enumerate(logs)])
    except TrainingError:
        if all(state.failed for state in states):
            raise
    return [
        Fitted(state, dataset, log.records)
        for state, log in zip(states, logs, strict=True)
        if not state.failed
    ]


def _title(config: Config, dataset: Dataset) -> str:
    """What trackers call a run that has no folder."""
    return f"{dataset.name}-seed-{config.seed}"


def take_steps(
    state: TrainingState, callbacks: Sequence[Callback] = (), say: Say = quiet
) -> TrainingState:
    """Train from where the state is to the end of its run, in the way that suits its device.

    Ctrl-C, SIGTERM and SIGHUP end the run after the step under way, with ``state.interrupted``
    set; a second one ends it at once with KeyboardInterrupt. Two seconds after SIGTERM or SIGHUP
    an evaluation or a compiler under way is given up for that; what callbacks were doing is done
    when the run goes on.

    Args:
        state: changed in place.
        callbacks: called in this order, on process 0.
        say: is told what is going on.

    Returns:
        the state.

    Raises:
        TrainingError: if the run breaks down.
    """
    with state.engine.alert():
        run_loop(state, callbacks, stepper(state, say))
    return state
