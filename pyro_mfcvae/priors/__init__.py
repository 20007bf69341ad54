"""Mixture priors: their densities, once."""
