"""One thread at a time: Pyro's handlers and validation, and random states, are the process's own.

Programs of several threads wait for each other, so that each gives what it gives alone. That holds
for :class:`~pyro_mfcvae.inference.elbo.FacetELBO`, models, training and blocks of
:class:`~pyro_mfcvae.inference.noise.Noise`; Pyro's own objectives and handlers do not wait.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pyro

_LOCK = threading.RLock()
_PATIENCE = 600.0  # seconds


@contextmanager
def one_thread() -> Iterator[None]:
    """Keep other threads out of such blocks; the same thread may be in several of them.

    Raises:
        RuntimeError: if another thread stays in one for ten minutes.
    """
    if not _LOCK.acquire(timeout=_PATIENCE):
        raise RuntimeError(
            f"another thread has been running a Pyro program for {_PATIENCE:.0f} seconds, and only "
            "one can at a time; wait for no other thread within a block of Noise"
        )
    try:
        yield
    finally:
        _LOCK.release()


@contextmanager
def without_validation() -> Iterator[None]:
    """Switch Pyro's validation off meanwhile, in :func:`one_thread`."""
    with one_thread(), pyro.validation_enabled(False):
        yield
