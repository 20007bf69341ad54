"""The examples' models, small and with parameters drawn at random, for tests."""

from __future__ import annotations

import importlib.util
from functools import cache

import torch
from conftest import ROOT

from pyro_mfcvae.config import Component, FacetConfig

VARIANTS = {
    "student_t_mixture": "StudentTMixtures",
    "plain_normal_facet": "PlainNormalFacet",
    "hierarchical_facets": "HierarchicalFacets",
    "count_likelihoods": "CountMFCVAE",
}
X = torch.randn(12, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))


@cache
def load(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def random_model(name: str, covariance: str = "full"):
    """The example's model of two facets in float64, with parameters drawn at random."""
    facets = [
        FacetConfig(n_clusters=k, latent_dim=d, covariance=covariance, initial_variance=0.5)
        for d, k in ((2, 3), (3, 4))
    ]
    small = Component(name="shared", options={"widths": [8], "activation": "elu"})
    kind = getattr(load(name), VARIANTS[name])
    model = kind((5,), facets, "gaussian", small, small).double()
    with torch.no_grad():
        for parameter in [*model.facets.parameters(), *model.parameters(recurse=False)]:
            if parameter.requires_grad:
                parameter += 0.3 * torch.randn_like(parameter)
    return model
