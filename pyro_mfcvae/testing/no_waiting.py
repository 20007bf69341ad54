"""Fails where an operation would make a CUDA program wait, without a CUDA device."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from typing_extensions import override

WAITING = ("_local_scalar_dense", "masked_select", "nonzero", "unique", "is_nonzero", "equal")


class NoWaiting(TorchDispatchMode):
    """Raises an AssertionError at an operation whose result the host has to wait for."""

    @override
    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
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
