"""The loops of several runs, advanced in lockstep: one step of all, then the next."""

from __future__ import annotations

from collections.abc import Sequence

from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.training.callbacks import Callback
from pyro_mfcvae.training.devices.stepping import stepper_of_all
from pyro_mfcvae.training.loop import Loop, running
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.state import TrainingState


def take_steps_together(
    states: Sequence[TrainingState], callbacks: Sequence[Sequence[Callback]], say: Say = quiet
) -> None:
    """As :func:`~pyro_mfcvae.training.take_steps`, for runs that take their steps together.

    A run that breaks down ends alone; the others go on. Whatever interrupts the first one
    interrupts all.

    Args:
        states: changed in place.
        callbacks: of each run.
        say: is told what is going on.

    Raises:
        ConfigError: if the runs cannot be trained together.
        TrainingError: once the others have ended, if a run broke down.
    """
    step = stepper_of_all(states, say)
    loops = [Loop(state, own) for state, own in zip(states, callbacks, strict=True)]
    lead, broken = loops[0], dict[int, TrainingError]()
    with running(loops) as stop_signal:
        while lead.goes_on:
            step()
            is_late = False
            for i, loop in enumerate(loops):
                if i not in broken:
                    try:
                        if is_late:
                            loop.postpone()
                        else:
                            loop.after_step()
                        is_late = loop.state.pending
                    except TrainingError as error:
                        loop.state.failed, broken[i] = True, error
            if len(broken) == len(loops):
                break
            lead.stop_if(stop_signal())
            for state in states:
                state.interrupted = lead.state.interrupted
    if broken:
        raise broken[min(broken)]
