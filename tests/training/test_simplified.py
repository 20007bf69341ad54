"""Graphs with fewer operations, against the functions that they were traced from."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch.fx.experimental.proxy_tensor import make_fx

from pyro_mfcvae.training.devices.simplified import simplify

X = torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def traced(function, *arguments, zeros=None):
    """The simplified graph; zeros says where the first argument is 0 (a tensor of 0 and 1)."""
    module = make_fx(function)(*arguments)
    first = module.graph.find_nodes(op="placeholder")[0]
    simplify(module, {} if zeros is None else {first: zeros})
    return module


def count(module, name):
    return sum(name in str(node.target) for node in module.graph.nodes)


def test_what_is_computed_twice_is_computed_once():
    graph = traced(lambda x: [x.exp() + x.exp(), x.neg().neg(), x.pow(1.0) / 1], X)
    assert (count(graph, "exp.default"), count(graph, "neg"), count(graph, "pow")) == (1, 0, 0)
    assert torch.equal(graph(X)[0], 2 * X.exp())
    assert torch.equal(graph(X)[2], X)


def test_what_differs_in_a_number_or_its_type_stays():
    graph = traced(lambda x: [x * 2, x * 3, x.sum(0), x.sum(1), (x > 1) * 1, (x > 1) * 1.0], X)
    ours, theirs = graph(X), [X * 2, X * 3, X.sum(0), X.sum(1), (X > 1) * 1, (X > 1) * 1.0]
    assert all(torch.equal(a, b) and a.dtype == b.dtype for a, b in zip(ours, theirs, strict=True))


def test_what_is_written_to_is_read_again():
    def moving(x, total):
        before = total * 1.5
        part = total.select(0, 1)
        part.copy_(x[0])
        return [before, total * 1.5, part.exp()]

    graph = traced(moving, X, X.clone())
    ours, theirs = X.clone(), X.clone()
    results = zip(graph(X, ours), moving(X, theirs), strict=True)
    assert all(torch.equal(a, b) for a, b in results)
    assert torch.equal(ours, theirs)


def test_random_numbers_are_drawn_as_often():
    assert count(traced(lambda x: [torch.rand_like(x), torch.rand_like(x)], X), "rand_like") == 2


def test_results_that_are_equal_can_be_changed_apart():
    first, second = traced(lambda x: [x.exp(), x.exp()], X)(X)
    assert torch.equal(first, second)
    assert first.data_ptr() != second.data_ptr()


def weighed(weights, x):
    """A sum of parts of several kinds, each with a weight, and its gradient."""
    x = x.detach().requires_grad_()
    w = torch.linspace(-1, 1, 9, dtype=x.dtype).reshape(3, 3)
    one, two = weights.unbind(-1)
    parts = [(x @ w).tanh(), F.elu(x), x.sigmoid() * x, F.softplus(x), (x - w[0]).pow(2)]
    parts += [x.log_softmax(-1), F.linear(x, w, w[1]), torch.where(x > 0, x, 2 * x)]
    cut = torch.cat([x[:, :1] * one, x[:, 1:].relu() * two], 1)
    picture = F.conv2d(x[None, None], w[None, None]) * one
    normal = F.batch_norm(x, None, None, training=True) * two
    columns = torch.stack([x.sum(1), x.square().sum(1)], 1) * weights
    total = sum((part * one).sum() for part in parts) + (x.exp() * two).sum()
    total = total + cut.square().sum() + picture.sum() + normal.square().sum() + columns.mean()
    (grad,) = torch.autograd.grad(total, x)
    return [grad, total.detach(), (parts[0].sum() * (one != 0)).detach()]


@pytest.mark.parametrize("off", [(0,), (1,), (0, 1)])
def test_what_weighs_nothing_is_left_out(off):
    weights = torch.tensor([0.7, 0.4], dtype=X.dtype)
    weights[list(off)] = 0.0
    whole = traced(weighed, weights, X)
    less = traced(weighed, weights, X, zeros=(weights != 0).float())
    assert len(less.graph.nodes) < len(whole.graph.nodes)
    for ours, plain, theirs in zip(
        less(weights, X), whole(weights, X), weighed(weights, X), strict=True
    ):
        assert torch.equal(ours, theirs)
        assert torch.equal(plain, theirs)
    if 0 in off:
        assert count(less, "tanh") == count(less, "convolution") == 0
    if 1 in off:
        assert count(less, "exp.default") == 0
    if off == (0, 1):
        assert count(less, "mul") == count(less, "batch_norm_backward") == 0


def test_a_weight_that_may_be_something_stays():
    weights = torch.tensor([0.0, 0.4], dtype=X.dtype)
    graph = traced(weighed, weights, X, zeros=torch.ones(2))
    other = torch.tensor([0.9, 0.2], dtype=X.dtype)
    for ours, theirs in zip(graph(other, X), weighed(other, X), strict=True):
        assert torch.equal(ours, theirs)


def test_running_statistics_of_what_weighs_nothing_still_move():
    def normalised(weight, x, mean, var):
        return [(F.batch_norm(x, mean, var, training=True) * weight).sum(), x.sum()]

    zero, mean, var = torch.zeros((), dtype=X.dtype), X[0].clone(), X[1].exp()
    graph = traced(normalised, zero, X, mean.clone(), var.clone(), zeros=torch.zeros(()))
    ours, theirs = [(mean.clone(), var.clone()) for _ in range(2)]
    graph(zero, X, *ours)
    normalised(zero, X, *theirs)
    assert all(map(torch.equal, ours, theirs))
    assert not torch.equal(ours[0], mean)
