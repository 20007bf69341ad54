"""Models of the first authors' implementation as models of this library."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pyro_mfcvae.config import Component, FacetConfig
from pyro_mfcvae.data.observations import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models.mfcvae import MFCVAE

StateDict = Mapping[str, Tensor]
Pairs = Iterator[tuple[str, str]]  # (name here, name there)

_COVARIANCES = {"diag": "diagonal", "full": "full"}
_ACTIVATIONS = {"relu": "relu", "elu": "elu", "leaky_relu": "leaky-relu"}
_BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def import_official(state_dict: StateDict, config: Mapping[str, Any]) -> MFCVAE:
    """Build a model from a state dict of the first authors' implementation.

    Args:
        state_dict: tensors under that implementation's names.
        config: its settings, lists running over facets, shallow first: ``model_type``
            (``fc_vlae``, ``conv_vlae`` or ``fc_shared``), ``z_dims``, ``n_clusters``,
            ``covariance`` (``diag`` or ``full``), ``likelihood`` (``Bernoulli`` or
            ``Gaussian``), ``gaussian_sigma``, ``activation``, ``output_activation``,
            ``fixed_weights``, ``fc_batch_norm``, and ``in_dim`` or ``image_shape``.

    Returns:
        the model in evaluation mode, in the dtype of the state dict.

    Raises:
        ConfigError: if a setting is missing or unknown, or the tensors do not fit it.
    """
    try:
        model = _empty_model(state_dict, config)
    except KeyError as error:
        raise ConfigError(f"the settings of the model lack {error}") from None
    values: dict[str, Tensor] = dict(_mixtures(state_dict, config))
    values |= _heads(state_dict, len(config["z_dims"]))
    pairs = {"fc_vlae": _dense_ladder, "conv_vlae": _conv_ladder, "fc_shared": _dense_shared}
    for here, there in pairs[config["model_type"]](state_dict, config):
        values[here] = _tensor(state_dict, there)
    expected = model.state_dict()
    wrong = [
        name
        for name in expected.keys() | values.keys()
        if name not in expected or name not in values or expected[name].shape != values[name].shape
    ]
    if wrong:
        raise ConfigError(f"the tensors do not fit the settings at {', '.join(sorted(wrong))}")
    dtype = values["facets.0.loc"].dtype
    model.to(dtype).load_state_dict(values)
    return model.eval()


def _empty_model(state_dict: StateDict, config: Mapping[str, Any]) -> MFCVAE:
    facets = [
        FacetConfig(
            n_clusters=n_clusters,
            latent_dim=latent_dim,
            covariance=_known(_COVARIANCES, config["covariance"], "covariance"),
            learn_weights=not config["fixed_weights"],
        )
        for n_clusters, latent_dim in zip(config["n_clusters"], config["z_dims"], strict=True)
    ]
    shape = tuple(config.get("image_shape") or (config["in_dim"],))
    encoder, decoder = _networks(state_dict, config)
    return MFCVAE(ObservationSpec(shape), facets, _likelihood(config), encoder, decoder)


def _likelihood(config: Mapping[str, Any]) -> Component:
    output = config["output_activation"]
    if config["likelihood"] == "Bernoulli" and output == "sigmoid":
        return Component(name="bernoulli")
    if config["likelihood"] == "Gaussian" and output in (None, "sigmoid"):
        options = {"scale": config["gaussian_sigma"], "output_activation": output}
        return Component(name="gaussian", options=options)
    raise ConfigError(
        "expected likelihood Bernoulli with output_activation sigmoid, or Gaussian with sigmoid "
        f"or none, got {config['likelihood']!r} with {output!r}"
    )


def _networks(state_dict: StateDict, config: Mapping[str, Any]) -> tuple[Component, Component]:
    act = {"activation": _known(_ACTIVATIONS, config["activation"], "activation")}
    norm = {"batch_norm": bool(config.get("fc_batch_norm", False))}
    kind = config["model_type"]
    if kind == "fc_vlae":
        encoder = {"backbone": config["encoder_backbone"]}
        decoder = {
            "rungs": config["decoder_rung"],
            "backbone": config["decoder_backbone"],
            "merge": "add",
        }
        return (
            Component(name="ladder", options=encoder | act | norm),
            Component(name="ladder", options=decoder | act | norm),
        )
    if kind == "conv_vlae":
        rung_norm = {"rung_batch_norm": norm["batch_norm"]}
        return (
            Component(name="conv-ladder", options=act),
            Component(name="conv-ladder", options=act | rung_norm),
        )
    if kind == "fc_shared":
        widths = {
            part: [state_dict[name].shape[0] for name in _linears(state_dict, f"{part}.net")]
            for part in ("encoder", "decoder")
        }
        return (
            Component(name="shared", options={"widths": widths["encoder"]} | act | norm),
            Component(name="shared", options={"widths": widths["decoder"]} | act | norm),
        )
    raise ConfigError(f"model_type must be fc_vlae, conv_vlae or fc_shared, got {kind!r}")


def _mixtures(state_dict: StateDict, config: Mapping[str, Any]) -> Iterator[tuple[str, Tensor]]:
    full = config["covariance"] == "full"
    name = "_l_mat_p_z_j_c_j_list" if full else "_sigma_square_p_z_j_c_j_list"
    for j in range(len(config["z_dims"])):
        yield f"facets.{j}.logits", _tensor(state_dict, f"_pi_p_c_j_list.{j}")
        # There the clusters are the last dimension.
        yield f"facets.{j}.loc", _tensor(state_dict, f"mu_p_z_j_c_j_list.{j}").movedim(-1, 0)
        yield f"facets.{j}.raw_scale", _tensor(state_dict, f"{name}.{j}").movedim(-1, 0)


def _heads(state_dict: StateDict, n_facets: int) -> dict[str, Tensor]:
    names = ("fc_mu_q_z_x_list", "fc_log_sigma_square_q_z_x_list")
    return {
        f"heads.{j}.{part}": torch.cat([_tensor(state_dict, f"{n}.{j}.{part}") for n in names])
        for j in range(n_facets)
        for part in ("weight", "bias")
    }


def _dense_ladder(state_dict: StateDict, config: Mapping[str, Any]) -> Pairs:
    norm = bool(config.get("fc_batch_norm", False))
    deepest = len(config["z_dims"]) - 1
    for j in range(deepest + 1):
        yield from _stack(state_dict, f"encoder.backbone.{j}", f"encoder.fc_backbone.{j}", norm)
        if j < deepest:
            yield from _stack(state_dict, f"decoder.rungs.{j}", f"decoder.fc_rung.{j}", norm)
            yield from _stack(state_dict, f"decoder.backbone.{j}", f"decoder.fc_backbone.{j}", norm)
    # There the deepest facet's rung and backbone are one stack.
    layers = _linears(state_dict, f"decoder.fc_backbone.{deepest}")
    n_rung = len(_as_list(config["decoder_rung"][deepest]))
    parts = {"rungs": layers[:n_rung], "backbone": layers[n_rung:]}
    for part, names in parts.items():
        yield from _layers(f"decoder.{part}.{deepest}", names, norm)
    yield from _affine("decoder.output", "layer_x_hat_z")


def _dense_shared(state_dict: StateDict, config: Mapping[str, Any]) -> Pairs:
    norm = bool(config.get("fc_batch_norm", False))
    yield from _stack(state_dict, "encoder.trunk", "encoder.net", norm)
    yield from _stack(state_dict, "decoder.trunk", "decoder.net", norm)
    yield from _affine("decoder.output", "layer_x_hat_z")


def _conv_ladder(state_dict: StateDict, config: Mapping[str, Any]) -> Pairs:
    n_facets = len(config["z_dims"])
    for j in range(n_facets):
        blocks = [(f"encoder.backbone.{j}", f"encoder.conv_backbone_{j}.0")]
        blocks += [(f"encoder.rungs.{j}.{i}", f"encoder.conv_rung_{j}.{i}") for i in range(2)]
        for here, there in blocks:
            yield f"{here}.0.weight", f"{there}.0.weight_v"
            yield f"{here}.0.magnitude", f"{there}.0.weight_g"
            yield f"{here}.0.bias", f"{there}.0.bias"
            yield from _norm(f"{here}.2", f"{there}.2")
        yield from _stack(
            state_dict,
            f"decoder.rungs.{j}",
            f"decoder.mlp_rung_{j}.0",
            bool(config.get("fc_batch_norm", False)),
        )
        for i in range(1 if j == 0 else 2):
            here, there = f"decoder.backbone.{j}", f"decoder.conv_backbone_{j}.{i}"
            yield from _affine(f"{here}.{3 * i}", f"{there}.0")
            yield from _norm(f"{here}.{3 * i + 2}", f"{there}.2")


def _stack(state_dict: StateDict, here: str, there: str, norm: bool) -> Pairs:
    yield from _layers(here, _linears(state_dict, there), norm)


def _layers(here: str, weights: list[str], norm: bool) -> Pairs:
    """A stack of linear layers, each followed by an activation and perhaps batch norm."""
    for i, weight in enumerate(weights):
        there = weight.removesuffix(".weight")
        position = i * (3 if norm else 2)
        yield from _affine(f"{here}.{position}", there)
        if norm:
            stem, _, index = there.rpartition(".")
            yield from _norm(f"{here}.{position + 2}", f"{stem}.{int(index) + 2}")


def _affine(here: str, there: str) -> Pairs:
    for part in ("weight", "bias"):
        yield f"{here}.{part}", f"{there}.{part}"


def _norm(here: str, there: str) -> Pairs:
    for part in _BATCH_NORM:
        yield f"{here}.{part}", f"{there}.{part}"


def _linears(state_dict: StateDict, prefix: str) -> list[str]:
    """Names of the weight matrices of a stack, in its order."""
    pattern = re.compile(re.escape(prefix) + r"\.(\d+)\.weight")
    found = [
        (int(match[1]), name)
        for name, value in state_dict.items()
        if (match := pattern.fullmatch(name)) and value.dim() == 2
    ]
    return [name for _, name in sorted(found)]


def _tensor(state_dict: StateDict, name: str) -> Tensor:
    if name not in state_dict:
        raise ConfigError(f"the state dict has no tensor {name!r}, which the settings ask for")
    return state_dict[name].contiguous()


def _known(table: Mapping[str, str], value: str, what: str) -> Any:
    if value not in table:
        raise ConfigError(f"{what} must be one of {', '.join(table)}, got {value!r}")
    return table[value]


def _as_list(widths: int | list[int]) -> list[int]:
    return [widths] if isinstance(widths, int) else list(widths)
