"""Fails where an operation would make a CUDA program wait, without a CUDA device."""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

WAITING = ("_local_scalar_dense", "masked_select", "nonzero", "unique", "is_nonzero", "equal")


class NoWaiting(TorchDispatchMode):
    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name.startswith("index") and any(
            isinstance(index, torch.Tensor) and index.dtype == torch.bool
            for argument in args
            if isinstance(argument, (list, tuple))
            for index in argument
        )
        if name in WAITING or masks:
            raise AssertionError(f"{name} waits for the device")
        return func(*args, **(kwargs or {}))
