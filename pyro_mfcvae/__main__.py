"""``python -m pyro_mfcvae``."""

from pyro_mfcvae.cli import main

main(prog_name="mfcvae")
