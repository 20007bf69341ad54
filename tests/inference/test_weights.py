"""The weights of the objective on terms that are given, by hand."""

from __future__ import annotations

import pytest
import torch

from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.inference.elbo import ElboTerms, Weights, elbo, loss, term_means


def tensor(*values):
    return torch.tensor(values, dtype=torch.float64)


TERMS = ElboTerms(
    reconstruction=tensor(-5.0, -7.0),
    kl_z=tensor([1.0, 2.0], [3.0, 4.0]),
    kl_c=tensor([0.5, 0.25], [0.25, 0.5]),
    other={"w": tensor(0.1, 0.3)},
    shared={"g": torch.tensor(0.2, dtype=torch.float64)},
)
FADE = tensor(0.0, 0.5)
SCALED = Weights(FADE, floor=0.2, scale=torch.tensor(0.5, dtype=torch.float64))  # w = 0.1, 0.3


def test_the_bound_has_every_term():
    bound = tensor(-5 - 3 - 0.75 - 0.1 - 0.2, -7 - 7 - 0.75 - 0.3 - 0.2)
    torch.testing.assert_close(TERMS.elbo, bound)
    torch.testing.assert_close(TERMS.loss, -bound.mean())


@pytest.mark.parametrize(
    ("weights", "expected"),
    [
        (Weights(FADE), (-5 - 0.5 * 2.25 - 0.3, -7 - 0.5 * 4.5 - 0.5)),
        (SCALED, (-5 - 0.15 - 0.675 - 0.5 * 0.3, -7 - 0.325 - 1.35 - 0.5 * 0.5)),
    ],
)
def test_the_weighted_elbo(weights, expected):
    torch.testing.assert_close(elbo(TERMS, weights), tensor(*expected))
    torch.testing.assert_close(loss(TERMS, weights), -tensor(*expected).mean())


def test_information_that_is_missing_costs_its_weight():
    """The means of KL_c are 0.375: 0.225 nats are missing to 0.6, none to 0.3."""
    least = Weights(SCALED.fade, SCALED.floor, SCALED.scale, min_information=tensor(0.6, 0.3))
    torch.testing.assert_close(loss(TERMS, least), loss(TERMS, SCALED) + 0.1 * 0.225)


def test_what_is_logged():
    shared = {"elbo": elbo(TERMS, Weights(FADE)).mean().item(), "reconstruction": -6.0}
    kls = {"kl_z_0": 0.0, "kl_c_0": 0.0, "kl_z_1": 3.0, "kl_c_1": 0.375, "w": 0.2, "g": 0.2}
    fade = {"fade_0": 0.0, "fade_1": 0.5}
    found = {name: value.item() for name, value in term_means(TERMS, Weights(FADE)).items()}
    assert found == pytest.approx(shared | kls | fade)
    found = {name: value.item() for name, value in term_means(TERMS, SCALED).items()}
    shared["elbo"] = elbo(TERMS, SCALED).mean().item()
    kls |= {"kl_z_0": 2.0, "kl_c_0": 0.375}  # they weigh something now
    weights = {"kl_weight_0": 0.1, "kl_weight_1": 0.3, "kl_weight_w": 0.5, "kl_weight_g": 0.5}
    assert found == pytest.approx(shared | kls | fade | weights)


def test_floors_from_0_to_1():
    assert Weights(FADE, 0.0).kl is FADE
    torch.testing.assert_close(Weights(FADE, 1.0).kl, tensor(1.0, 1.0))
    for floor in (-0.1, 1.1):
        with pytest.raises(ConfigError, match="floor"):
            Weights(FADE, floor)
