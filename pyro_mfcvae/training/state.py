"""Everything that a training run is at one moment."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pyro_mfcvae.config import Config
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.fade_in import FadeInSchedule
from pyro_mfcvae.models.base import FacetModel
from pyro_mfcvae.noise import Noise
from pyro_mfcvae.training.batches import Batches
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.optimizer import adam, set_learning_rates


@dataclass(eq=False)
class TrainingState:
    """Model, optimiser and position of a run.

    Attributes:
        model: the model, on the training device.
        objective: what is minimised, a module around the model.
        config: settings of the run.
        batches: the batch of any step.
        optimizer: Adam over all learnt parameters.
        data: fingerprint of the observations and their split.
        schedule: fade weights of any step.
        fade: weights of the step under way, (J,) on the device, updated in place.
        step: steps done.
        interrupted: whether the run was asked to stop before its end.
        stop_requested: whether a signal asked for a stop, which in the last step comes too late to
            interrupt the run.
        failed: whether an error ended it.
        totals: sums of the terms since the last log point, named by ``term_names``.
        n_totals: steps in these sums.
        weights: what ``fade`` holds, as numbers.
    """

    model: FacetModel
    objective: Objective
    config: Config
    batches: Batches
    optimizer: torch.optim.Optimizer
    schedule: FadeInSchedule
    fade: Tensor
    data: str = ""
    step: int = 0
    interrupted: bool = False
    stop_requested: bool = False
    failed: bool = False
    totals: Tensor | None = None
    n_totals: int = 0
    term_names: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    @property
    def n_steps(self) -> int:
        """Steps of the whole run."""
        return self.config.training.n_epochs * self.batches.per_epoch

    @property
    def last_fade(self) -> tuple[float, ...]:
        """Fade weights of the last step taken: those that the model has been trained with."""
        return self.schedule(max(self.step - 1, 0))

    @property
    def epoch(self) -> int:
        """Epochs completed."""
        return self.step // self.batches.per_epoch

    def train_step(self) -> None:
        """Take one step; nothing in it waits for the device."""
        self.begin_step()
        noise = Noise(self.config.seed, self.step)
        loss, values = self.objective(self.batches(self.step), self.fade, noise)
        loss.backward()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        self.add_up(values)
        self.end_step()

    def begin_step(self) -> None:
        """Set fade weights and learning rates of the step to come."""
        weights = self.schedule(self.step)
        if weights != self.weights:  # a copy to the device at every step would be a waste
            new = torch.tensor(weights, dtype=self.fade.dtype)
            self.fade.copy_(new, non_blocking=True)
            self.weights = weights
        set_learning_rates(
            self.optimizer,
            self.config.training,
            self.step,
            self.n_steps,
            self.batches.per_epoch,
        )

    def add_up(self, values: Tensor) -> None:
        """Add the terms of a step, (T,), to their sums."""
        if self.totals is None:
            self.totals = torch.zeros_like(values)
        self.totals += values

    def end_step(self) -> None:
        """Count a step whose terms have been added up."""
        self.term_names = self.objective.term_names
        self.n_totals += 1
        self.step += 1

    def take_means(self) -> dict[str, float]:
        """Means of all terms since the last call; this waits for the device."""
        if self.totals is None or not self.n_totals:
            return {}
        means = (self.totals / self.n_totals).tolist()
        self.totals.zero_()
        self.n_totals = 0
        return dict(zip(self.term_names, means, strict=True))


def new_state(model: FacetModel, x: Tensor, config: Config) -> TrainingState:
    """The state before the first step.

    Args:
        model: an initialised model, on the training device.
        x: training observations (N, *event), on the same device.
        config: settings of the run.

    Raises:
        ConfigError: if the batches do not fit the data or the networks.
    """
    parameter = next(model.parameters())
    training = config.training
    batches = Batches(x, training.batch_size, config.seed, parameter.dtype)
    check_last_batch(model, len(x), training.batch_size, "training.batch_size")
    objective = Objective(model, config)
    stages = training.epochs_per_step
    if len(stages) == 1 < model.n_facets:
        # All at once: stages of no length, and no fading in.
        stages, n_fade_in = (0,) * (model.n_facets - 1) + stages, 0
    else:
        n_fade_in = training.n_fade_in_batches
    schedule = FadeInSchedule(
        tuple(n * batches.per_epoch for n in stages), n_fade_in, training.fade_in_shape
    )
    return TrainingState(
        model=model,
        objective=objective,
        config=config,
        batches=batches,
        optimizer=adam(model, training),
        schedule=schedule,
        fade=torch.ones(model.n_facets, dtype=parameter.dtype, device=parameter.device),
    )


def check_last_batch(model: FacetModel, n: int, batch_size: int, setting: str) -> None:
    """Refuse a last batch of one observation where there is batch norm.

    Args:
        model: the model.
        n: training observations.
        batch_size: B.
        setting: its name, for the message.

    Raises:
        ConfigError: if they do not fit.
    """
    has_batch_norm = any(
        isinstance(m, torch.nn.modules.batchnorm._BatchNorm) for m in model.modules()
    )
    if (n - 1) % batch_size == 0 and has_batch_norm:
        raise ConfigError(
            f"with {n} training observations and {setting}={batch_size} the last batch holds a "
            "single one, which batch norm cannot normalise; choose another batch size"
        )
