"""Features to parameters of distributions: encoders, decoders, heads, likelihoods."""

from pyro_mfcvae.nets import (  # noqa: F401  (they register)
    convolutional,
    dense,
    likelihoods,
    shared_convolutional,
)
