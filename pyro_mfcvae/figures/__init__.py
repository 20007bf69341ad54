"""Figures: one file each, a registry of those that runs have, and how observations are drawn."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

# Importing a figure registers it.
from pyro_mfcvae.figures import (  # noqa: F401
    agreement,
    clusters,
    confusion,
    curves,
    guides,
    interpolation,
    latents,
    means,
    reconstructions,
    runs,
    samples,
    swaps,
    traversal,
    weights,
)

if TYPE_CHECKING:
    from pyro_mfcvae.figures.public import *  # noqa: F403


def __getattr__(name: str) -> Any:
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.public"), name)


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
