"""Diversity of pictures: closed forms, the published package, and what is missing."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from urllib.error import URLError

import numpy as np
import pytest
import torch
from torch.nn.functional import interpolate

from pyro_mfcvae import evaluation
from pyro_mfcvae.data.vision import torchvision_datasets
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.evaluation.diversity import random_pairs
from pyro_mfcvae.evaluation.perceptual import check_pictures, lpips_network, perceptual_distance

needs_lpips = pytest.mark.skipif(
    importlib.util.find_spec("lpips") is None, reason="the package lpips is not installed"
)


@pytest.fixture(scope="module")
def network():
    """The published architecture with random weights in place of ImageNet's."""
    if importlib.util.find_spec("lpips") is None:
        pytest.skip("the package lpips is not installed")
    torchvision_datasets()
    import lpips

    torch.manual_seed(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision as one did in 2021
        return lpips.LPIPS(net="alex", pnet_rand=True, verbose=False)


def test_pairs_are_of_different_ones_and_equally_probable():
    n_pairs = 6000
    pairs = random_pairs(4, n_pairs, seed=0)
    counts = torch.zeros(4, 4).index_put_(tuple(pairs), torch.ones(n_pairs), accumulate=True)
    assert (counts.diagonal() == 0).all()
    expected = n_pairs / 12
    off = (counts - expected)[~torch.eye(4, dtype=torch.bool)]
    assert off.abs().max() < 5 * (expected * 11 / 12) ** 0.5
    assert torch.equal(random_pairs(4, n_pairs, seed=0), pairs)
    assert not torch.equal(random_pairs(4, n_pairs, seed=1), pairs)
    for n, n_pairs in ((1, 5), (0, 5), (5, 0)):
        with pytest.raises(ValueError, match=f"at least 2 pictures and 1 pair, got {n} and"):
            random_pairs(n, n_pairs, seed=0)


def test_pixel_diversity_from_its_definition():
    level = np.array([0.0, 1.0, 3.0])[:, None, None, None] * np.ones((3, 2, 4, 5))
    a, b = random_pairs(3, 1000, seed=7).numpy()
    mean = evaluation.pixel_diversity(level, 1000, seed=7)
    expected = np.sqrt(((level[a] - level[b]) ** 2).mean((1, 2, 3))).mean()
    assert mean == pytest.approx(expected, rel=1e-12)
    # Pairs of 0, 1 and 3 are 1, 2 and 3 apart, with a standard deviation of sqrt(2/3).
    assert mean == pytest.approx(2, abs=5 * (2 / 3 / 1000) ** 0.5)
    other = evaluation.pixel_diversity(level, 1000, seed=7, batch_size=33)
    assert other == pytest.approx(mean, rel=1e-12)
    bytes_ = torch.tensor([0, 51], dtype=torch.uint8).reshape(2, 1)
    assert evaluation.pixel_diversity(bytes_, 1) == pytest.approx(0.2, rel=1e-6)


def test_values_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="expected finite values"):
        evaluation.pixel_diversity(torch.tensor([[0.0], [torch.nan]]), 5)


def test_a_picture_is_at_no_distance_from_itself(network):
    x = torch.rand(3, 3, 40, 40)
    torch.testing.assert_close(perceptual_distance(network, x, x), torch.zeros(3))


def test_it_is_the_package_s_distance(network):
    a, b = torch.rand(2, 4, 3, 33, 40)
    with torch.no_grad():
        expected = network(a, b, normalize=True).flatten()
        found = perceptual_distance(network, a, b)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(perceptual_distance(network, b, a), found)
    assert found.min() > 1e-6


def test_small_grey_pictures_are_enlarged_and_repeated(network):
    a, b = torch.rand(2, 3, 1, 28, 14)
    large = [interpolate(x, (64, 32), mode="bilinear") for x in (a, b)]
    with torch.no_grad():
        with pytest.raises(RuntimeError, match="too small"):
            network(torch.rand(1, 3, 30, 30), torch.rand(1, 3, 30, 30))
        expected = network(*(2 * x.repeat(1, 3, 1, 1) - 1 for x in large)).flatten()
        torch.testing.assert_close(perceptual_distance(network, a, b), expected)


def test_its_diversity_is_the_mean_over_pairs(network):
    x = torch.rand(5, 1, 32, 32, dtype=torch.float64)
    a, b = random_pairs(5, 12, seed=3)
    with torch.no_grad():
        expected = perceptual_distance(network, x[a], x[b]).mean().item()
    for batch_size in (12, 5):
        found = evaluation.perceptual_diversity(
            x.numpy(), 12, seed=3, batch_size=batch_size, network=network
        )
        assert found == pytest.approx(expected, rel=1e-5)
    for low in (-0.5, torch.nan):
        x[:, 0, 0, 0] = low
        with pytest.raises(DataError, match=rf"values in \[0, 1\], got \[{low:g}, "):
            evaluation.perceptual_diversity(x, 4, network=network)


@pytest.mark.parametrize("shape", [(7,), (4, 32, 32), (32, 32)])
def test_only_pictures_are_compared(shape):
    with pytest.raises(DataError, match="1 or 3 channels"):
        check_pictures(shape)
    with pytest.raises(DataError, match="1 or 3 channels"):
        evaluation.perceptual_diversity(torch.zeros(2, *shape))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "lpips", None)
    for call in (evaluation.require_lpips, lpips_network):
        with pytest.raises(ConfigError, match='install it with "pip install lpips"'):
            call()


def _weights(monkeypatch, folder: Path) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(folder))
    return folder / "hub/checkpoints/alexnet-owt-7be5be79.pth"


@needs_lpips
def test_missing_weights_are_named_with_their_place(monkeypatch, tmp_path):
    path = _weights(monkeypatch, tmp_path)

    def unreachable(*_, **__):
        raise URLError("no network")

    monkeypatch.setattr("torch.hub.urlopen", unreachable)
    message = f"{path}, and they cannot be downloaded .*no network.*get https://.*{path.name}"
    for call in (evaluation.require_lpips, lpips_network):
        with pytest.raises(DataError, match=message):
            call()
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


@needs_lpips
def test_weights_that_are_there_are_taken(monkeypatch, tmp_path):
    path = _weights(monkeypatch, tmp_path)
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no weights")
    monkeypatch.setattr("torch.hub.urlopen", None)
    assert evaluation.require_lpips() == path
    with pytest.raises(DataError, match=rf"{path} cannot be read as the weights of AlexNet"):
        lpips_network()


@needs_lpips
@pytest.mark.slow
def test_the_network_has_the_weights_of_the_file(monkeypatch, tmp_path):
    torchvision_datasets()
    from torchvision.models import alexnet

    path = _weights(monkeypatch, tmp_path)
    path.parent.mkdir(parents=True)
    backbone = alexnet()
    torch.save(backbone.state_dict(), path)
    first = next(iter(lpips_network().net.parameters()))
    assert torch.equal(first, backbone.features[0].weight)
