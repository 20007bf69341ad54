"""Steps whose loss and gradients are one graph of aten operations, traced once.

A graph spares Python, Pyro and autograd at every step. Its arguments are all that changes from step
to step: parameters, buffers, batch and noise.
"""

from __future__ import annotations

import traceback
import warnings
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any

import pyro
import torch
from torch import Tensor, nn
from torch.fx import GraphModule
from torch.fx.experimental.proxy_tensor import make_fx
from typing_extensions import override

from pyro_mfcvae.allocator import is_out_of_memory
from pyro_mfcvae.errors import SlowStepWarning
from pyro_mfcvae.signals import Interrupted
from pyro_mfcvae.training.devices.compiled import compile_graph
from pyro_mfcvae.training.devices.functional import Functional, Graph, Tensors
from pyro_mfcvae.training.devices.simplified import simplify
from pyro_mfcvae.training.say import Say, quiet
from pyro_mfcvae.training.state import Steps

MAX_GRAPHS = 8
"""Graphs of one size of batch, for values of attributes of a person's own modules."""

_WORTH_A_GRAPH = {False: 1000, True: 5000}  # steps, of graphs that are compiled many

_LIBRARIES = tuple(str(Path(str(library.__file__)).parent) for library in (torch, pyro))
_NAME = __name__.partition(".")[0]
_OURS = str(Path(__file__).parents[2])


def warn_of_slow_steps(what: str) -> None:
    """Say how steps are computed instead of how ``training.step`` says, and why."""
    warnings.warn(
        f"training.step cannot be followed, and steps are {what}",
        SlowStepWarning,
        stacklevel=1,  # one place, so that it is told once
    )


class UntraceableError(RuntimeError):
    """A graph would not compute what the step does; says why."""


class Traced(Steps):
    """Takes steps by graphs, and as they are where they cannot be traced, which is warned of once.

    Before a graph is used, its results are compared with those of the step as it is. What modules
    of a person's own hold besides parameters and buffers is a constant of the graph: a number, a
    text or a tensor that has been replaced makes a graph of its own. So does a stretch of training
    in which the fade weight of a facet is 0: what has no effect then is left out.

    Args:
        steps: of one run or many.
        compiles: whether graphs of whole batches are compiled, where that succeeds.
        say: is told of it.
        tell: is told how steps are computed where they cannot be so, and why.

    Attributes:
        has_own: whether there are modules of a person's own.
    """

    def __init__(
        self,
        steps: Functional,
        compiles: bool = False,
        say: Say = quiet,
        tell: Say = warn_of_slow_steps,
    ) -> None:
        self.steps = steps
        self.compiles, self.say, self.tell = compiles, say, tell
        self._modules = [*steps.objective.modules()]
        self._own = [m for m in self._modules if _is_own(type(m))]
        self.has_own = bool(self._own)
        self._graphs: dict[tuple[Hashable, Any, Any], Graph] = {}
        self._as_it_is: set[torch.Size] = set()

    @override
    def begin(self) -> tuple[Tensor, Tensors]:
        return self.steps.begin()

    @override
    def advance(self, x: Tensor, noise: Tensors) -> Tensor:
        graph = None if x.shape in self._as_it_is else self._graph(x, noise)
        if graph is None:
            return self.steps.advance(x, noise)
        with torch.no_grad():
            *grads, values = graph(*self._arguments(x, noise))
        self.steps.update(grads)
        assert values is not None
        return values

    @override
    def end(self, values: Tensor) -> None:
        self.steps.end(values)

    @override
    def kind(self, x: Tensor) -> Hashable:
        return x.shape, tuple(self._facets_off())

    def _facets_off(self) -> list[int]:
        """Facets whose turn comes in a later stage, if this one is worth a graph without them."""
        state = self.steps.states[0]
        n_steps = state.schedule.steps_per_stage
        stage, _ = state.schedule.stage(state.step)
        is_worth_it = n_steps[stage] >= _WORTH_A_GRAPH[self.compiles]
        return list(range(len(n_steps) - 1 - stage)) if is_worth_it else []

    def _arguments(self, x: Tensor, noise: Tensors) -> list[Tensor]:
        steps = self.steps
        return [*steps.parameters.values(), *steps.buffers.values(), x, *noise.values()]

    def _graph(self, x: Tensor, noise: Tensors) -> Graph | None:
        learnt = (p.requires_grad for p in self.steps.parameters.values())
        modes = *learnt, *(module.training for module in self._modules)
        key = self.kind(x), modes, self._constants()
        if key not in self._graphs:
            try:
                self._graphs[key] = self._new_graph(x, noise)
            except Exception as error:  # of whatever a person's model may do
                if is_out_of_memory(error):
                    raise
                self._as_it_is.add(x.shape)
                self.tell(f"eager: {_told(error)}")
        return self._graphs.get(key)

    def _new_graph(self, x: Tensor, noise: Tensors) -> Graph:
        _check_hooks(self.steps.objective)
        if sum(kind == self.kind(x) for kind, *_ in self._graphs) == MAX_GRAPHS:
            names = ", ".join(sorted({name for name, _ in self._constants()}))
            raise UntraceableError(
                f"an attribute of the model ({names}) has another value too often; make it a "
                "buffer that changes in place"
            )
        before, held = self._constants(), [dict(vars(module)) for module in self._own]
        arguments = self._arguments(x, noise)
        try:
            graph = self._trace(arguments, list(noise), self._facets_off())
            changed = {name for name, _ in {*before} ^ {*self._constants()}}
            if changed:
                raise UntraceableError(
                    f"{', '.join(sorted(changed))} of the model changes as it runs; make it a "
                    "buffer that changes in place"
                )
            compare(graph, self._flat(list(noise)), arguments, self._tolerance)
        finally:
            for module, attributes in zip(self._own, held, strict=True):
                vars(module).clear()
                vars(module).update(attributes)
        if self.compiles and self._is_whole(x):
            return self._compiled(graph, arguments)
        return graph

    def _compiled(self, graph: GraphModule, arguments: list[Tensor]) -> Graph:
        self.say("compiling the step")
        try:
            compiled = compile_graph(graph, arguments)
            compare(compiled, graph, arguments, self._tolerance)
        except Interrupted:
            return graph  # the run ends after this step
        except Exception as error:  # of whatever stands between torch and a compiler
            if is_out_of_memory(error):
                raise
            line, *_ = str(error).splitlines() or [""]
            self.tell(f"traced, as compiling fails ({type(error).__name__}: {line})")
            return graph
        return compiled

    def _trace(self, arguments: list[Tensor], sites: list[str], off: list[int]) -> GraphModule:
        trace = make_fx(self._flat(sites), tracing_mode="fake", _allow_non_fake_inputs=True)
        module = trace(*arguments)
        known = {}
        if off:
            fade = [*self.steps.parameters, *self.steps.buffers].index("model.fade")
            may_be = torch.ones(arguments[fade].shape)
            may_be[..., off] = 0.0
            known[module.graph.find_nodes(op="placeholder")[fade]] = may_be
        simplify(module, known)
        return module

    @property
    def _tolerance(self) -> float:
        model = self.steps.objective.model
        return torch.finfo(model.training_dtype or model.fade.dtype).eps ** 0.5

    def _is_whole(self, x: Tensor) -> bool:
        state = self.steps.states[0]
        n = x.shape[-1 - len(state.model.observation.shape)]
        return n == min(state.batches.batch_size, len(state.batches.x))

    def _flat(self, sites: list[str]) -> Callable[..., list[Tensor | None]]:
        """The function to trace; its arguments are those of a graph."""
        steps = self.steps
        learnt = [p.requires_grad for p in steps.parameters.values()]

        def flat(*tensors: Tensor) -> list[Tensor | None]:
            given = iter(tensors)
            parameters = {
                name: next(given).detach().requires_grad_(is_learnt)
                for name, is_learnt in zip(steps.parameters, learnt, strict=True)
            }
            buffers = {name: next(given) for name in steps.buffers}
            x = next(given)
            noise = dict(zip(sites, given, strict=True))
            grads, values = steps.gradients(parameters, buffers, x, noise)
            return [*grads, values.detach()]

        return flat

    def _constants(self) -> tuple[tuple[str, Any], ...]:
        """What a graph takes for constants though it may change."""
        return tuple(
            (name, id(value) if isinstance(value, Tensor) else value)
            for module in self._own
            for name, value in vars(module).items()
            if isinstance(value, bool | int | float | str | Tensor)
        )


def compare(graph: Graph, step: Graph, arguments: Sequence[Tensor], tolerance: float) -> None:
    """Make sure that a graph gives what a step does, to rounding, and leaves the same buffers.

    Args:
        graph: what is to take the place of the step.
        step: what it is to be equal to.
        arguments: of both; they are left as they are.
        tolerance: relative to the largest entry of what is compared.

    Raises:
        UntraceableError: if it does not.
    """
    results = []
    devices = [arguments[0].device] if arguments[0].is_cuda else []
    for compute in (graph, step):
        own = [tensor.detach().clone() for tensor in arguments]
        with torch.random.fork_rng(devices), torch.set_grad_enabled(compute is step):
            results.append([*compute(*own), *own])
    if [a is None for a in results[0]] != [b is None for b in results[1]]:
        raise UntraceableError("its graph has other gradients")
    pairs = [(a.double(), b.double()) for a, b in zip(*results, strict=True) if b is not None]
    sizes = [b.nan_to_num(0.0, 0.0, 0.0).abs().max().item() if b.numel() else 0.0 for _, b in pairs]
    # What should vanish, as before batch norm, is rounding errors of larger numbers.
    least = tolerance**0.5 * max(sizes[: -len(arguments)])
    for (a, b), size in zip(pairs, sizes, strict=True):
        atol = tolerance * max(size, least)
        if not torch.allclose(a, b, rtol=0, atol=atol, equal_nan=True):
            raise UntraceableError("its graph gives other numbers")


def _check_hooks(module: nn.Module) -> None:
    hooked = [name for name, p in module.named_parameters() if p._backward_hooks]
    hooked += [
        name
        for name, part in module.named_modules()
        if part._forward_hooks or part._forward_pre_hooks or part._backward_hooks
    ]
    if hooked:
        raise UntraceableError(f"{', '.join(hooked)} has a hook, which a graph would not call")


def _is_own(kind: type[nn.Module]) -> bool:
    return kind.__module__.partition(".")[0] not in ("torch", "pyro", _NAME)


def _told(error: Exception) -> str:
    """What went wrong, and in which line of a person's model, or else of the library."""
    if isinstance(error, UntraceableError):
        return str(error)
    frames = [
        f for f in traceback.extract_tb(error.__traceback__) if not f.filename.startswith("<")
    ]
    ours = [frame for frame in frames if not frame.filename.startswith(_LIBRARIES)]
    own = [frame for frame in ours if not frame.filename.startswith(_OURS)] or ours
    line, *_ = str(error).splitlines() or [""]
    return (
        f"{own[-1].filename}:{own[-1].lineno} ({own[-1].line}) cannot be traced "
        f"({type(error).__name__}: {line}); choices by values of tensors are made by torch.where"
    )
