"""Estimators that follow scikit-learn: arrays and data frames in, arrays and data frames out."""

from pyro_mfcvae.estimators.clustering import FacetClustering, GMVAEClustering, VaDEClustering
from pyro_mfcvae.estimators.search import FacetSearch

__all__ = ["FacetClustering", "FacetSearch", "GMVAEClustering", "VaDEClustering"]
