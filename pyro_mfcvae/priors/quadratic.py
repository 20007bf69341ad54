"""What densities of many normal distributions are made of, with gradients that cost less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from typing_extensions import override

_FEW = 2**16
"""Numbers below which a function of our own costs more Python than it spares memory."""


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
    if x.numel() < _FEW:
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
