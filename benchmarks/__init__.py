"""Speed: training steps against the same model written by hand in PyTorch, and what they cost."""

from benchmarks.run import PARTS, PRESETS, Request, run_bench

__all__ = ["PARTS", "PRESETS", "Request", "run_bench"]
