"""Models, one file per generative story, all with one skeleton."""

from pyro_mfcvae import nets  # noqa: F401  (registers the networks that models are built from)
from pyro_mfcvae.models.base import MODELS, FacetModel, register_model
from pyro_mfcvae.models.gmvae import GMVAE
from pyro_mfcvae.models.mfcvae import MFCVAE
from pyro_mfcvae.models.ugvae import UGVAE
from pyro_mfcvae.models.vade import VaDE
from pyro_mfcvae.models.vlac import VLAC

__all__ = ["GMVAE", "MFCVAE", "MODELS", "UGVAE", "VLAC", "FacetModel", "VaDE", "register_model"]
