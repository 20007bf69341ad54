"""Peak memory of a training step, beyond what lives from step to step."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.candidates import BY_HAND, NETWORKS, by_hand, networks, training_steps
from benchmarks.timing import Turn
from benchmarks.workload import Workload
from pyro_mfcvae.guides import GUIDES

_ALLOCATION = "[memory]"  # what torch's profiler calls the record of one


def bench_memory(load: Workload) -> dict[str, Any]:
    """Peak memory of one step of every candidate.

    No step is captured: a graph would keep for itself what its step needs at the peak.

    Returns:
        ``"candidates"`` with bytes for each, and how they were measured.
    """
    training = replace(load.config.training, cuda_graph=False)
    load = load.with_config(replace(load.config, training=training))
    makers = {NETWORKS: networks, BY_HAND: by_hand}
    peaks = {name: peak_bytes(make(load), load.device) for name, make in makers.items()}
    for guide in sorted(GUIDES):
        for name, step in training_steps(load, [guide]).items():
            peaks[name] = peak_bytes(step, load.device)
    how = "max_memory_allocated" if load.device.type == "cuda" else "torch.profiler"
    return {"measured_with": how, "candidates": peaks}


def peak_bytes(step: Turn, device: torch.device) -> int:
    """The most bytes in tensors during a step, less those before it.

    Args:
        step: is taken twice before, for optimisers allocate their state in the first.
        device: where the tensors are.
    """
    for _ in range(2):
        step()
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    with (
        _silent_errors(),
        profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler,
    ):
        step()
    return _peak(profiler)


def _peak(profiler: profile) -> int:
    """The highest running sum of allocations and releases on the CPU."""
    assert profiler.profiler is not None
    events = profiler.profiler.kineto_results.events()
    changes = [event for event in events if event.name() == _ALLOCATION]
    held = highest = 0
    for event in sorted(changes, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


@contextmanager
def _silent_errors() -> Iterator[None]:
    """Keep what C++ writes to the error stream away: some profilers announce every start there."""
    sys.stderr.flush()
    stream = os.dup(2)
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(stream, 2)
        os.close(stream)
