"""From the first authors' settings to neutral ones, and to a Config of this library.

Neutral settings are what :func:`~pyro_mfcvae.official.import_official` takes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

from pyro_mfcvae.config import Component, Config, FacetConfig, ModelConfig, TrainingConfig
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.official.settings import OfficialSettings
from pyro_mfcvae.registry import unknown

_T = TypeVar("_T")

_COVARIANCES: dict[str, Literal["diagonal", "full"]] = {"diag": "diagonal", "full": "full"}
_ACTIVATIONS = {"relu": "relu", "elu": "elu", "leaky_relu": "leaky-relu"}
_SPREAD = 0.1  # what the package that initialises their networks from data takes by default


def neutral_settings(settings: OfficialSettings) -> dict[str, Any]:
    """What :func:`~pyro_mfcvae.official.import_official` takes."""
    data = settings.data
    neutral: dict[str, Any] = {
        "model_type": settings.model_type,
        "z_dims": settings.z_j_dim_list,
        "n_clusters": settings.n_clusters_j_list,
        "covariance": settings.cov_type_p_z_c,
        "variance_transform": "exp" if settings.init_type_p_z_c == "glorot" else "softplus",
        "fixed_weights": settings.fixed_weights,
        "likelihood": data.likelihood,
        "gaussian_sigma": settings.sigma_multiplier_p_x_z,
        "output_activation": data.output_activation,
        "activation": settings.activation,
        "fc_batch_norm": settings.do_fc_batch_norm,
        "image_shape": data.shape,
    }
    if settings.model_type == "fc_vlae":
        # Their train.py makes its layer lists from these, whatever encode_layer_dims says.
        neutral |= {
            "encoder_backbone": _repeat_widths(settings, "enc_backbone"),
            "encoder_rung": _repeat_widths(settings, "enc_rung"),
            "decoder_rung": _repeat_widths(settings, "dec_rung"),
            "decoder_backbone": _repeat_widths(settings, "dec_backbone"),
        }
    elif settings.model_type != "conv_vlae":
        neutral |= {
            "encoder_widths": settings.encode_layer_dims,
            "decoder_widths": settings.decode_layer_dims,
        }
    return neutral


def model_config(neutral: Mapping[str, Any]) -> ModelConfig:
    """The model that neutral settings describe.

    Raises:
        ConfigError: if a setting is unknown.
        KeyError: if one is missing.
    """
    fixed = neutral["fixed_weights"]
    if isinstance(fixed, bool):
        fixed = [fixed] * len(neutral["z_dims"])
    facets = tuple(
        FacetConfig(
            n_clusters=n_clusters,
            latent_dim=latent_dim,
            covariance=_look_up(_COVARIANCES, neutral["covariance"], "covariance"),
            learn_weights=not is_fixed,
        )
        for n_clusters, latent_dim, is_fixed in zip(
            neutral["n_clusters"], neutral["z_dims"], fixed, strict=True
        )
    )
    encoder, decoder = _networks(neutral)
    return ModelConfig(
        facets=facets, likelihood=_likelihood(neutral), encoder=encoder, decoder=decoder
    )


def run_config(
    settings: OfficialSettings, dtype: Literal["float32", "float64"] = "float32"
) -> Config:
    """The whole run that their settings describe, with parameters of this dtype.

    Raises:
        ConfigError: if this library cannot express them.
    """
    data = settings.data
    options: dict[str, Any] = {}
    if settings.dataset == "fast_3dshapes":
        options = {
            "factors": settings.factors_variation_dict,
            "split_seed": settings.seed,
            "test_fraction": settings.test_fraction,
        }
    model = model_config(neutral_settings(settings))
    return Config(
        seed=settings.seed,
        data=Component(name=data.name, options=options),
        model=replace(
            model,
            facets=tuple(
                replace(facet, initial_variance=_initial_variance(settings))
                for facet in model.facets
            ),
            initialisation="data-dependent-published" if settings.data_init else "default",
            initial_spread=_SPREAD if settings.data_init else 1.0,
            mixture_initialisation=settings.init_type_p_z_c,
        ),
        training=TrainingConfig(
            batch_size=settings.batch_size,
            learning_rate=settings.init_lr,
            epochs_per_step=_epochs(settings),
            n_fade_in_batches=settings.n_batches_fade_in or 0,
            kl_floor=_kl_floor(settings),
            dtype=dtype,
        ),
        # The paper's tau multiplies covariances, as here. Their code multiplies Cholesky factors by
        # it, or takes it times the variance for a standard deviation, where they are diagonal.
        sampling_temperature=settings.temp_sample_generation,
    )


def _repeat_widths(settings: OfficialSettings, part: str) -> list[list[int]]:
    """Widths of one part of the ladder; -1 layers are none."""
    widths, counts = getattr(settings, f"{part}_dims"), getattr(settings, f"{part}_n_hidden")
    return [[width] * count for width, count in zip(widths, counts, strict=True)]


def _initial_variance(settings: OfficialSettings) -> float:
    """The variance that their mixtures start from: fixed_var_init never reaches their model."""
    if settings.init_type_p_z_c == "glorot" and settings.cov_type_p_z_c == "full":
        # What softplus was to turn into 0.1, the Cholesky factors' diagonal, is put through exp.
        return math.expm1(1) ** 0.2
    return 0.01


def _epochs(settings: OfficialSettings) -> tuple[int, ...]:
    """Epochs that train: their epoch 0 only evaluates."""
    name = "n_epochs_per_progressive_step" if settings.do_progressive_training else "n_epochs"
    given = getattr(settings, name)
    first, *others = given if isinstance(given, list) else [given]
    if first < 2:
        raise ConfigError(
            f"{name} must begin with at least 2, for the first epoch only evaluates, got {given}"
        )
    return (first - 1, *others)


def _kl_floor(settings: OfficialSettings) -> float:
    """Weight of a facet's KL terms before its turn."""
    z, c = settings.gamma_kl_z_pretrain, settings.gamma_kl_c_pretrain
    if not settings.do_progressive_training:
        return 0.0
    if z != c:
        raise ConfigError(
            "both KL terms of a facet have one weight before its turn here: expected equal "
            f"gamma_kl_z_pretrain and gamma_kl_c_pretrain, got {z:g} and {c:g}"
        )
    return z


def _likelihood(neutral: Mapping[str, Any]) -> Component:
    output = neutral["output_activation"]
    if neutral["likelihood"] == "Bernoulli" and output == "sigmoid":
        return Component(name="bernoulli")
    if neutral["likelihood"] == "Gaussian" and output in (None, "sigmoid"):
        options = {"scale": neutral["gaussian_sigma"], "output_activation": output}
        return Component(name="gaussian", options=options)
    raise ConfigError(
        "expected likelihood Bernoulli with output_activation sigmoid, or Gaussian with sigmoid "
        f"or none, got {neutral['likelihood']!r} with {output!r}"
    )


def _networks(neutral: Mapping[str, Any]) -> tuple[Component, Component]:
    act = {"activation": _look_up(_ACTIVATIONS, neutral["activation"], "activation")}
    norm = {"batch_norm": bool(neutral.get("fc_batch_norm", False))}
    kind = neutral["model_type"]
    if kind == "fc_vlae":
        encoder = {"backbone": neutral["encoder_backbone"]}
        if any(neutral.get("encoder_rung", ())):
            encoder["rungs"] = neutral["encoder_rung"]
        decoder = {
            "rungs": neutral["decoder_rung"],
            "backbone": neutral["decoder_backbone"],
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
    if kind in ("fc_shared", "fc_per_facet_enc_shared_dec"):
        encoder = {"widths": neutral["encoder_widths"]} | act | norm
        decoder = {"widths": neutral["decoder_widths"]} | act | norm
        name = "shared"
        if kind != "fc_shared":
            # The activation never reaches these encoders of theirs.
            name, encoder = "per-facet", encoder | {"activation": "relu"}
        return Component(name=name, options=encoder), Component(name="shared", options=decoder)
    known = ("fc_vlae", "conv_vlae", "fc_shared", "fc_per_facet_enc_shared_dec")
    raise unknown("model_type", kind, known)


def _look_up(table: Mapping[str, _T], value: str, what: str) -> _T:
    if value not in table:
        raise unknown(what, value, table)
    return table[value]
