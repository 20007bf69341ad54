"""What models state of their facets."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch
from variants import random_model

from pyro_mfcvae import GMVAE, MFCVAE, UGVAE, VLAC, MixturePrior, VaDE
from pyro_mfcvae.guides import build_guide
from pyro_mfcvae.models.structure import Structure
from pyro_mfcvae.priors.conditional import ConditionalMixture
from pyro_mfcvae.priors.standard_normal import StandardNormal

SHAPE = (1, 4, 4)
MIXTURE, PLAIN = "mixture", "standard normal"


@pytest.mark.parametrize(
    ("model", "priors", "fades_in", "n_combinations"),
    [
        (lambda: MFCVAE(SHAPE, "2:3,2:1"), (MIXTURE, PLAIN), True, 1),
        (lambda: VaDE(SHAPE, "2:3"), (MIXTURE,), True, 1),
        (lambda: VLAC(SHAPE, "2:3,2:4"), (MIXTURE, MIXTURE), False, 12),
        (lambda: VLAC(SHAPE, "2:1,2:4"), (PLAIN, MIXTURE), True, 4),
        (lambda: VLAC(SHAPE, "2:3,2:4", conditional=False), (MIXTURE, MIXTURE), True, 1),
        (lambda: VLAC(SHAPE, "2:1,2:1"), (PLAIN, PLAIN), True, 1),
        (lambda: GMVAE(SHAPE, "2:3,2:1"), ("conditional mixture", PLAIN), False, 1),
        (lambda: GMVAE(SHAPE, "2:1,2:1"), (PLAIN, PLAIN), False, 1),
        (lambda: UGVAE(SHAPE, "2:3,2:1"), ("conditional mixture", PLAIN), False, 1),
        (lambda: UGVAE(SHAPE, "2:1,2:1"), (PLAIN, PLAIN), False, 1),
    ],
)
def test_what_models_state(model, priors, fades_in, n_combinations):
    structure = model().structure
    assert tuple(facet.prior for facet in structure.facets) == priors
    assert structure.clustered == tuple(j for j, p in enumerate(priors) if p != PLAIN)
    assert (structure.fades_in, structure.n_combinations) == (fades_in, n_combinations)
    for facet, kind in zip(structure.facets, priors, strict=True):
        assert (facet.learns_components, facet.can_refit) == (kind == MIXTURE, kind != PLAIN)


@pytest.mark.parametrize("kind", [MFCVAE, VLAC, GMVAE, UGVAE])
def test_two_clusters_are_a_clustering(kind):
    model = kind(SHAPE, "2:2,2:1")
    assert model.structure.clustered == (0,)
    guide = build_guide("amortized", model)
    assert (model(torch.rand(5, *SHAPE), guide).kl_c[:, 0] > 0).all()


def test_which_facets_depend_on_which():
    autoregressive = MFCVAE(SHAPE, "2:3,1:2,2:2", posterior="autoregressive").structure
    assert [f.posterior_parents for f in autoregressive.facets] == [(1, 2), (2,), ()]
    assert autoregressive.fades_in
    told = VLAC(SHAPE, "2:3,2:1,2:4").structure
    assert [f.posterior_clusters for f in told.facets] == [(0,), (0,), (0, 2)]
    for kind, shared in ((GMVAE, False), (UGVAE, True)):
        structure = kind(SHAPE, "2:3,2:1").structure
        assert structure.facets[0].prior_parents == (1,)
        assert structure.facets[1].is_shared == shared
        assert structure.facets[1].posterior_parents == ((0,) if shared else ())
        assert structure.decoded == ((0, 1) if shared else (0,))
        assert structure.encoded == ((0,) if shared else (0, 1))
        assert structure.group_size == (128 if shared else None)
        assert not structure.unread_options
        without = kind(SHAPE, "2:1,2:1").structure
        unread = ("mixture_width", "mixture_variance", "mixture_activation")
        assert without.unread_options == unread[: 2 + shared]
        assert without.facets[0].prior_parents == without.facets[1].posterior_parents == ()


def test_a_prior_with_a_parent_depends_on_the_next_facet():
    priors = [ConditionalMixture(3, 2, 1), StandardNormal(1), MixturePrior(4, 2)]
    structure = Structure.of(priors)
    assert [facet.prior_parents for facet in structure.facets] == [(1,), (), ()]
    assert [facet.n_clusters for facet in structure.facets] == [3, 1, 4]
    assert structure.clustered == (0, 2)
    with pytest.raises(FrozenInstanceError):
        structure.group_size = 3


def test_a_prior_of_one_s_own_states_that_it_is_not_gaussian():
    model = random_model("student_t_mixture")
    assert not any(facet.is_gaussian for facet in model.structure.facets)
    component = model.facets[0].component(torch.zeros(3, dtype=torch.long))
    z = torch.ones(3, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match="no closed form"):
        component.expected_log_prob(z, z)
