"""Many runs as one program: R seeds, or settings of equal shapes, in each step.

Every parameter of R runs is one tensor with a leading dimension R, of which each run's model holds
its row. ``torch.func.vmap`` computes the R objectives in one pass; each run's own optimiser then
takes its rows of the gradients. So a run takes the steps that it would take alone, and its model,
optimiser and checkpoints are those of any other run.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, vmap
from typing_extensions import override

from pyro_mfcvae.config import Config, identity
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.noise import Noise, site_noise
from pyro_mfcvae.training.devices.functional import Functional, Gradients, Tensors
from pyro_mfcvae.training.optimizer import update
from pyro_mfcvae.training.state import TrainingState


class Together(Functional):
    """Training states that take their steps together.

    Args:
        states: of runs that :func:`check_together` lets pass.

    Raises:
        ConfigError: if they differ otherwise.
    """

    def __init__(self, states: Sequence[TrainingState]) -> None:
        check_together(states)
        self.states = tuple(states)
        self.objective = states[0].objective
        modules = [state.objective for state in states]
        self.parameters = _stacked_parameters(modules)
        self._buffers = _stacked_buffers(modules)
        self._noise_shapes: dict[int, dict[str, torch.Size]] = {}

    @property
    @override
    def buffers(self) -> Tensors:
        return self._buffers

    @override
    def begin(self) -> tuple[Tensor, Tensors]:
        for state in self.states:
            state.begin_step()
        x = torch.stack([state.batches(state.step) for state in self.states])
        n = x.shape[1]
        if n not in self._noise_shapes:
            self._noise_shapes[n] = self.objective.noise_shapes(x[0])
        return x, {
            name: torch.stack(
                [site_noise(s.config.seed, s.step, name, shape, x) for s in self.states]
            )
            for name, shape in self._noise_shapes[n].items()
        }

    @override
    def end(self, values: Tensor) -> None:
        for state, own in zip(self.states, values.unbind(), strict=True):
            state.objective.term_names = self.objective.term_names
            state.end_step(own)

    @override
    def evaluate(
        self, parameters: Tensors, buffers: Tensors, x: Tensor, noise: Tensors
    ) -> tuple[Tensor, Tensor]:
        return vmap(self._one)(parameters, buffers, x, noise)

    @override
    def update(self, grads: Gradients) -> None:
        learnt = (name for name, p in self.parameters.items() if p.requires_grad)
        for name, grad in zip(learnt, grads, strict=True):
            rows = [None] * len(self.states) if grad is None else grad.unbind()
            for state, row in zip(self.states, rows, strict=True):
                state.objective.get_parameter(name).grad = row
        for state in self.states:
            update(state.optimizer, state.config.training)

    def _one(
        self, parameters: Tensors, buffers: Tensors, x: Tensor, noise: Tensors
    ) -> tuple[Tensor, Tensor]:
        return functional_call(self.objective, (parameters, buffers), (x, Noise(noise)))


def check_together(states: Sequence[TrainingState]) -> None:
    """Make sure that runs can be trained together.

    Raises:
        ConfigError: if their settings differ in more than :func:`check_alike` allows, or they are
            not at one step.
    """
    check_alike([state.config for state in states])
    if len({state.step for state in states}) > 1:
        raise ConfigError(
            "runs trained together must be at one step, got "
            f"{', '.join(str(state.step) for state in states)}; go on with each alone"
        )


def check_alike(configs: Sequence[Config]) -> None:
    """Make sure that runs with these settings can be trained together.

    Seeds, learning rates, initial variances and the scale of a Gaussian likelihood may differ.

    Raises:
        ConfigError: if anything else does.
    """
    first, *others = (shared_settings(config) for config in configs)
    for other in others:
        for path in sorted(first.keys() | other.keys()):
            if first.get(path) != other.get(path):
                raise ConfigError(
                    f"runs trained together cannot differ in {path} ({first.get(path)!r} and "
                    f"{other.get(path)!r}), only in seed, training.learning_rate, "
                    "training.mixture_learning_rate, model.facets.J.initial_variance and the "
                    "scale of likelihood gaussian; train them one after the other"
                )


def shared_settings(config: Config) -> dict[str, object]:
    """What runs that are trained together have in common, by dotted paths."""
    may_differ = {"seed", "training.learning_rate", "training.mixture_learning_rate"}
    may_differ |= {f"model.facets.{j}.initial_variance" for j in range(len(config.model.facets))}
    if config.model.likelihood.name == "gaussian":
        may_differ.add("model.likelihood.options.scale")
    settings = identity(config) | {"training.device": config.training.device}
    return {path: value for path, value in settings.items() if path not in may_differ}


def _stacked_parameters(modules: Sequence[nn.Module]) -> Tensors:
    """All parameters, (R, *shape); each module's own become rows of them."""
    stacked = {}
    for name, first in modules[0].named_parameters():
        own = [module.get_parameter(name) for module in modules]
        stacked[name] = torch.stack([p.detach() for p in own])
        for p, row in zip(own, stacked[name].unbind(), strict=True):
            p.data = row
        stacked[name].requires_grad_(first.requires_grad)
    return stacked


def _stacked_buffers(modules: Sequence[nn.Module]) -> Tensors:
    """All buffers, (R, *shape); each module's own become rows of them."""
    stacked = {}
    for name, _ in modules[0].named_buffers():
        owner, _, last = name.rpartition(".")
        stacked[name] = torch.stack([module.get_buffer(name) for module in modules])
        for module, row in zip(modules, stacked[name].unbind(), strict=True):
            module.get_submodule(owner)._buffers[last] = row
    return stacked
