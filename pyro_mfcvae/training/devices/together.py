"""Many runs as one program: R seeds, or settings of equal shapes, in each step.

Every parameter of R runs is one tensor with a leading dimension R, of which each run's model holds
its row. ``torch.func.vmap`` computes the R objectives in one pass, and one optimiser updates all
rows where the runs have one learning rate; else each run's own takes its rows of the gradients. So
a run takes the steps that it would take alone, and its model, optimiser and checkpoints are those
of any other run.
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
        self._learnt = [name for name, p in self.parameters.items() if p.requires_grad]
        self._own = [[m.get_parameter(name) for name in self._learnt] for m in modules]
        self._adam: torch.optim.Optimizer | None = None
        self._may_join = _may_be_joined(states)
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
        # Before the update: runs that go on must be joined in the step in which the others were, as
        # an element is rounded as its place in a tensor has it.
        if self._adam is None and self._may_join:
            self._adam = self._joined()
        if self._adam is None:
            self._update_each(grads)
            return
        lead = self.states[0]
        for name, grad in zip(self._learnt, grads, strict=True):
            self.parameters[name].grad = grad
        for group, own in zip(self._adam.param_groups, lead.optimizer.param_groups, strict=True):
            group["lr"] = own["lr"]
        update(self._adam, lead.config.training)

    def _update_each(self, grads: Gradients) -> None:
        for i, grad in enumerate(grads):
            rows = [None] * len(self.states) if grad is None else grad.unbind()
            for own, row in zip(self._own, rows, strict=True):
                own[i].grad = row
        for state in self.states:
            update(state.optimizer, state.config.training)

    def _joined(self) -> torch.optim.Optimizer | None:
        """An optimiser of all runs, of whose moments each run's own holds its rows.

        None where a parameter has no moments, which then has had no gradient yet.
        """
        optimizers = [state.optimizer for state in self.states]
        have_moments = all(
            p in optimizer.state
            for own, optimizer in zip(self._own, optimizers, strict=True)
            for p in own
        )
        if not have_moments:
            return None
        whole = (self.parameters[name] for name in self._learnt)
        stacked = dict(zip(self._own[0], whole, strict=True))
        groups = [
            {**group, "params": [stacked[p] for p in group["params"]]}
            for group in optimizers[0].param_groups
        ]
        adam = torch.optim.Adam(groups)
        for i, p in enumerate(stacked.values()):
            own = [o.state[each[i]] for o, each in zip(optimizers, self._own, strict=True)]
            adam.state[p] = {"step": own[0]["step"]}
            for name in ("exp_avg", "exp_avg_sq"):
                adam.state[p][name] = torch.stack([moments[name] for moments in own])
                for moments, row in zip(own, adam.state[p][name].unbind(), strict=True):
                    moments[name], moments["step"] = row, own[0]["step"]
        return adam

    def _one(
        self, parameters: Tensors, buffers: Tensors, x: Tensor, noise: Tensors
    ) -> tuple[Tensor, Tensor]:
        return functional_call(self.objective, (parameters, buffers), (x, Noise(noise)))


def _may_be_joined(states: Sequence[TrainingState]) -> bool:
    """Whether one optimiser can update all runs: on CUDA captured steps cost no Python anyway."""
    rates = {tuple(g["initial_lr"] for g in state.optimizer.param_groups) for state in states}
    lead = states[0]
    is_limited = lead.config.training.max_gradient_norm is not None
    return lead.fade.device.type == "cpu" and not is_limited and len(rates) == 1


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
