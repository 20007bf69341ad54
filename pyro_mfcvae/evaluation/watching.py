"""Finding out while a model trains that something is wrong with it."""

from __future__ import annotations

from functools import cached_property

from typing_extensions import override

from pyro_mfcvae.data.observations import Observations, spread
from pyro_mfcvae.evaluation.health import N_EXAMINED, examine
from pyro_mfcvae.training.callbacks import HEALTH, Callback, Metrics, MetricsLog, while_read
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.state import TrainingState

_TIMES = 20  # examinations in a run
_FAIR = 200  # steps, at least, that a facet has for itself before it is judged
_FAIR_SHARE = 0.1  # of all steps, likewise


class HealthWatch(Callback):
    """Examines the model at some of the log points, and says what is wrong.

    Each finding is said when it appears. A facet is judged once it has trained with its full weight
    for a while. Nothing of it reaches the training, and no label is read.

    Args:
        x: observations (N, *event).
        log: to which a log point is added whenever what is wrong has changed; it stands before this
            callback.
        say: is told of what is new.
    """

    def __init__(self, x: Observations, log: MetricsLog, say: Say = quiet) -> None:
        self.x = x
        self.log = log
        self.say = say

    @cached_property
    def _examined(self) -> Observations:
        """Read when the first facet is judged: observations may be in a file."""
        return spread(self.x, N_EXAMINED)

    @override
    def on_start(self, state: TrainingState) -> None:
        """Know what a run that goes on has said already."""
        told = [r["findings"] for r in self.log.records if r["split"] == HEALTH]
        self._known = {(f["kind"], tuple(f["facets"])) for f in (told[-1] if told else ())}

    @override
    def on_log(self, state: TrainingState, metrics: Metrics) -> None:
        every = max(state.n_steps // _TIMES, 1)
        if state.step // every == (state.step - state.config.training.log_every) // every:
            return
        fade = _judged(state)
        if not any(fade):
            return
        found = examine(state.model, self._examined, fade)
        known, self._known = self._known, {(f.kind, f.facets) for f in found}
        if self._known != known:
            self.log.add_findings(state, found)
        for finding in found:
            if (finding.kind, finding.facets) not in known:
                with while_read(state):
                    self.say(f"step {state.step}: {finding.sentence}")


def _judged(state: TrainingState) -> list[float]:
    """Fade weights of the facets, (J,); 0 where one has not had its time yet."""
    training, n_facets = state.config.training, state.model.n_facets
    warm = training.kl_warm_up[1] * state.batches.per_epoch if training.kl_start < 1 else 0
    time = max(_FAIR, _FAIR_SHARE * state.n_steps)
    begun = [max(warm, state.schedule.full_from(j)) for j in range(n_facets)]
    return [float(state.step >= start + time) for start in begun]
