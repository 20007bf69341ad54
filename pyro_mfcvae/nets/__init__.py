"""Features to parameters of distributions: encoders, decoders, heads, likelihoods."""

from pyro_mfcvae.nets import columns, convolutional, dense, likelihoods, shared_convolutional  # noqa: F401  (they register)
