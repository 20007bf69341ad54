r"""Tensors of the first authors' implementation under this library's names.

Three things are stored differently. The mixtures' clusters are the last dimension there. The two
halves of a head are two layers. And mixtures that began with Glorot's initialisation have
variances (diagonal) or Cholesky diagonals (full covariance) v = exp(y) instead of a softplus,

.. math::
    v = \tfrac1\beta \log(1 + e^{\beta y}), \quad \beta = 10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor

from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.models import MFCVAE
from pyro_mfcvae.official.conversion import model_config
from pyro_mfcvae.official.layers import NETWORKS, StateDict, Tensors
from pyro_mfcvae.plugins import build_model

MEANS = "mu_p_z_j_c_j_list"
_BETA = 10.0
_KINDS = {
    "model_type": {
        "fc_vlae": "decoder.fc_backbone.",
        "conv_vlae": "encoder.conv_backbone_",
        "fc_shared": "encoder.net.",
        "fc_per_facet_enc_shared_dec": "encoder.net_list.",
    },
    "covariance": {"diag": "_sigma_square_p_z_j_c_j_list", "full": "_l_mat_p_z_j_c_j_list"},
}
_N_NAMED = 3  # disagreements in a message: one wrong setting can change dozens of shapes


def import_official(state_dict: StateDict, config: Mapping[str, Any]) -> MFCVAE:
    """Build a model from a state dict of the first authors' implementation.

    Args:
        state_dict: tensors under that implementation's names.
        config: its settings, lists running over facets, shallow first: ``model_type``
            (``fc_vlae``, ``conv_vlae``, ``fc_shared`` or ``fc_per_facet_enc_shared_dec``),
            ``z_dims``, ``n_clusters``, ``covariance`` (``diag`` or ``full``), ``likelihood``
            (``Bernoulli`` or ``Gaussian``), ``gaussian_sigma``, ``activation``,
            ``output_activation``, ``fixed_weights`` (for all or for each facet),
            ``fc_batch_norm``, ``variance_transform`` (``softplus``, the default, or ``exp``),
            ``in_dim`` or ``image_shape``, and the widths of fully connected networks:
            ``encoder_backbone``, ``encoder_rung``, ``decoder_rung`` and ``decoder_backbone``
            of a ladder, ``encoder_widths`` and ``decoder_widths`` of the others, which are taken
            from the tensors where they are not given.

    Returns:
        the model in evaluation mode, in the dtype of the state dict.

    Raises:
        ConfigError: if a setting is missing or unknown, or the tensors do not fit it.
    """
    there = Tensors(state_dict)
    try:
        _check_kind(there, config)
        config = there.widths(config["model_type"]) | dict(config)
        shape = tuple(config.get("image_shape") or (config["in_dim"],))
        model = cast(MFCVAE, build_model(model_config(config), ObservationSpec(shape)))
        values = _mixtures(there, config) | _heads(there, len(config["z_dims"]))
        for here, name in NETWORKS[config["model_type"]](there, config):
            values[here] = there.take(name)
        values["fade"] = torch.ones(model.n_facets)  # a fade-in is no part of their file
    except KeyError as error:
        raise ConfigError(f"the settings of the model lack {error}") from None
    _check_shapes(values, model.state_dict())
    if there.left:
        raise ConfigError(
            f"the file has tensors that the settings leave out: {_some(sorted(there.left))}"
        )
    _apply_transform(values, config)
    model.to(values["facets.0.loc"].dtype).load_state_dict(values)
    return model.eval()


def softplus_inverse_of_exp(raw: Tensor) -> Tensor:
    """The y whose softplus is exp(raw), of any shape; in float64 on the way, for small ones."""
    v = _BETA * raw.double().exp()
    return ((v + (-torch.expm1(-v)).log()) / _BETA).to(raw.dtype)


def _check_kind(there: Tensors, config: Mapping[str, Any]) -> None:
    """Raise a ConfigError if the tensors are of another kind of model."""
    n_facets = len(config["z_dims"])
    if there.n_entries(MEANS) != n_facets:
        raise ConfigError(
            f"the file has {there.n_entries(MEANS)} facets, the settings have {n_facets}"
        )
    for what, prefixes in _KINDS.items():
        found = [
            kind
            for kind, prefix in prefixes.items()
            if any(name.startswith(prefix) for name in there.left)
        ]
        if config[what] in prefixes and found and config[what] not in found:
            raise ConfigError(
                f"{what} is {found[0]} in the file and {config[what]} in the settings"
            )


def _check_shapes(values: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Raise a ConfigError that names where the tensors disagree with the settings."""
    facets, others = [], []
    for name in sorted(expected.keys() | values.keys()):
        came, asked = (t[name].shape if name in t else None for t in (values, expected))
        if came == asked:
            continue
        match = re.fullmatch(r"facets\.(\d+)\.loc", name)
        if match and came is not None and asked is not None and len(came) == 2:
            facets += [
                f"facet {match[1]} has {n} {what} in the file, {m} in the settings ({name})"
                for n, m, what in zip(came, asked, ("clusters", "latent dimensions"), strict=True)
                if n != m
            ]
        else:
            has, wanted = ("no tensor" if s is None else f"shape {tuple(s)}" for s in (came, asked))
            others.append(f"{name} has {has} in the file, {wanted} in the settings")
    if facets or others:
        # The shapes of the networks follow from those of the facets.
        raise ConfigError(f"the tensors do not fit the settings: {_some(facets or others, '; ')}")


def _some(items: list[str], separator: str = ", ") -> str:
    named = separator.join(items[:_N_NAMED])
    return named if len(items) <= _N_NAMED else f"{named} and {len(items) - _N_NAMED} more"


def _mixtures(there: Tensors, config: Mapping[str, Any]) -> dict[str, Tensor]:
    values = {}
    variances = _KINDS["covariance"][config["covariance"]]
    for j in range(len(config["z_dims"])):
        values[f"facets.{j}.logits"] = there.take(f"_pi_p_c_j_list.{j}")
        values[f"facets.{j}.loc"] = there.take(f"{MEANS}.{j}").movedim(-1, 0)
        values[f"facets.{j}.raw_scale"] = there.take(f"{variances}.{j}").movedim(-1, 0)
    return values


def _heads(there: Tensors, n_facets: int) -> dict[str, Tensor]:
    values = {}
    for j in range(n_facets):
        for part in ("weight", "bias"):
            means = there.take(f"fc_mu_q_z_x_list.{j}.{part}")
            log_vars = there.take(f"fc_log_sigma_square_q_z_x_list.{j}.{part}")
            if means.shape != log_vars.shape:
                raise ConfigError(
                    f"the {part}s of the means and the log-variances of q(z | x) in facet {j} must "
                    f"have one shape, got {tuple(means.shape)} and {tuple(log_vars.shape)}"
                )
            values[f"heads.{j}.{part}"] = torch.cat([means, log_vars])
    return values


def _apply_transform(values: dict[str, Tensor], config: Mapping[str, Any]) -> None:
    """Turn what exp makes positive there into what softplus makes positive here."""
    transform = config.get("variance_transform", "softplus")
    if transform not in ("softplus", "exp"):
        raise ConfigError(f"variance_transform must be softplus or exp, got {transform!r}")
    if transform == "softplus":
        return
    for j in range(len(config["z_dims"])):
        raw = values[f"facets.{j}.raw_scale"]
        if config["covariance"] == "diag":
            values[f"facets.{j}.raw_scale"] = softplus_inverse_of_exp(raw)
        else:
            diagonal = softplus_inverse_of_exp(raw.diagonal(dim1=-2, dim2=-1))
            values[f"facets.{j}.raw_scale"] = raw.tril(-1) + torch.diag_embed(diagonal)
        if not values[f"facets.{j}.raw_scale"].isfinite().all():
            name = f"{_KINDS['covariance'][config['covariance']]}.{j}"
            raise ConfigError(
                f"{name} must hold logarithms of variances or Cholesky diagonals that "
                f"{raw.dtype} can hold, got values from {raw.min():g} to {raw.max():g}"
            )
