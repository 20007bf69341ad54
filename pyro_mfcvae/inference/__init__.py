"""The ELBO of Pyro programs: enumeration, factors, fade-in, noise."""
