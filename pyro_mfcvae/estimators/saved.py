"""A fitted estimator as the bytes of one safetensors file: tensors, and JSON beside them."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor
from typing_extensions import TypedDict

from pyro_mfcvae.config import config_from_dict, config_to_dict
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.errors import DataError
from pyro_mfcvae.estimators.base import FacetEstimator
from pyro_mfcvae.estimators.inputs import Units
from pyro_mfcvae.evaluation.cluster_facts import Facts
from pyro_mfcvae.files import validated
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets.auto import Choice

_KEY = "estimator"
_MODEL = "model."
_ARRAYS = ("labels_", "redundancy_", "stability_")


class _Attributes(TypedDict):
    n_features_in_: int
    categories_: dict[str, list[str]]
    n_clusters_: int | tuple[int, ...]
    scores_: list[float]
    history_: list[dict[str, Any]]
    health_: list[str]
    facet_names_: list[str]


class _Units(TypedDict):
    event: tuple[int, ...]
    is_bytes: bool


_Record = TypedDict(
    "_Record",
    {
        "class": str,
        "parameters": dict[str, Any],
        "attributes": _Attributes,
        "feature_names": list[str] | None,
        "config": dict[str, Any],
        "choices": list[tuple[str, Any, str]],
        "observation": ObservationSpec,
        "units": _Units,
        "cluster_names": list[dict[int, str]],
        "typical": list[list[list[Any]]],
    },
)


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
        "attributes": {name: getattr(estimator, name) for name in _Attributes.__annotations__},
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
        record = validated(_Record, json.loads(header["__metadata__"][_KEY]))
        if record["class"] == type(estimator).__name__:
            _fill(estimator, record, load(held))
            return
    except MemoryError:
        raise
    except Exception as error:  # whatever the bytes of a damaged file lead to
        raise DataError(f"this is no saved estimator ({error}); give what save() wrote") from None
    raise DataError(f"this is a saved {record['class']}; open it with {record['class']}.load")


def _fill(estimator: FacetEstimator, record: _Record, tensors: dict[str, Tensor]) -> None:
    if (found := sorted(record["parameters"])) != type(estimator)._get_param_names():
        raise ValueError(f"its parameters are {', '.join(found)}")
    for name, value in record["parameters"].items():
        setattr(estimator, name, _tuples(value))
    for name, value in record["attributes"].items():
        setattr(estimator, name, value)
    if record["feature_names"] is not None:
        estimator.feature_names_in_ = np.array(record["feature_names"], dtype=object)
    arrays = {k: v.numpy() for k, v in tensors.items() if not k.startswith(_MODEL)}
    for name in _ARRAYS:
        setattr(estimator, name, arrays[name])
    estimator.config_ = config_from_dict(record["config"])
    estimator.choices_ = [Choice(*choice) for choice in record["choices"]]
    estimator.cluster_names_ = record["cluster_names"]
    estimator.units_ = Units(**record["units"], shift=arrays["shift"], scale=arrays["scale"])
    estimator.facts_ = [
        Facts(arrays[f"sizes.{j}"], arrays[f"sureness.{j}"], typical, arrays[f"differences.{j}"])
        for j, typical in enumerate(record["typical"])
    ]
    spec, config = record["observation"], estimator.config_
    with torch.random.fork_rng(devices=[]):
        model = build_model(config.model, spec, config.guide)
    own = {k.removeprefix(_MODEL): v for k, v in tensors.items() if k.startswith(_MODEL)}
    model.load_state_dict(own)
    estimator.model_ = model.double().eval()
    _check_sizes(estimator, arrays)


def _check_sizes(estimator: FacetEstimator, arrays: dict[str, np.ndarray]) -> None:
    """Raise a ValueError if parts of an estimator do not fit each other."""
    model, units, n_facets = estimator.model_, estimator.units_, len(estimator.facts_)
    clusters = [model.structure.facets[j].n_clusters for j in range(n_facets)]
    event = model.observation.shape
    told = (len(estimator.indicator_names),) if len(event) == 1 else event
    n_rows = len(estimator.labels_)
    shapes: dict[str, tuple[int, ...]] = {
        "labels_": (n_rows,) if estimator.is_single else (n_rows, n_facets),
        "redundancy_": (n_facets, n_facets),
        "stability_": (n_facets,),
    }
    for j, k in enumerate(clusters):
        shapes |= {f"sizes.{j}": (k,), f"sureness.{j}": (k,), f"differences.{j}": (k, *told)}
    wrong = [name for name, shape in shapes.items() if arrays[name].shape != shape]
    wrong += [name for name in ("shift", "scale") if arrays[name].shape not in ((1,), event)]
    names = (estimator.cluster_names_, estimator.facet_names_)
    if any(len(each) != n_facets for each in names) or not n_facets:
        wrong.append("names of facets")
    if [len(facts.typical) for facts in estimator.facts_] != clusters:
        wrong.append("typical rows")
    n_columns = len(estimator.column_names)
    if (
        units.event != event
        or not n_columns == estimator.n_features_in_ == model.observation.n_values
    ):
        wrong.append("columns")
    if wrong:
        raise ValueError(f"{', '.join(wrong)} do not fit the model")


def _tuples(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _plain(value: Any) -> Any:
    """A value that JSON does not know."""
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)
