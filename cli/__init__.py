"""The command ``mfcvae``: typed options, settings, and a call into the library."""

from pyro_mfcvae.cli.main import main

__all__ = ["main"]
