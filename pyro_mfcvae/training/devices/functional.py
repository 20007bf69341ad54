"""Steps as functions of tensors: parameters, buffers, batch and noise, which is drawn before."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.func import functional_call
from typing_extensions import override

from pyro_mfcvae.inference.noise import Noise, site_noise
from pyro_mfcvae.training.objective import Objective
from pyro_mfcvae.training.optimizer import update
from pyro_mfcvae.training.state import Steps, TrainingState

Tensors = dict[str, Tensor]
Gradients = Sequence[Tensor | None]
Graph = Callable[..., Sequence[Tensor | None]]
"""Parameters, buffers, batch and noise to gradients and terms; buffers change in place."""


class Functional(Steps):
    """Steps of one run, or of R runs, whose loss and terms are a function of tensors.

    Attributes:
        states: of the runs.
        objective: the module, of R runs the first one's.
        parameters: all parameters by name, of R runs (R, *shape).
    """

    states: tuple[TrainingState, ...]
    objective: Objective
    parameters: Tensors

    @property
    @abstractmethod
    def buffers(self) -> Tensors:
        """All buffers by name, of R runs (R, *shape)."""

    @abstractmethod
    def evaluate(
        self, parameters: Tensors, buffers: Tensors, x: Tensor, noise: Tensors
    ) -> tuple[Tensor, Tensor]:
        """The loss, () or (R,), and the terms, (T,) or (R, T); buffers change in place."""

    @abstractmethod
    def update(self, grads: Gradients) -> None:
        """The optimiser's step, with the gradients of all parameters that have one."""

    @override
    def advance(self, x: Tensor, noise: Tensors) -> Tensor:
        grads, values = self.gradients(self.parameters, self.buffers, x, noise)
        self.update(grads)
        return values

    def gradients(
        self, parameters: Tensors, buffers: Tensors, x: Tensor, noise: Tensors
    ) -> tuple[list[Tensor | None], Tensor]:
        """Gradients of the parameters that are learnt, laid out as these, and the terms."""
        losses, values = self.evaluate(parameters, buffers, x, noise)
        learnt = [p for p in parameters.values() if p.requires_grad]
        grads = torch.autograd.grad(losses.sum(), learnt, allow_unused=True)
        return [_laid_out_as(p, g) for p, g in zip(learnt, grads, strict=True)], values


class GivenNoise(Functional):
    """The steps of one run with their noise as tensors, {site: noise}.

    Args:
        state: of the run, which one process takes.

    Raises:
        ConfigError: at the first step, if the guide samples from other than normal distributions.
    """

    def __init__(self, state: TrainingState) -> None:
        self.state, self.states = state, (state,)
        self.objective = state.objective
        self.parameters = dict(self.objective.named_parameters())
        self._owners = {
            name: self.objective.get_submodule(name.rpartition(".")[0])
            for name, _ in self.objective.named_buffers()
        }
        self._shapes: dict[int, dict[str, torch.Size]] = {}

    @property
    @override
    def buffers(self) -> Tensors:
        # A module may put another tensor into the place of its buffer.
        return {
            name: getattr(owner, name.rpartition(".")[2]) for name, owner in self._owners.items()
        }

    @override
    def begin(self) -> tuple[Tensor, Tensors]:
        state = self.state
        state.begin_step()
        x = state.batches(state.step)
        if len(x) not in self._shapes:
            self._shapes[len(x)] = self.objective.noise_shapes(x)
        return x, {
            name: site_noise(state.config.seed, state.step, name, shape, x)
            for name, shape in self._shapes[len(x)].items()
        }

    @override
    def evaluate(
        self, parameters: Tensors, buffers: Tensors, x: Tensor, noise: Tensors
    ) -> tuple[Tensor, Tensor]:
        tensors = {**parameters, **buffers}
        result = functional_call(self.objective, tensors, (x, Noise(noise)))
        for name, buffer in buffers.items():
            if tensors[name] is not buffer:
                buffer.copy_(tensors[name])
        return result

    @override
    def update(self, grads: Gradients) -> None:
        learnt = (p for p in self.parameters.values() if p.requires_grad)
        for p, grad in zip(learnt, grads, strict=True):
            p.grad = grad
        update(self.state.optimizer, self.state.config.training)

    @override
    def end(self, values: Tensor) -> None:
        self.state.end_step(values)


def _laid_out_as(parameter: Tensor, grad: Tensor | None) -> Tensor | None:
    """A gradient with the strides of its parameter, for which the fused optimiser takes them."""
    if grad is None or grad.stride() == parameter.stride():
        return grad
    return torch.empty_like(parameter).copy_(grad)
