"""Names of models."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyro_mfcvae.registry import Registry

if TYPE_CHECKING:
    from pyro_mfcvae.models.base import FacetModel

MODELS: Registry[type[FacetModel]] = Registry("model", "one of your own with --model FILE.py:Name")

register_model = MODELS.register
"""Class decorator: make a model known by name to settings and the command line."""
