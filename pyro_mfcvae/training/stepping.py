"""Which way runs take their steps on their device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

from pyro_mfcvae.training.captured import Alone, Captured, CudaGraphs
from pyro_mfcvae.training.optimizer import is_captured
from pyro_mfcvae.training.state import TrainingState
from pyro_mfcvae.training.together import Together, check_together


def stepping(states: Sequence[TrainingState]) -> Callable[[], None]:
    """What takes one step of every run.

    On a CUDA device several runs are one program, and steps are captured as graphs, unless
    ``training.cuda_graph`` is off or several processes share the batches. On a CPU the runs take
    turns: there the products of one run fill the device already.

    Args:
        states: of runs that may be trained together.

    Raises:
        ConfigError: if they may not.
    """
    lead = states[0]
    device = lead.fade.device
    captured = is_captured(lead.config.training, device, lead.engine.n_processes)
    if len(states) == 1:
        return Captured(Alone(lead), CudaGraphs(device)).train_step if captured else lead.train_step
    check_together(states)
    if device.type == "cpu":
        return functools.partial(_in_turn, states)
    together = Together(states)
    return Captured(together, CudaGraphs(device)).train_step if captured else together.train_step


def _in_turn(states: Sequence[TrainingState]) -> None:
    for state in states:
        state.train_step()
