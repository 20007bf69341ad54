"""Densities computed once, and the length of vectors without a pass for the squares."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from models import observations, small_model

from pyro_mfcvae import Noise
from pyro_mfcvae.priors import mixture, normal
from pyro_mfcvae.priors.normal import (
    HalfSquaredNorm,
    half_squared_norm,
    inverse_of_triangular,
    memoise,
    memoise_densities,
)
from pyro_mfcvae.training.loop import products_in


class Counted:
    def __init__(self):
        self.n_calls = 0

    @memoise
    def density(self, z):
        self.n_calls += 1
        return z.square()


def test_a_method_is_computed_once_for_the_same_tensor():
    counted, z = Counted(), torch.ones(3)
    with memoise_densities():
        first = counted.density(z)
        assert counted.density(z) is first
        counted.density(z.clone())
        assert counted.n_calls == 2
        assert Counted().density(z) is not first
        with memoise_densities():  # a program run within another has its own
            assert counted.density(z) is not first
        assert counted.density(z) is first
    counted.density(z)
    counted.density(z)
    assert counted.n_calls == 5


def test_views_of_the_same_numbers_are_one():
    counted, z = Counted(), torch.arange(6.0).reshape(2, 3)
    with memoise_densities():
        left, right = z.chunk(2, -1)
        first = counted.density(left)
        assert counted.density(left.expand(left.shape)) is first
        for other in (right, left[:1], left.mT, left.clone()):
            assert torch.equal(counted.density(other), other.square())
    assert counted.n_calls == 5


def test_ids_of_bases_that_are_gone_are_not_taken_for_theirs():
    counted = Counted()
    with memoise_densities():
        values = [counted.density(torch.full((4,), float(i))[:2]) for i in range(50)]
    assert [value[0].item() for value in values] == [float(i * i) for i in range(50)]


def test_ids_of_tensors_that_are_gone_are_not_taken_for_theirs():
    counted = Counted()
    with memoise_densities():
        values = [counted.density(torch.full((2,), float(i))) for i in range(50)]
    assert [value[0].item() for value in values] == [float(i * i) for i in range(50)]


@pytest.mark.parametrize("n_samples", [1, 3])
@pytest.mark.parametrize("guide", ["vade", "expectation-analytic", "vade-analytic"])
def test_guide_and_model_invert_each_facet_s_factors_once(guide, n_samples, monkeypatch):
    model, x = small_model(), observations()
    inverted = []

    def counted(factors):
        inverted.append(factors)
        return inverse_of_triangular(factors)

    monkeypatch.setattr(mixture, "inverse_of_triangular", counted)
    with Noise(0):
        model(x, guide=guide, n_samples=n_samples)
    assert len(inverted) == model.n_facets


def test_densities_are_not_computed_in_tf32(monkeypatch):
    matmul, allowed = torch.backends.cuda.matmul, []

    def linear(*arguments):
        allowed.append(matmul.allow_tf32)
        return F.linear(*arguments)

    monkeypatch.setattr(mixture, "F", SimpleNamespace(linear=linear, softplus=F.softplus))
    before = matmul.allow_tf32
    with products_in("tf32"):
        small_model().facets[0].log_prob(torch.zeros(3, dtype=torch.float64))
        assert matmul.allow_tf32
    assert allowed == [False]
    assert matmul.allow_tf32 == before


@pytest.fixture(params=[half_squared_norm, HalfSquaredNorm.apply], ids=["few", "many"])
def half_squares(request):
    return request.param


def test_half_squared_norm_and_its_derivatives(half_squares):
    x = torch.randn(4, 3, 5, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(half_squares(x), 0.5 * (x * x).sum(-1))
    zero = torch.zeros(2, 5, dtype=torch.float64, requires_grad=True)
    assert torch.equal(torch.autograd.grad(half_squares(zero).sum(), zero)[0], zero)
    assert torch.autograd.gradcheck(half_squares, x)
    assert torch.autograd.gradgradcheck(half_squares, x)


def test_half_squared_norm_of_many():
    x = torch.randn(300, 50, 5, dtype=torch.float64)
    torch.testing.assert_close(half_squared_norm(x), HalfSquaredNorm.apply(x))


def test_half_squared_norm_under_vmap(half_squares):
    x = torch.randn(4, 3, 5, dtype=torch.float64)
    torch.testing.assert_close(torch.vmap(half_squares)(x), half_squares(x))
    gradient = torch.vmap(torch.func.grad(lambda v: half_squares(v).sum()))(x)
    torch.testing.assert_close(gradient, x)


def test_inverse_of_triangular_and_its_derivatives():
    factors = torch.randn(3, 4, 4, dtype=torch.float64).tril()
    factors.diagonal(dim1=-2, dim2=-1).abs_().add_(0.5)
    factors.requires_grad_()
    inverse = inverse_of_triangular(factors)
    torch.testing.assert_close(inverse, torch.linalg.inv(factors))
    assert torch.autograd.gradcheck(lambda f: inverse_of_triangular(f.tril()), factors)
    assert torch.autograd.gradgradcheck(lambda f: inverse_of_triangular(f.tril()), factors)
    many = torch.vmap(inverse_of_triangular)(factors)
    torch.testing.assert_close(many, inverse)


def test_guide_and_model_share_the_expected_density(monkeypatch):
    model, x = small_model(), observations()
    computed = []
    whitened = normal.half_squared_norm

    def counted(white):
        computed.append(white)
        return whitened(white)

    monkeypatch.setattr(normal, "half_squared_norm", counted)
    with Noise(0):
        model(x, guide="vade-analytic")
    assert len(computed) == model.n_facets
