"""What files of results must hold to be shown, so that a damaged one is refused by name."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict  # pydantic needs it before Python 3.12

from pyro_mfcvae.errors import RunError
from pyro_mfcvae.runs.run import Run

Measures = dict[str, float]


class _Parts(TypedDict):
    train: float
    test: float


class _HeldOut(TypedDict):
    majority_accuracy_training_map: float


class _Factor(TypedDict):
    n_classes: int
    train: Measures
    test: _HeldOut  # and other measures


class _Facet(TypedDict):
    n_clusters: int
    latent_dim: int
    occupied_clusters: _Parts
    assignment_entropy: _Parts
    factors: dict[str, _Factor]


class _Bound(TypedDict):
    n_samples: int
    n_observations: _Parts
    train: float
    test: float


class _Diversity(TypedDict):
    n_pairs: int
    distances: dict[str, Measures]


class _Probe(TypedDict):
    n_train: int
    facets: list[Measures]
    all_facets: Measures
    most_frequent_class: Measures


class _Elbo(TypedDict):
    train: Measures
    test: Measures


class _Evaluation(TypedDict):
    step: int
    n_steps: int
    n_observations: _Parts
    elbo: _Elbo
    facets: list[_Facet]
    redundancy: NotRequired[dict[str, list[list[float | None]]]]
    importance_weighted_bound: NotRequired[_Bound]
    probe: NotRequired[_Probe]
    diversity: NotRequired[_Diversity]


class _Guide(TypedDict):
    guide: str
    n_samples: int
    elbo: float
    elbo_standard_error: float
    gap: float | None
    predicted_gap: float | None
    least_gap: float | None
    is_bound: NotRequired[bool]
    gradient_variance: float
    seconds: float


class _Comparison(TypedDict):
    step: int
    reference: str | None
    left_out: NotRequired[dict[str, str]]
    group_size: NotRequired[int | None]
    n_observations: int
    n_draws: int
    guides: list[_Guide]


def stored_evaluation(run: Run) -> dict[str, Any] | None:
    """The results of a run's latest evaluation.

    Raises:
        RunError: if they are not such as an evaluation writes.
    """
    evaluation = _checked(run.evaluation(), _Evaluation, run.path / "evaluation.json")
    n_facets = len(run.config.model.facets)
    if evaluation is not None and len(evaluation["facets"]) != n_facets:
        raise RunError(
            f"{run.path / 'evaluation.json'} has {len(evaluation['facets'])} facets, config.json "
            f"{n_facets}; remove it and measure again"
        )
    return evaluation


def stored_comparison(run: Run) -> dict[str, Any] | None:
    """The results of a run's latest comparison of guides.

    Raises:
        RunError: if they are not such as a comparison writes.
    """
    return _checked(run.comparison(), _Comparison, run.path / "comparison.json")


def _checked(results: dict[str, Any] | None, kind: Any, path: Path) -> dict[str, Any] | None:
    if results is None:
        return None
    try:
        _adapter(kind).validate_python(results)
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise RunError(
            f"{path} is damaged ({where}: {problem['msg']}); remove it and measure again"
        ) from None
    return results


@functools.cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)
