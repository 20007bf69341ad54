"""GMVAE: the contract, and its closed-form terms."""

from __future__ import annotations

from model_contract import SHARED, ModelContract


class TestGMVAE(ModelContract):
    name = "gmvae"
    facets, small = "2:3,2:1", "1:3,1:1"
    networks = SHARED
    options = {"mixture_width": 6}  # noqa: RUF012


class TestBoundedVariances(TestGMVAE):
    options = {"mixture_width": 6, "mixture_variance": "exp-tanh"}  # noqa: RUF012
