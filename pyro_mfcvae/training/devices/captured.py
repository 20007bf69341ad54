"""Steps on a CUDA device, captured once as a graph and replayed.

A step launches hundreds of small kernels; replaying a graph of them spares Python and the launches.
What changes from step to step is copied into tensors that stay in place: the batch, the noise, the
fade weights, the learning rates.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Protocol

import torch
from torch import Tensor

from pyro_mfcvae.errors import TrainingError
from pyro_mfcvae.training.state import Steps

N_WARM_UP = 3
"""Steps taken as they are before one is captured: libraries set themselves up in them."""

Compute = Callable[[], Tensor]


class Graphs(Protocol):
    """Makes graphs of computations."""

    def warm_up(self, compute: Compute) -> Tensor:
        """Compute as it is, where capturing will take place."""

    def capture(self, compute: Compute) -> tuple[Callable[[], None], Tensor]:
        """What replays the computation, and its result, which each replay overwrites."""


class Captured:
    """Takes steps by replaying a graph for each kind of them.

    Args:
        steps: of one run or many, whose noise is tensors. Their optimisers keep learning rates and
            counts on the device.
        graphs: makes the graphs.

    Raises:
        ConfigError: at the first step, if the guide samples from other than normal distributions.
        TrainingError: at the first step to be captured, if it cannot be.
    """

    def __init__(self, steps: Steps, graphs: Graphs) -> None:
        self.steps = steps
        self.graphs = graphs
        self._n_taken: dict[Hashable, int] = {}
        self._captured: dict[Hashable, _CapturedStep] = {}

    def step(self) -> None:
        """Take one step; nothing in it waits for the device."""
        steps = self.steps
        x, noise = steps.begin()
        kind = steps.kind(x)
        n_taken = self._n_taken.get(kind, 0)
        self._n_taken[kind] = n_taken + 1
        if n_taken < N_WARM_UP:
            values = self.graphs.warm_up(lambda: steps.advance(x, noise))
        else:
            if kind not in self._captured:
                self._captured[kind] = _CapturedStep(steps, x, noise, self.graphs)
            values = self._captured[kind].replay(x, noise)
        steps.end(values)


class _CapturedStep:
    """One captured step, with the tensors that it reads."""

    def __init__(
        self, steps: Steps, x: Tensor, noise: Mapping[str, Tensor], graphs: Graphs
    ) -> None:
        self.x = x.clone()
        self.noise = {name: eps.clone() for name, eps in noise.items()}
        try:
            self.run, self.values = graphs.capture(lambda: steps.advance(self.x, self.noise))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            raise TrainingError(
                "a step cannot be captured as a CUDA graph: something in it waits for the device, "
                "or copies from the host; mend that, or train with --set "
                f"training.cuda_graph=false ({error})"
            ) from error

    def replay(self, x: Tensor, noise: Mapping[str, Tensor]) -> Tensor:
        self.x.copy_(x)
        for name, eps in noise.items():
            self.noise[name].copy_(eps)
        self.run()
        return self.values


class CudaGraphs:
    """CUDA graphs that share their memory, for no two of them run at once.

    Args:
        device: of the computations, which need not be the current one.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.pool = torch.cuda.graph_pool_handle()
        self.stream = torch.cuda.Stream(device)

    def warm_up(self, compute: Compute) -> Tensor:
        """Compute as it is, on the stream that captures."""
        current = torch.cuda.current_stream(self.device)
        self.stream.wait_stream(current)
        with torch.cuda.stream(self.stream):
            values = compute()
        current.wait_stream(self.stream)
        return values

    def capture(self, compute: Compute) -> tuple[Callable[[], None], Tensor]:
        """What replays the computation, and its result, which each replay overwrites."""
        graph = torch.cuda.CUDAGraph()
        with (
            torch.cuda.device(self.device),  # which is waited for before the capture begins
            torch.cuda.graph(graph, pool=self.pool, stream=self.stream),
        ):
            values = compute()
        return graph.replay, values
