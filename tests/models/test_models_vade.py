"""VaDE: the contract; test_vade.py has what is its own."""

from __future__ import annotations

from model_cases import SHARED
from model_contract import ModelContract


class TestVaDE(ModelContract):
    name = "vade"
    facets, small = "2:4", "1:3"
    networks = SHARED
    guides = ("expectation-analytic", "vade", "amortized")
