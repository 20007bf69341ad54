"""Checkpoints of the first authors' implementation as models and runs of this library.

Source: https://github.com/FabianFalck/mfcvae, the code behind the MFCVAE paper.
"""

from pyro_mfcvae.official.checkpoint import import_run
from pyro_mfcvae.official.tensors import import_official

__all__ = ["import_official", "import_run"]
