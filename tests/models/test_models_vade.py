"""VaDE: the contract; test_vade.py has what is its own."""

from __future__ import annotations

from model_cases import WrittenOut

from pyro_mfcvae.testing import SHARED


class TestVaDE(WrittenOut):
    name = "vade"
    facets, small = "2:4", "1:3"
    networks = SHARED
    guides = ("expectation-analytic", "vade", "amortized")
