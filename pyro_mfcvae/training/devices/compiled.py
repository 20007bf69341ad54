"""Graphs of steps through torch's compiler, which needs one for C++ on a CPU."""

from __future__ import annotations

import os
import shutil
import sys
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule

from pyro_mfcvae.training.devices.functional import Graph


def compile_graph(module: GraphModule, arguments: Sequence[Tensor]) -> Graph:
    """A function that computes what a graph does, kept in torch's cache on disk.

    Args:
        module: the graph.
        arguments: of it; further calls have the same shapes.

    Raises:
        Exception: of many kinds, if there is no compiler, it fails, or the cache cannot be written.
    """
    from torch._inductor import standalone_compile  # takes seconds to import

    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the compiler's own, about its own code
        return standalone_compile(
            module,
            [tensor.detach() for tensor in arguments],
            dynamic_shapes="from_example_inputs",
            options={"config_patches": {"fallback_random": True}},
        )


def has_compiler() -> bool:
    """Whether there is a C++ compiler where torch looks for one."""
    default = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX", default)) is not None
