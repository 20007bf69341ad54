"""MFCVAE: the contract, with independent and autoregressive facets, and plain ones."""

from __future__ import annotations

from model_contract import ModelContract


class TestMFCVAE(ModelContract):
    name = "mfcvae"


class TestAutoregressive(ModelContract):
    name = "mfcvae"
    options = {"posterior": "autoregressive"}  # noqa: RUF012


class TestPlainFacet(ModelContract):
    name = "mfcvae"
    facets = "2:3,2:1"
    small = "1:3,1:1"
