"""Programs of a few sites, in which one thing is unusual."""

from __future__ import annotations

from functools import partial

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine
from torch.distributions import Normal, kl_divergence

from pyro_mfcvae import FacetELBO, Noise
from pyro_mfcvae.inference.sites import run_programs

SEED = 3
PARALLEL = {"enumerate": "parallel"}


def _model(x, n_clusters=2, scales=(1.0, 1.0)):
    with pyro.plate("data", len(x), dim=-1):
        with poutine.scale(scale=scales[0]):
            c = pyro.sample("c", dist.Categorical(x.new_ones(n_clusters)), infer=PARALLEL)
        with poutine.scale(scale=scales[1]):
            z = pyro.sample("z", dist.Normal(c.double(), 0.7))
        pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)


def _guide(x):
    with pyro.plate("data", len(x), dim=-1):
        pyro.sample("z", dist.Normal(x[:, 0], 0.5))


def test_sites_without_labels_are_of_no_facet():
    x = torch.randn(4, 5, dtype=torch.float64)
    terms = FacetELBO().terms(_model, _guide, x)
    assert terms.kl_z.shape == terms.kl_c.shape == (4, 0)


@pytest.mark.parametrize("n_samples", [1, 3])
def test_a_cluster_with_one_value_changes_nothing(n_samples):
    def without(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 0.7))
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    x, elbos = torch.randn(4, 5, dtype=torch.float64), []
    for program in (partial(_model, n_clusters=1), without):
        with Noise(SEED):
            elbos.append(FacetELBO(n_samples).terms(program, _guide, x).elbo)
    torch.testing.assert_close(*elbos)


@pytest.mark.parametrize("scales", [(torch.tensor(2.0), 2.0), (2.0, torch.tensor(2.0)), (2.0, 3.0)])
def test_sites_that_are_summed_out_together_need_one_scale(scales):
    with pytest.raises(ValueError, match="one scale"):
        FacetELBO().terms(
            partial(_model, scales=scales), _guide, torch.randn(4, 5, dtype=torch.float64)
        )


def test_plates_of_two_sizes_are_refused():
    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 0.7))
        with pyro.plate("others", 3, dim=-1):
            pyro.sample("y", dist.Normal(x.new_zeros(3), 1.0), obs=x.new_zeros(3))
        with pyro.plate("again", len(x), dim=-1):
            pyro.sample("x", dist.Normal(z.unsqueeze(-1), 1.0).to_event(1), obs=x)

    with pytest.raises(ValueError, match=r"one size, got \[3, 4\]"):
        FacetELBO().terms(model, _guide, torch.randn(4, 5, dtype=torch.float64))


def test_an_expectation_in_closed_form_is_torch_s_kl():
    p = dist.Normal(torch.tensor([0.3, -1.0], dtype=torch.float64), 0.7).to_event(1)

    def model(x):
        with pyro.plate("data", len(x), dim=-1):
            z = pyro.sample("z", p)
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            q = dist.Normal(x, x.exp()).to_event(1)
            pyro.sample("z", q, infer={"analytic": True})

    x = torch.randn(4, 2, dtype=torch.float64)
    terms = FacetELBO().terms(model, guide, x)
    expected = kl_divergence(Normal(x, x.exp()), Normal(p.base_dist.loc, 0.7)).sum(-1)
    torch.testing.assert_close(terms.other["z"], expected)


def test_what_is_observed_is_not_replaced_by_the_guide():
    def guide(x):
        with pyro.plate("data", len(x), dim=-1):
            pyro.sample("z", dist.Normal(x[:, 0], 0.5))
            pyro.sample("x", dist.Normal(x.new_zeros(5), 1.0).to_event(1))

    x, terms = torch.randn(4, 5, dtype=torch.float64), []
    for program in (_guide, guide):
        with Noise(SEED):
            sites = run_programs(_model, program, 1, (x,), {})
        terms.append(next(site for site in sites[1] if site["name"] == "x"))
    assert terms[0]["value"] is terms[1]["value"] is x
