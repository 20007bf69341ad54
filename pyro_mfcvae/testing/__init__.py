"""Tests for models of your own: a test case class that the tests of a model inherit.

It needs pytest; nothing else in the library imports it.
"""

import pytest

pytest.register_assert_rewrite("pyro_mfcvae.testing.case", "pyro_mfcvae.testing.contract")

from pyro_mfcvae.testing.case import LADDER, SHARED  # noqa: E402
from pyro_mfcvae.testing.contract import ModelContract  # noqa: E402

__all__ = ["LADDER", "SHARED", "ModelContract"]
