"""Priors: modules whose forward returns p(z) of one facet at the values of what it depends on."""
