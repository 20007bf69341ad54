"""Which way runs take their steps on their device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.training.devices.captured import Captured, CudaGraphs
from pyro_mfcvae.training.devices.functional import GivenNoise
from pyro_mfcvae.training.devices.together import Together, check_together
from pyro_mfcvae.training.optimizer import is_captured
from pyro_mfcvae.training.state import Eager, TrainingState

_SMALL = 10**8  # products of a step: parameters times observations


def stepper(state: TrainingState) -> Callable[[], None]:
    """What takes the steps of one run.

    On a CUDA device they are captured as graphs, unless ``training.cuda_graph`` is off or several
    processes share the batches.
    """
    if _is_captured(state):
        return Captured(GivenNoise(state), CudaGraphs(state.fade.device)).step
    return Eager(state).step


def stepper_of_all(states: Sequence[TrainingState]) -> Callable[[], None]:
    """What takes one step of every run.

    On a CUDA device several runs are one program, and on a CPU where their networks are small. Else
    they take turns: the products of one run fill the CPU already.

    Args:
        states: of runs that may be trained together.

    Raises:
        ConfigError: if they may not.
    """
    check_together(states)
    if not _is_one_program(states):
        return functools.partial(_in_turn, [stepper(state) for state in states])
    together = Together(states)
    if _is_captured(states[0]):
        return Captured(together, CudaGraphs(states[0].fade.device)).step
    return together.step


def check_noise(states: Sequence[TrainingState]) -> None:
    """Make sure that runs which are to be one program can be given their noise from outside.

    Args:
        states: before their first step, of runs that may be trained together.

    Raises:
        ConfigError: if their guide samples from other than normal distributions.
    """
    if _is_one_program(states):
        _need_normal_noise(states[0])


def _in_turn(steps: Sequence[Callable[[], None]]) -> None:
    for step in steps:
        step()


def _is_captured(state: TrainingState) -> bool:
    return is_captured(state.config.training, state.fade.device, state.engine.n_processes)


def _is_one_program(states: Sequence[TrainingState]) -> bool:
    lead = states[0]
    if len(states) == 1 or lead.fade.device.type != "cpu":
        return len(states) > 1
    if sum(p.numel() for p in lead.model.parameters()) * lead.batches.batch_size > _SMALL:
        return False
    try:
        _need_normal_noise(lead)
    except ConfigError:
        return False  # in turn they need none from outside
    return True


def _need_normal_noise(state: TrainingState) -> None:
    with torch.random.fork_rng(devices=[state.fade.device] if state.fade.is_cuda else []):
        state.objective.noise_shapes(state.batches(state.step))
