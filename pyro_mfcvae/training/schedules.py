"""Numbers of the objective and the optimiser as functions of the step."""

from __future__ import annotations

import math

from pyro_mfcvae.config import Config, TrainingConfig


def learning_rate(
    config: TrainingConfig, initial: float, step: int, n_steps: int, per_epoch: int
) -> float:
    """The learning rate at a step (from 0).

    Args:
        config: with the schedule.
        initial: learning rate of the first step.
        step: steps done.
        n_steps: steps of the whole run.
        per_epoch: steps of an epoch.
    """
    if step < config.learning_rate_warm_up:
        initial = initial * (step + 1) / config.learning_rate_warm_up
    if config.learning_rate_schedule == "constant":
        return initial
    if config.learning_rate_schedule == "cosine":
        return initial * (0.5 * (1 + math.cos(math.pi * step / n_steps)))
    n_decays = step // per_epoch // config.decay_every
    lowest = min(config.learning_rate_floor, initial)
    return max(initial * config.learning_rate_decay**n_decays, lowest)


def kl_scale(training: TrainingConfig, step: int, per_epoch: int) -> float:
    """What all KL terms are multiplied with at a step (from 0), with so many steps an epoch."""
    return training.kl_weight * _warm_up(training, step, per_epoch)


def relaxation(config: Config, step: int, per_epoch: int) -> float:
    """Temperature of relaxed clusters at a step (from 0), with so many steps an epoch."""
    first, last = config.guide.temperature
    n_epochs = config.guide.temperature_epochs or config.training.n_epochs
    return first * (last / first) ** min(step / (n_epochs * per_epoch), 1.0)


def _warm_up(training: TrainingConfig, step: int, per_epoch: int) -> float:
    first, last = (epoch * per_epoch for epoch in training.kl_warm_up)
    if step >= last:
        return 1.0
    if step <= first:
        return training.kl_start
    return training.kl_start + (1 - training.kl_start) * (step - first) / (last - first)
