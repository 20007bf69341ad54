"""Measuring trained models: arrays in, arrays out."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyro_mfcvae.evaluation.public import *  # noqa: F403


# No submodule has the name of something that the package offers: it would stand in its place.
def __getattr__(name: str) -> Any:
    if name.startswith("_") and name != "__all__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.public"), name)


def __dir__() -> list[str]:
    return [*globals(), *__getattr__("__all__")]
