"""Which way runs take their steps on their device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from pyro_mfcvae.training.devices.captured import Alone, Captured, CudaGraphs
from pyro_mfcvae.training.devices.together import Together, check_together
from pyro_mfcvae.training.optimizer import is_captured
from pyro_mfcvae.training.state import TrainingState


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
    if not _is_one_program(states):
        return functools.partial(_in_turn, states)
    together = Together(states)
    return Captured(together, CudaGraphs(device)).train_step if captured else together.train_step


def check_noise(states: Sequence[TrainingState]) -> None:
    """Make sure that runs which are to be one program can be given their noise from outside.

    Args:
        states: before their first step, of runs that may be trained together.

    Raises:
        ConfigError: if their guide samples from other than normal distributions.
    """
    if _is_one_program(states):
        lead = states[0]
        with torch.random.fork_rng(devices=[lead.fade.device] if lead.fade.is_cuda else []):
            lead.objective.noise_shapes(lead.batches(0))


def _is_one_program(states: Sequence[TrainingState]) -> bool:
    return len(states) > 1 and states[0].fade.device.type != "cpu"


def _in_turn(states: Sequence[TrainingState]) -> None:
    for state in states:
        state.train_step()
