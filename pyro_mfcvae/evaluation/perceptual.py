"""Diversity of pictures as people see it: LPIPS, with the package ``lpips``.

LPIPS compares the features that an AlexNet has of two pictures. The package is optional, and the
AlexNet's weights are a file of their own, which torchvision publishes.

Source: Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric",
CVPR 2018; as a measure of diversity MFCVAE, Table 7.
"""

from __future__ import annotations

import importlib.util
import warnings
from functools import partial
from pathlib import Path

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pyro_mfcvae.data.vision import torchvision_datasets
from pyro_mfcvae.errors import ConfigError, DataError
from pyro_mfcvae.evaluation.diversity import BATCH_SIZE, N_PAIRS, mean_distance

# AlexNet's second pooling has no output for fewer than 31 pixels. 32 is the size of SVHN, so that
# smaller pictures are compared at the same one.
LEAST_SIZE = 32


def perceptual_diversity(
    pictures: Tensor | ArrayLike,
    n_pairs: int = N_PAIRS,
    seed: int = 0,
    batch_size: int = BATCH_SIZE,
    device: torch.device | str = "cpu",
    network: nn.Module | None = None,
) -> float:
    """Mean LPIPS distance of random pairs of pictures (N, C, H, W), C 1 or 3.

    Values are in [0, 1], or uint8, read as values / 255. The other arguments are those of
    :func:`~pyro_mfcvae.evaluation.pixel_diversity`, and the network is ``lpips.LPIPS``; None takes
    :func:`lpips_network`.

    Raises:
        ConfigError: if the package is not installed.
        DataError: if the weights are missing, or pictures are of another shape or range.
        ValueError: if there are fewer than two pictures, or no pairs.
    """
    pictures = torch.as_tensor(pictures)
    check_pictures(tuple(pictures.shape[1:]))
    network = (lpips_network() if network is None else network).to(device)
    distance = partial(perceptual_distance, network)
    return mean_distance(distance, pictures, n_pairs, seed, batch_size, device)


def perceptual_distance(network: nn.Module, a: Tensor, b: Tensor) -> Tensor:
    """LPIPS distance of pictures in [0, 1], (B, C, H, W) and (B, C, H, W) -> (B,).

    Grey ones are repeated in three channels. Ones with a side shorter than 32 pixels are enlarged
    bilinearly until it has 32, so that distances depend on it. The network is ``lpips.LPIPS``, on
    the pictures' device.

    Raises:
        DataError: if values lie outside of [0, 1].
    """
    return network(_prepare(a), _prepare(b)).flatten()


def lpips_network() -> nn.Module:
    """LPIPS as published, version 0.1 on AlexNet, on the CPU.

    Raises:
        ConfigError: if the package is not installed.
        DataError: if the AlexNet's weights cannot be had.
    """
    path = require_lpips()
    import lpips

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # it calls torchvision as one did in 2021
        try:
            return lpips.LPIPS(net="alex", verbose=False)
        except Exception as error:  # a damaged file makes torch.load raise almost anything
            raise DataError(
                f"{path} cannot be read as the weights of AlexNet ({error!r}); remove it, so that "
                "it is downloaded again"
            ) from error


def require_lpips() -> Path:
    """The file with the AlexNet's weights, downloaded if it is missing, before any long work.

    Raises:
        ConfigError: if the package lpips is not installed.
        DataError: if the weights are missing and cannot be downloaded.
    """
    if importlib.util.find_spec("lpips") is None:
        raise ConfigError(
            'LPIPS needs the package lpips; install it with "pip install lpips", or do without'
        )
    torchvision_datasets()
    from torchvision.models import AlexNet_Weights

    url = AlexNet_Weights.IMAGENET1K_V1.url
    name = url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / name
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            digest = name.rpartition("-")[2].partition(".")[0]
            torch.hub.download_url_to_file(url, str(path), digest, progress=False)
        except Exception as error:  # a connection fails in many ways
            raise DataError(
                f"LPIPS needs the weights of AlexNet (233 MiB), {path}, and they cannot be "
                f"downloaded ({error}); get {url} elsewhere and put it there (the folder is "
                "torch's, set TORCH_HOME for another one), or do without LPIPS"
            ) from error
    return path


def check_pictures(shape: tuple[int, ...]) -> None:
    """Raise a DataError unless LPIPS takes observations of this shape."""
    if len(shape) != 3 or shape[0] not in (1, 3):
        raise DataError(
            f"LPIPS compares pictures (1 or 3 channels, height, width), got observations {shape}"
        )


def _prepare(x: Tensor) -> Tensor:
    """Pictures in [0, 1], (B, C, H, W), as the network takes them."""
    low, high = x.min().item(), x.max().item()
    if not (low >= 0 and high <= 1):
        raise DataError(f"LPIPS compares pictures with values in [0, 1], got [{low:g}, {high:g}]")
    factor = LEAST_SIZE / min(x.shape[-2:])
    if factor > 1:
        size = [round(side * factor) for side in x.shape[-2:]]
        x = interpolate(x, size, mode="bilinear", align_corners=False)
    return 2 * x.float().expand(-1, 3, -1, -1) - 1
