"""Densities of many normal distributions: memoised, and with gradients that cost less.

Guide and model both ask for them, and they are computed once.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar, cast

import torch
from torch import Tensor
from typing_extensions import override

_HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)
SMALLEST_SCALE = 1e-8
"""Standard deviations below are taken for this one: 0, as float32 has it, is that of no density."""

_FEW = 2**16
"""Numbers below which a function of our own costs more Python than it spares memory."""

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


def memoise(compute: Method) -> Method:
    """Decorator: remember what a method makes of tensors, within :func:`memoise_densities`."""

    @functools.wraps(compute)
    def memory_of(owner: Any, *tensors: Tensor) -> Any:
        known = _KNOWN.get()
        if known is None:
            return compute(owner, *tensors)
        key = (compute, id(owner), *map(_identity, tensors))
        if key not in known:  # what has the ids is kept, so that nothing else gets them
            bases = [tensor._base for tensor in tensors]
            known[key] = (compute(owner, *tensors), owner, tensors, bases)
        return known[key][0]

    return cast(Method, memory_of)


def standard_normal_log_prob(white: Tensor) -> Tensor:
    """Log N(white; 0, I), (..., D) -> (...)."""
    return -half_squared_norm(white) - white.shape[-1] * _HALF_LOG_TWO_PI


def diagonal_normal_log_prob(z: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Log N(z; loc, diag(scale^2)), broadcast shapes (..., D) -> (...)."""
    return standard_normal_log_prob((z - loc) / scale) - scale.log().sum(-1)


def log_diagonal(factors: Tensor) -> Tensor:
    """Log-determinants of triangular matrices with positive diagonals, (..., D, D) -> (...)."""
    return factors.diagonal(dim1=-2, dim2=-1).log().sum(-1)


@contextmanager
def whole_products() -> Iterator[None]:
    """Keep CUDA devices from computing matrix products in TF32 meanwhile.

    For differences of large products, of which its 10 bits leave little. Gradients, which are
    computed later, may have it: there is no such difference in them.
    """
    matmul = torch.backends.cuda.matmul
    if not matmul.allow_tf32:
        yield
        return
    matmul.allow_tf32 = False
    try:
        yield
    finally:
        matmul.allow_tf32 = True


class HalfSquaredNorm(torch.autograd.Function):
    """Vectors (..., D) -> half their squared lengths, (...).

    ``0.5 * x.square().sum(-1)`` writes the squares to memory, and so does its gradient; for the
    B x K whitened latents of a mixture that is most of the time of its density.
    """

    generate_vmap_rule = True

    @staticmethod
    @override
    def forward(x: Tensor) -> Tensor:
        return 0.5 * torch.linalg.vector_norm(x, dim=-1).square()

    @staticmethod
    @override
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs)

    @staticmethod
    @override
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return x * grad.unsqueeze(-1)


def half_squared_norm(x: Tensor) -> Tensor:
    """Vectors (..., D) -> half their squared lengths, (...)."""
    if torch.compiler.is_compiling() or x.numel() < _FEW:  # an exported graph takes any number
        return 0.5 * x.square().sum(-1)
    return HalfSquaredNorm.apply(x)


class InverseOfTriangular(torch.autograd.Function):
    """Lower triangular matrices (..., D, D) -> their inverses.

    The gradient takes two products with the inverses at hand, in place of two more solutions.
    """

    generate_vmap_rule = True

    @staticmethod
    @override
    def forward(factors: Tensor) -> Tensor:
        eye = torch.eye(factors.shape[-1], dtype=factors.dtype, device=factors.device)
        return torch.linalg.solve_triangular(factors, eye, upper=False)

    @staticmethod
    @override
    def setup_context(ctx: Any, inputs: tuple[Tensor], output: Tensor) -> None:
        ctx.save_for_backward(output)

    @staticmethod
    @override
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (inverse,) = ctx.saved_tensors
        return -(inverse.mT @ grad @ inverse.mT).tril()


def inverse_of_triangular(factors: Tensor) -> Tensor:
    """Lower triangular matrices (..., D, D) -> their inverses."""
    return InverseOfTriangular.apply(factors)
