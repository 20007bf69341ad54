"""Models, one file per generative story, all with one skeleton."""

from pyro_mfcvae import nets  # noqa: F401  (registers the networks that models are built from)
from pyro_mfcvae.models.base import MODELS, FacetModel, build_model, register_model
from pyro_mfcvae.models.mfcvae import MFCVAE
from pyro_mfcvae.models.vade import VaDE

__all__ = ["MFCVAE", "MODELS", "FacetModel", "VaDE", "build_model", "register_model"]
