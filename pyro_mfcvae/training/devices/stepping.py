"""Which way runs take their steps on their device."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.training.devices.captured import Captured, CudaGraphs
from pyro_mfcvae.training.devices.fastest import MIN_STEPS, Fastest
from pyro_mfcvae.training.devices.functional import Functional, GivenNoise
from pyro_mfcvae.training.devices.together import Together, check_together
from pyro_mfcvae.training.devices.traced import Traced, warn_of_slow_steps
from pyro_mfcvae.training.optimizer import is_captured
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.state import Eager, Steps, TrainingState

_SMALL = 10**8  # products of a step: parameters times observations


def stepper(state: TrainingState, say: Say = quiet) -> Callable[[], None]:
    """What takes the steps of one run.

    On a CUDA device they are captured as graphs, unless ``training.cuda_graph`` is off or several
    processes share the batches. Where ``training.step`` cannot be followed, that is warned of.

    Args:
        state: of the run.
        say: is told when something takes time.
    """
    if _is_captured(state):
        return _by_setting(GivenNoise(state), say)
    eager = Eager(state)
    if state.config.training.step == "eager":
        return eager.step
    if state.config.training.step == "auto":
        if not _is_long(state) or _why_no_graph(state):
            return eager.step
        return _fastest(eager, GivenNoise(state), say)
    if reason := _why_no_graph(state):
        warn_of_slow_steps(f"eager: {reason}")
        return eager.step
    return _by_setting(GivenNoise(state), say)


def stepper_of_all(states: Sequence[TrainingState], say: Say = quiet) -> Callable[[], None]:
    """What takes one step of every run.

    On a CUDA device several runs are one program, and on a CPU where their networks are small. Else
    they take turns: the products of one run fill the CPU already.

    Args:
        states: of runs that may be trained together.
        say: is told when something takes time.

    Raises:
        ConfigError: if they may not.
    """
    check_together(states)
    if not _is_one_program(states):
        return functools.partial(_in_turn, [stepper(state, say) for state in states])
    return _by_setting(Together(states), say)


def _by_setting(steps: Functional, say: Say) -> Callable[[], None]:
    lead = steps.states[0]
    kind = lead.config.training.step
    traced = kind in ("traced", "compiled")
    chosen = Traced(steps, kind == "compiled", say) if traced else steps
    if _is_captured(lead):
        return Captured(chosen, CudaGraphs(lead.fade.device)).step
    return _fastest(chosen, steps, say) if kind == "auto" else chosen.step


def _fastest(eager: Steps, steps: Functional, say: Say) -> Callable[[], None]:
    traced = Traced(steps, tell=say)
    if traced.has_own or not _is_long(steps.states[0]):
        return eager.step
    return Fastest(eager, traced).step


def _is_long(state: TrainingState) -> bool:
    """Whether a run is long enough for other ways than the eager one to be tried."""
    return state.fade.device.type == "cpu" and state.n_steps - state.step >= MIN_STEPS


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


def _why_no_graph(state: TrainingState) -> str:
    if state.engine.n_processes > 1:
        return "several processes share the batches"
    try:
        _need_normal_noise(state)
    except ConfigError as error:
        return str(error)
    return ""


def _is_captured(state: TrainingState) -> bool:
    return is_captured(state.config.training, state.fade.device, state.engine.n_processes)


def _is_one_program(states: Sequence[TrainingState]) -> bool:
    lead = states[0]
    if len(states) == 1 or lead.fade.device.type != "cpu":
        return len(states) > 1
    if sum(p.numel() for p in lead.model.parameters()) * lead.batches.batch_size > _SMALL:
        return False
    return not _why_no_graph(lead)  # in turn they need no noise from outside


def _need_normal_noise(state: TrainingState) -> None:
    with torch.random.fork_rng(devices=[state.fade.device] if state.fade.is_cuda else []):
        state.objective.noise_shapes(state.batches(state.step))
