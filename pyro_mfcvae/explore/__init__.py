"""A run to be looked around in with a browser: on a local page, or in one file."""

from pyro_mfcvae.explore.explored import Explored, open_run
from pyro_mfcvae.explore.page import write_page

__all__ = ["Explored", "open_run", "write_page"]
