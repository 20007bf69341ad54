"""What a CUDA device does in a training step."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.timing import Turn

_ON_DEVICE = ("kernel", "gpu_memcpy", "gpu_memset")  # categories of the profiler's trace


def what_waits(step: Turn, device: torch.device, n_steps: int = 3) -> str | None:
    """What made the host wait for the device in a step; None if nothing did.

    Args:
        step: which has been taken before, in graphs as often as it takes to capture them.
        device: what it computes on.
        n_steps: steps to watch.
    """
    torch.cuda.synchronize(device)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(n_steps):
            step()
    except RuntimeError as error:
        return str(error).splitlines()[0]
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return None


def kernel_seconds(step: Turn, device: torch.device, n_steps: int = 20) -> float:
    """Seconds per step that kernels, copies and fills take on the device, summed up.

    Those of replayed graphs are among them, each by itself.
    """
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA]) as profiler:
        for _ in range(n_steps):
            step()
        torch.cuda.synchronize(device)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        profiler.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    return summed_durations(events) / n_steps


def summed_durations(events: list[dict]) -> float:
    """Seconds of all events of a trace that are work on the device; durations are in 1e-6 s."""
    return 1e-6 * sum(event["dur"] for event in events if event.get("cat") in _ON_DEVICE)
