"""How different pictures are from each other: the mean distance of random pairs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from numpy.typing import ArrayLike
from torch import Tensor

from pyro_mfcvae.data.observations import as_float

N_PAIRS, BATCH_SIZE = 10_000, 100


def pixel_diversity(
    pictures: Tensor | ArrayLike,
    n_pairs: int = N_PAIRS,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    device: torch.device | str = "cpu",
) -> float:
    """Mean root-mean-square difference of random pairs, in the unit of the values.

    Args:
        pictures: (N, *event), N at least 2, floating point, or uint8, read as values / 255.
        n_pairs: how many pairs.
        seed: of the pairs.
        batch_size: pairs at a time; without influence on the result but for rounding.
        device: where distances are computed.

    Raises:
        ValueError: if there are fewer than two pictures, no pairs, or values that are not finite.
    """
    return mean_distance(root_mean_square, pictures, n_pairs, seed, batch_size, device)


def root_mean_square(a: Tensor, b: Tensor) -> Tensor:
    """Root of the mean squared difference, (B, *event) and (B, *event) -> (B,)."""
    return (a - b).square().flatten(1).mean(1).sqrt()


def mean_distance(
    distance: Callable[[Tensor, Tensor], Tensor],
    pictures: Tensor | ArrayLike,
    n_pairs: int,
    seed: int,
    batch_size: int,
    device: torch.device | str,
) -> float:
    """Mean of a distance, (B, *event) and (B, *event) -> (B,), over random pairs of pictures.

    The other arguments and errors are those of :func:`pixel_diversity`.
    """
    pictures = torch.as_tensor(pictures)
    parts = []
    with torch.no_grad():
        for both in random_pairs(len(pictures), n_pairs, seed).split(batch_size, 1):
            a, b = (_floating(pictures[i.to(pictures.device)]).to(device) for i in both)
            parts.append(distance(a, b).cpu().double())
    mean = torch.cat(parts).mean().item()
    if not torch.tensor(mean).isfinite():
        raise ValueError("expected finite values, but distances are not: some pictures have others")
    return mean


def random_pairs(n: int, n_pairs: int, seed: int) -> Tensor:
    """Indices of pairs of different ones among n, all equally probable, (2, n_pairs).

    Raises:
        ValueError: if there are fewer than two to choose from, or no pairs.
    """
    if n < 2 or n_pairs < 1:
        raise ValueError(f"expected at least 2 pictures and 1 pair, got {n} and {n_pairs}")
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(n, (n_pairs,), generator=generator)
    steps = torch.randint(1, n, (n_pairs,), generator=generator)
    return torch.stack([first, (first + steps) % n])


def _floating(x: Tensor) -> Tensor:
    return x if x.is_floating_point() else as_float(x)
