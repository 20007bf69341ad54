"""Features to parameters of distributions: encoders, decoders, heads, likelihoods."""

from pyro_mfcvae.nets import convolutional, dense, likelihoods  # noqa: F401  (they register)
