"""Names of the layers of the first authors' networks, and what they are called here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pyro_mfcvae.errors import ConfigError

StateDict = Mapping[str, Tensor]
Pairs = Iterator[tuple[str, str]]  # (name here, name there)

_COUNT = "num_batches_tracked"
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", _COUNT)


def _check_values(name: str, value: Tensor) -> None:
    """Raise a ConfigError unless they can be loaded as they are."""
    expected = "a dense tensor on the CPU of finite real numbers"
    if value.layout != torch.strided or value.is_nested or value.device.type != "cpu":
        raise ConfigError(f"{name} must be {expected}, got {value.layout} on {value.device}")
    if value.nbytes > value.untyped_storage().nbytes():  # a file of few bytes may claim many
        raise ConfigError(f"{name} must hold all its numbers, got fewer, which it repeats")
    if name.endswith(f".{_COUNT}"):
        if value.dtype != torch.int64:
            raise ConfigError(f"{name} must be a count, torch.int64, got {value.dtype}")
        return
    if not value.is_floating_point():
        raise ConfigError(f"{name} must be {expected}, got {value.dtype}")
    finite = value.double().isfinite()
    if not finite.all():
        raise ConfigError(
            f"{name} must be {expected}, got {int((~finite).sum())} of {value.numel()} that are "
            "infinite or not a number"
        )


class Tensors:
    """A state dict of theirs that knows which of its tensors were taken."""

    def __init__(self, state_dict: StateDict) -> None:
        self.state_dict = state_dict
        self.left = set(state_dict)

    def take(self, name: str) -> Tensor:
        """One tensor.

        Raises:
            ConfigError: if there is none of this name, or it has values that no layer can have.
        """
        if name not in self.state_dict:
            raise ConfigError(f"the file has no tensor {name!r}, which the settings ask for")
        self.left.discard(name)
        value = self.state_dict[name]
        _check_values(name, value)
        return value.contiguous()

    def n_entries(self, prefix: str) -> int:
        """Entries of a list of tensors or modules."""
        pattern = re.compile(re.escape(prefix) + r"\.(\d+)(\.|$)")
        return len({match[1] for name in self.state_dict if (match := pattern.match(name))})

    def linears(self, prefix: str) -> list[str]:
        """Names of the weight matrices of a stack, in its order."""
        pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.weight")
        found = [
            (int(match[1]), name)
            for name, value in self.state_dict.items()
            if (match := pattern.fullmatch(name)) and value.dim() == 2
        ]
        return [name for _, name in sorted(found)]

    def widths(self, kind: str) -> dict[str, Any]:
        """Widths of networks without a ladder, which settings may leave out."""
        if kind not in ("fc_shared", "fc_per_facet_enc_shared_dec"):
            return {}
        widths: dict[str, Any] = {"decoder_widths": self._widths("decoder.net")}
        if kind == "fc_shared":
            return widths | {"encoder_widths": self._widths("encoder.net")}
        stacks = range(self.n_entries("encoder.net_list"))
        return widths | {"encoder_widths": [self._widths(f"encoder.net_list.{j}") for j in stacks]}

    def _widths(self, prefix: str) -> list[int]:
        return [self.state_dict[name].shape[0] for name in self.linears(prefix)]


def _dense_ladder(there: Tensors, config: Mapping[str, Any]) -> Pairs:
    norm = bool(config.get("fc_batch_norm", False))
    deepest = len(config["z_dims"]) - 1
    for j in range(deepest + 1):
        yield from _stack(there, f"encoder.backbone.{j}", f"encoder.fc_backbone.{j}", norm)
        yield from _stack(there, f"encoder.rungs.{j}", f"encoder.fc_rung.{j}", norm)
        if j < deepest:
            yield from _stack(there, f"decoder.rungs.{j}", f"decoder.fc_rung.{j}", norm)
            yield from _stack(there, f"decoder.backbone.{j}", f"decoder.fc_backbone.{j}", norm)
    # There the deepest facet's rung and backbone are one stack.
    layers = there.linears(f"decoder.fc_backbone.{deepest}")
    rung = config["decoder_rung"][deepest]
    n_rung = 1 if isinstance(rung, int) else len(rung)
    yield from _layers(f"decoder.rungs.{deepest}", layers[:n_rung], norm)
    yield from _layers(f"decoder.backbone.{deepest}", layers[n_rung:], norm)
    yield from _affine("decoder.output", "layer_x_hat_z")


def _dense_shared(there: Tensors, config: Mapping[str, Any]) -> Pairs:
    norm = bool(config.get("fc_batch_norm", False))
    if config["model_type"] == "fc_shared":
        yield from _stack(there, "encoder.trunk", "encoder.net", norm)
    else:
        for j in range(len(config["z_dims"])):
            yield from _stack(there, f"encoder.stacks.{j}", f"encoder.net_list.{j}", norm)
    yield from _stack(there, "decoder.trunk", "decoder.net", norm)
    yield from _affine("decoder.output", "layer_x_hat_z")


def _conv_ladder(there: Tensors, config: Mapping[str, Any]) -> Pairs:
    norm = bool(config.get("fc_batch_norm", False))
    for j in range(len(config["z_dims"])):
        blocks = [(f"encoder.backbone.{j}", f"encoder.conv_backbone_{j}.0")]
        blocks += [(f"encoder.rungs.{j}.{i}", f"encoder.conv_rung_{j}.{i}") for i in range(2)]
        for here, name in blocks:
            yield f"{here}.0.weight", f"{name}.0.weight_v"
            yield f"{here}.0.magnitude", f"{name}.0.weight_g"
            yield f"{here}.0.bias", f"{name}.0.bias"
            yield from _norm(f"{here}.2", f"{name}.2")
        yield from _stack(there, f"decoder.rungs.{j}", f"decoder.mlp_rung_{j}.0", norm)
        for i in range(1 if j == 0 else 2):
            here, name = f"decoder.backbone.{j}", f"decoder.conv_backbone_{j}.{i}"
            yield from _affine(f"{here}.{3 * i}", f"{name}.0")
            yield from _norm(f"{here}.{3 * i + 2}", f"{name}.2")


NETWORKS: dict[str, Callable[[Tensors, Mapping[str, Any]], Pairs]] = {
    "fc_vlae": _dense_ladder,
    "conv_vlae": _conv_ladder,
    "fc_shared": _dense_shared,
    "fc_per_facet_enc_shared_dec": _dense_shared,
}


def _stack(there: Tensors, here: str, name: str, norm: bool) -> Pairs:
    yield from _layers(here, there.linears(name), norm)


def _layers(here: str, weights: list[str], norm: bool) -> Pairs:
    """A stack of linear layers, each followed by an activation and perhaps batch norm."""
    for i, weight in enumerate(weights):
        name = weight.removesuffix(".weight")
        position = i * (3 if norm else 2)
        yield from _affine(f"{here}.{position}", name)
        if norm:
            stem, _, index = name.rpartition(".")
            yield from _norm(f"{here}.{position + 2}", f"{stem}.{int(index) + 2}")


def _affine(here: str, name: str) -> Pairs:
    for part in ("weight", "bias"):
        yield f"{here}.{part}", f"{name}.{part}"


def _norm(here: str, name: str) -> Pairs:
    for part in _BATCH_NORM:
        yield f"{here}.{part}", f"{name}.{part}"
