"""Memoised densities: guide and model both ask for them, and they are computed once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

from torch import Tensor

Method = TypeVar("Method", bound=Callable[..., Any])

_KNOWN: ContextVar[dict[tuple[Any, ...], tuple[Any, ...]] | None] = ContextVar(
    "known", default=None
)


@contextmanager
def memoise_densities() -> Iterator[None]:
    """Compute each memoised method once for the same tensors meanwhile.

    For a stretch in which neither a parameter nor a latent changes in place.
    """
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def _identity(tensor: Tensor) -> Any:
    """What two views of the same numbers have in common; else the tensor's own id.

    Plates expand distributions, also where there is nothing to expand.
    """
    base = tensor._base
    if base is None:
        return id(tensor)
    return id(base), tensor.storage_offset(), tensor.shape, tensor.stride()


def memoised(compute: Method) -> Method:
    """Decorator: remember what a method makes of tensors, within :func:`memoise_densities`."""

    @functools.wraps(compute)
    def remembered(owner: Any, *tensors: Tensor) -> Any:
        known = _KNOWN.get()
        if known is None:
            return compute(owner, *tensors)
        key = (compute, id(owner), *map(_identity, tensors))
        if key not in known:  # what has the ids is kept, so that nothing else gets them
            bases = [tensor._base for tensor in tensors]
            known[key] = (compute(owner, *tensors), owner, tensors, bases)
        return known[key][0]

    return cast(Method, remembered)
