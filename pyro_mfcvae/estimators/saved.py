"""A fitted estimator as the bytes of one safetensors file: tensors, and JSON beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pyro_mfcvae.config import config_from_dict, config_to_dict
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.estimators.base import FacetEstimator
from pyro_mfcvae.estimators.facts import Facts
from pyro_mfcvae.estimators.inputs import Units
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets.auto import Choice

_KEY = "estimator"
_MODEL = "model."
_PLAIN = (
    "n_features_in_",
    "categories_",
    "n_clusters_",
    "scores_",
    "history_",
    "health_",
    "facet_names_",
)
_ARRAYS = ("labels_", "redundancy_", "stability_")


def to_bytes(estimator: FacetEstimator) -> bytes:
    """Everything that the estimator is."""
    model, units = estimator.model_, estimator.units_
    dtype = getattr(torch, estimator.config_.training.dtype)
    tensors = {
        _MODEL + name: value.detach().to("cpu", dtype if value.is_floating_point() else None)
        for name, value in model.state_dict().items()
    }
    arrays = {name: getattr(estimator, name) for name in _ARRAYS}
    arrays |= {"shift": units.shift, "scale": units.scale}
    for j, facts in enumerate(estimator.facts_):
        own = {"sizes": facts.sizes, "sureness": facts.sureness, "differences": facts.differences}
        arrays |= {f"{name}.{j}": value for name, value in own.items()}
    tensors |= {name: torch.from_numpy(np.ascontiguousarray(v)) for name, v in arrays.items()}
    parameters = estimator.get_params(deep=False)
    if not isinstance(parameters["random_state"], int):
        parameters["random_state"] = None
    names = getattr(estimator, "feature_names_in_", None)
    record = {
        "class": type(estimator).__name__,
        "parameters": parameters,
        "attributes": {name: getattr(estimator, name) for name in _PLAIN},
        "feature_names": None if names is None else names.tolist(),
        "config": config_to_dict(estimator.config_),
        "choices": estimator.choices_,
        "observation": asdict(model.observation),
        "units": {"event": units.event, "is_bytes": units.is_bytes},
        "cluster_names": estimator.cluster_names_,
        "typical": [facts.typical for facts in estimator.facts_],
    }
    text = json.dumps(record, default=_plain)
    return save({k: v.contiguous() for k, v in tensors.items()}, {_KEY: text})


def restore(estimator: FacetEstimator, held: bytes) -> None:
    """Make an estimator, empty so far, the one that :func:`to_bytes` was given.

    Raises:
        DataError: if the bytes are no estimator, or one of another class.
    """
    try:
        header = json.loads(held[8 : 8 + int.from_bytes(held[:8], "little")])
        record = json.loads(header["__metadata__"][_KEY])
        tensors = load(held)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"this is no saved estimator ({error}); give what save() wrote") from None
    if record["class"] != type(estimator).__name__:
        raise DataError(f"this is a saved {record['class']}; open it with {record['class']}.load")
    for name, value in record["parameters"].items():
        setattr(estimator, name, _tuples(value))
    for name, value in record["attributes"].items():
        setattr(estimator, name, _tuples(value) if name == "n_clusters_" else value)
    if record["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(record["feature_names"], dtype=object)
    for name in _ARRAYS:
        setattr(estimator, name, tensors[name].numpy())
    estimator.config_ = config_from_dict(record["config"])
    estimator.choices_ = [Choice(*choice) for choice in record["choices"]]
    estimator.cluster_names_ = [
        {int(k): name for k, name in names.items()} for names in record["cluster_names"]
    ]
    units = record["units"]
    shift, scale = (tensors[name].numpy() for name in ("shift", "scale"))
    estimator.units_ = Units(tuple(units["event"]), shift, scale, units["is_bytes"])
    estimator.facts_ = [
        Facts(
            sizes=tensors[f"sizes.{j}"].numpy(),
            sureness=tensors[f"sureness.{j}"].numpy(),
            typical=typical,
            differences=tensors[f"differences.{j}"].numpy(),
        )
        for j, typical in enumerate(record["typical"])
    ]
    estimator.model_ = _model(estimator, record["observation"], tensors)


def _model(
    estimator: FacetEstimator, observation: dict[str, Any], tensors: dict[str, Tensor]
) -> Any:
    spec = ObservationSpec(**observation | {"shape": tuple(observation["shape"])})
    config = estimator.config_
    with torch.random.fork_rng(devices=[]):
        model = build_model(config.model, spec, config.guide)
    own = {k.removeprefix(_MODEL): v for k, v in tensors.items() if k.startswith(_MODEL)}
    model.load_state_dict(own)
    return model.double().eval()


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """A value that JSON does not know."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
