"""Noise as a function of (seed, step, site), injected into the sites of a Pyro program.

Exact resumption, equality of guides and independence of the number of devices all rest on
this: whoever asks for the noise of a step gets the same numbers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, Self

import torch
from pyro.distributions import Independent, Normal
from pyro.poutine.messenger import Messenger
from torch import Tensor
from typing_extensions import override

from pyro_mfcvae.inference.sites import in_data_plate
from pyro_mfcvae.inference.threads import one_thread


class Rows(NamedTuple):
    """A part of a batch.

    Attributes:
        start: its first observation.
        n_whole: observations of the whole batch.
    """

    start: int
    n_whole: int


class Noise(Messenger):
    """Samples each reparameterised normal site as ``loc + scale * eps`` with a given eps.

    Args:
        source: either a mapping from site names to eps, each of the full shape of its site
            (*batch, *event), or a seed; with a seed eps is a function of (seed, step, site).
        step: the step that a seed's noise belongs to.
        rows: where the observations at hand are a part of a batch, which one: their noise is that
            part of the whole batch's. Only for a seed. A latent that the batch shares has the noise
            of the whole in each part.

    Attributes:
        shapes: {site: shape of its eps}, of the normal sites that have been sampled.

    A distribution with a method ``from_normal``, such as a relaxed cluster, makes its own sample of
    such noise. A site of any other distribution is sampled under a random state of its own, derived
    from (seed, step, site); with a mapping such a site is refused with a ValueError.

    Example:
        >>> import pyro, torch
        >>> def draw():
        ...     with Noise(0):
        ...         return pyro.sample("z", pyro.distributions.Normal(torch.zeros(3), 1.0))
        >>> bool((draw() == draw()).all())
        True
    """

    def __init__(
        self, source: int | Mapping[str, Tensor], step: int = 0, rows: Rows | None = None
    ) -> None:
        super().__init__()
        self.source = source
        self.step = step
        self.rows = rows
        self.shapes: dict[str, torch.Size] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(one_thread())
            super().__enter__()
            self._alone = stack.pop_all()
        return self

    def __exit__(self, *error: Any) -> None:
        with self._alone:
            super().__exit__(*error)

    def _pyro_sample(self, msg: dict[str, Any]) -> None:
        fn = msg["fn"]
        if msg["done"] or msg["is_observed"] or not getattr(fn, "has_rsample", False):
            return
        base = fn.base_dist if isinstance(fn, Independent) else fn
        rows = self.rows if in_data_plate(msg) else None  # a batch may share a latent
        if isinstance(base, Normal):
            shape = fn.batch_shape + fn.event_shape
            self.shapes[msg["name"]] = shape
            eps = self._draw(msg["name"], shape, len(fn.event_shape), base.loc, rows)
            msg["value"] = base.loc + base.scale * eps
        elif hasattr(fn, "from_normal"):
            shape = fn.batch_shape + fn.event_shape
            self.shapes[msg["name"]] = shape
            msg["value"] = fn.from_normal(self._draw(msg["name"], shape, 1, fn.logits, rows))
        elif isinstance(self.source, Mapping):
            raise ValueError(
                f"site {msg['name']!r} is {type(base).__name__}; only normal sites take given noise"
            )
        else:
            with torch.random.fork_rng():
                torch.manual_seed(derive_seed(self.source, self.step, msg["name"]))
                msg["value"] = fn.rsample()
        msg["done"] = True

    def numbers(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Noise that is no site's, such as of a warp: standard normal, (B, P), named as a site."""
        return self._draw(name, torch.Size(shape), 1, like, self.rows)

    def _draw(
        self, name: str, shape: torch.Size, event_dim: int, like: Tensor, rows: Rows | None
    ) -> Tensor:
        if not isinstance(self.source, Mapping):
            if rows is None:
                return site_noise(self.source, self.step, name, shape, like)
            dim = len(shape) - event_dim - 1  # of the plate over observations
            whole = (*shape[:dim], rows.n_whole, *shape[dim + 1 :])
            eps = site_noise(self.source, self.step, name, torch.Size(whole), like)
            return eps.narrow(dim, rows.start, shape[dim])
        if name not in self.source:
            raise ValueError(f"no noise for site {name!r}, only for {sorted(self.source)}")
        eps = self.source[name]
        if eps.shape != shape:
            raise ValueError(
                f"noise of site {name!r} must have shape {tuple(shape)}, got {tuple(eps.shape)}"
            )
        return eps


class SameNoise(Noise):
    """The same noise for every observation, so that what comes of one depends on no other."""

    @override
    def _draw(
        self, name: str, shape: torch.Size, event_dim: int, like: Tensor, rows: Rows | None
    ) -> Tensor:
        dim = len(shape) - event_dim - 1  # of the plate over observations
        one = torch.Size((*shape[:dim], 1, *shape[dim + 1 :]))
        return super()._draw(name, one, event_dim, like, None).expand(shape)


def site_noise(seed: int, step: int, name: str, shape: torch.Size, like: Tensor) -> Tensor:
    """Standard normal noise of one site at one step, of the dtype and device of ``like``."""
    generator = torch.Generator(device=like.device)
    generator.manual_seed(derive_seed(seed, step, name))
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def derive_seed(*parts: int | str) -> int:
    """A 63-bit seed from parts such as (seed, step, name), the same on every machine."""
    text = "/".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest()) >> 1


def start_seeds(seed: int, n: int) -> list[int]:
    """Seeds of n starts of which the best is taken; the first ones are the same for every n."""
    return [derive_seed(seed, "start", i) % 2**31 for i in range(n)]
