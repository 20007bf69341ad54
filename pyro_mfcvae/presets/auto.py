"""Settings from the data: what suits a person's own rows or pictures, each with its reason."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pyro_mfcvae.config import (
    Component,
    Config,
    FacetConfig,
    GuideConfig,
    ModelConfig,
    TrainingConfig,
)
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.presets.rows import part

_ROWS_PER_CLUSTER = 10
_MOST_CLUSTERS = 10


class Choice(NamedTuple):
    """One setting that was chosen, by its dotted path, and why."""

    setting: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Auto:
    """Settings from the data.

    Attributes:
        config: the settings.
        n_starts: runs from which the one with the best held-out ELBO is to be taken.
        choices: what was chosen, and why.
    """

    config: Config
    n_starts: int
    choices: list[Choice] = field(default_factory=list)


def auto_config(
    dataset: Dataset,
    n_clusters: Sequence[int] | None = None,
    latent_dim: Sequence[int] | None = None,
    *,
    model: str = "mfcvae",
    max_steps: int | None = None,
    batch_size: int | None = None,
) -> Auto:
    """Settings for a data set, from its size and the kind of its observations.

    Args:
        dataset: rows, best with mean 0 and standard deviation 1 in every column, or pictures.
        n_clusters: K of each facet; None takes two facets, with as many as there are rows for.
        latent_dim: D of each facet.
        model: ``"mfcvae"``, ``"vade"`` or ``"gmvae"``.
        max_steps: of the training.
        batch_size: B.
    """
    n, observation = len(dataset.train), dataset.observation
    choices: list[Choice] = []

    def choose(setting: str, value: Any, given: Any, reason: str) -> Any:
        chosen = value if given is None else given
        choices.append(Choice(setting, chosen, reason if given is None else "as given"))
        return chosen

    most = max(2, min(_MOST_CLUSTERS, n // _ROWS_PER_CLUSTER))
    clusters = choose(
        "n_clusters",
        (most,) * (2 if model == "mfcvae" else 1),
        None if n_clusters is None else tuple(n_clusters),
        f"a cluster needs {_ROWS_PER_CLUSTER} rows, and there are {n}",
    )
    n_facets = len(clusters)
    latents = choose(
        "latent_dim",
        (_latent_dim(observation.n_values, n_facets),) * n_facets,
        None if latent_dim is None else tuple(latent_dim),
        f"observations have {observation.n_values} values",
    )
    width = choose(
        "width", _width(n, observation.n_values), None, f"{n} rows of {observation.n_values} values"
    )
    batch = choose("training.batch_size", min(n, 64 if n < 2000 else 256), batch_size, f"{n} rows")
    steps = choose("max_steps", 1500, max_steps, "")
    per_epoch = -(-n // batch)
    n_epochs = max(2 * n_facets, round(steps / per_epoch))
    networks: dict[str, Component] = {}
    facets = [
        FacetConfig(n_clusters=k, latent_dim=d, initial_variance=1.0)
        for k, d in zip(clusters, latents, strict=True)
    ]
    guide, options, extra = GuideConfig(), {}, {}
    if model == "gmvae":
        facets.append(FacetConfig(n_clusters=1, latent_dim=2))
        guide, options = GuideConfig(name="posterior-analytic"), {"mixture_width": width}
        if clusters[0] > 1:
            extra = {"min_information": 0.5}
        else:
            options = {}
    if len(facets) == 1 or model == "gmvae":
        network = part("shared", widths=[width, width], activation="tanh")
        networks = {"encoder": network, "decoder": network}
    else:
        networks = {
            "encoder": part("ladder", backbone=width, activation="tanh"),
            "decoder": part("ladder", backbone=width, rungs=width, activation="tanh"),
        }
    has_clusters = any(k > 1 for k in clusters)
    warm = (math.floor(0.3 * n_epochs), math.floor(0.5 * n_epochs))
    config = Config(
        preset="auto",
        data=part(dataset.name),
        model=ModelConfig(
            name=model,
            facets=tuple(facets),
            likelihood=part("gaussian", scale=1.0, learn_scale=True),
            mixture_initialisation="random",
            options=options,
            **networks,
        ),
        guide=guide,
        training=TrainingConfig(
            batch_size=batch,
            learning_rate=2e-3,
            learning_rate_schedule="cosine",
            epochs_per_step=(n_epochs,),
            kl_start=0.1 if warm[1] else 1.0,
            kl_warm_up=warm,
            refit_mixtures=(warm[0],) if has_clusters and warm[0] else (),
            n_threads=1,
            **extra,
        ),
    )
    n_starts = choose("n_init", 4, None, "")
    return Auto(config, n_starts, choices)


def _latent_dim(n_values: int, n_facets: int) -> int:
    return max(1, min(5, round(math.sqrt(n_values) / n_facets) + 1))


def _width(n: int, n_values: int) -> int:
    return int(min(256, max(32, 2 ** round(math.log2(4 * math.sqrt(n_values * math.sqrt(n)))))))
