"""How a step is computed, and the plain way for one run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.inference.noise import Noise, site_noise
from pyro_mfcvae.training.state import TrainingState


class Steps(ABC):
    """The steps of one run, or of R runs at once: shapes then begin with R."""

    @abstractmethod
    def begin(self) -> tuple[Tensor, Any]:
        """Set what changes from step to step, in place.

        Returns:
            the batch of the step to come, (B, *event), and its noise.
        """

    @abstractmethod
    def advance(self, x: Tensor, noise: Any) -> Tensor:
        """Gradients and the optimiser's step; returns the terms, (T,)."""

    @abstractmethod
    def end(self, values: Tensor) -> None:
        """Count a step with these terms, (T,)."""

    def step(self) -> None:
        """Take one step; nothing in it waits for the device, but where mixtures are refitted."""
        self.end(self.advance(*self.begin()))


class Eager(Steps):
    """The steps of one run; of several processes each takes its part of every batch.

    Args:
        state: of the run.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state = state
        self.objective = state.engine.wrap(state.objective)

    @override
    def begin(self) -> tuple[Tensor, Any]:
        self.state.begin_step()
        x = self.state.batches(self.state.step)
        return x, self.noise(x)

    def noise(self, x: Tensor) -> Any:
        """Noise of the step to come, for a batch (B, *event)."""
        state = self.state
        return Noise(state.config.seed, state.step, state.engine.part(len(x)).rows)

    @override
    def advance(self, x: Tensor, noise: Any) -> Tensor:
        state, engine = self.state, self.state.engine
        part = engine.part(len(x))
        own = x[part.start : part.stop]
        loss, values = self.objective(own, noise, part.share, engine.n_processes)
        loss.backward()
        state.optimizer.step()
        state.optimizer.zero_grad(set_to_none=True)
        return values

    @override
    def end(self, values: Tensor) -> None:
        self.state.end_step(values)


class GivenNoise(Eager):
    """The same steps with their noise as tensors, {site: noise}, drawn before.

    Raises:
        ConfigError: at the first step, if the guide samples from other than normal distributions.
    """

    def __init__(self, state: TrainingState) -> None:
        super().__init__(state)
        self._shapes: dict[int, dict[str, torch.Size]] = {}

    @override
    def noise(self, x: Tensor) -> dict[str, Tensor]:
        state = self.state
        if len(x) not in self._shapes:
            self._shapes[len(x)] = state.objective.noise_shapes(x)
        return {
            name: site_noise(state.config.seed, state.step, name, shape, x)
            for name, shape in self._shapes[len(x)].items()
        }

    @override
    def advance(self, x: Tensor, noise: dict[str, Tensor]) -> Tensor:
        return super().advance(x, Noise(noise))
