"""How a step is computed, and the plain way for one run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.inference.noise import Noise, site_noise
from pyro_mfcvae.training.state import TrainingState


class Steps(ABC):
    """The steps of one run, or of several at once, taken apart; shapes as the runs have them."""

    @abstractmethod
    def begin_step(self) -> None:
        """Set what changes from step to step, in place."""

    @abstractmethod
    def batch(self) -> Tensor:
        """Observations of the step to come."""

    @abstractmethod
    def noise(self, x: Tensor) -> Any:
        """Noise of the step to come, for these observations."""

    @abstractmethod
    def advance(self, x: Tensor, noise: Any) -> Tensor:
        """Gradients and the optimiser's step; returns the terms."""

    @abstractmethod
    def end_step(self, values: Tensor) -> None:
        """Count a step with these terms."""

    def step(self) -> None:
        """Take one step; nothing in it waits for the device, but where mixtures are refitted."""
        self.begin_step()
        x = self.batch()
        self.end_step(self.advance(x, self.noise(x)))


class Eager(Steps):
    """The steps of one run; of several processes each takes its part of every batch.

    Args:
        state: of the run.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.objective = state.engine.wrap(state.objective)

    @override
    def begin_step(self) -> None:
        self.state.begin_step()

    @override
    def batch(self) -> Tensor:
        """The whole batch, shape (B, *event)."""
        return self.state.batches(self.state.step)

    @override
    def noise(self, x: Tensor) -> Noise:
        state = self.state
        return Noise(state.config.seed, state.step, state.engine.part(len(x)).rows)

    @override
    def advance(self, x: Tensor, noise: Noise) -> Tensor:
        """The terms, shape (T,), after gradients and the optimiser's step for a whole batch."""
        state = self.state
        part, n_parts = state.engine.part(len(x)), state.engine.n_processes
        own = x[part.start : part.stop]
        loss, values = self.objective(own, state.fade, noise, part.share, n_parts)
        loss.backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        return values

    @override
    def end_step(self, values: Tensor) -> None:
        self.state.add_up(values)
        self.state.end_step()


class GivenNoise(Eager):
    """The same steps with their noise as tensors, drawn before.

    Raises:
        ConfigError: at the first step, if the guide samples from other than normal distributions.
    """

    def __init__(self, state: TrainingState) -> None:
        super().__init__(state)
        self._shapes: dict[int, dict[str, torch.Size]] = {}

    @override
    def noise(self, x: Tensor) -> dict[str, Tensor]:
        """{site: noise} for observations (B, *event)."""
        state = self.state
        if len(x) not in self._shapes:
            self._shapes[len(x)] = state.objective.noise_shapes(x, state.fade)
        return {
            name: site_noise(state.config.seed, state.step, name, shape, x)
            for name, shape in self._shapes[len(x)].items()
        }

    @override
    def advance(self, x: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        return super().advance(x, Noise(noise))
