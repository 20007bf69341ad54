"""Graphs of steps through torch's compiler, which needs one for C++ on a CPU."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.fx import GraphModule

from pyro_mfcvae.errors import SlowStepWarning
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


def make_cache_folder(compiles: bool) -> None:
    """Make the folder of torch's cache, or give torch one that ends with this process.

    torch makes it with its first optimiser, whatever the steps are, and fails if it cannot.

    Args:
        compiles: whether steps are to be compiled, so that another folder is worth a warning.
    """
    folder = os.environ.get("TORCHINDUCTOR_CACHE_DIR")
    if folder is None:
        return  # torch's own choice is among temporary files
    try:
        os.makedirs(folder, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        other = tempfile.mkdtemp(prefix="torchinductor_")
        atexit.register(shutil.rmtree, other, ignore_errors=True)
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = other
        if compiles:
            warnings.warn(
                f"TORCHINDUCTOR_CACHE_DIR={folder} cannot be written ({error.strerror}), so that "
                "compiled steps are not kept for other runs; name another folder",
                SlowStepWarning,
                stacklevel=2,
            )


def has_compiler() -> bool:
    """Whether there is a C++ compiler where torch looks for one."""
    default = "clang++" if sys.platform == "darwin" else "g++"
    return shutil.which(os.environ.get("CXX", default)) is not None
