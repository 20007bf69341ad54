"""Settings from the data: what suits a person's own rows or pictures, each with its reason.

The numbers were chosen on small public tables by the held-out ELBO. That facets of rows begin as
subspaces, with K - 1 latents each, was chosen because the known partitions of such tables are then
found, so that labels of those tables had a say in it; of the data at hand none has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from pyro_mfcvae.config import (
    Component,
    Config,
    FacetConfig,
    GuideConfig,
    ModelConfig,
    TrainingConfig,
)
from pyro_mfcvae.data import Dataset, as_float, spread
from pyro_mfcvae.data.columns import ColumnKind, columns_likelihood
from pyro_mfcvae.data.observations import Observations
from pyro_mfcvae.nets.columns import directions_of
from pyro_mfcvae.presets.rows import part

_ROWS_PER_CLUSTER = 10
_ROWS_PER_LATENT = 50
_MOST_CLUSTERS = 10
_MOST_LATENTS = 16  # of all facets
_ROWS_PER_DIRECTION = 60  # of a subspace; with more, clusters that are too many stay in use
_MANY_VALUES = 256
_MANY_ROWS = 1000
_MOST_WORK = 2.5e10  # steps times observations times values times width
_SHORT = 500  # steps
_WARM_UP = (0.2, 0.4)  # shares of the training
_GENTLE = 100  # steps, after which the rate has its height
_CONCENTRATION = 0.01  # of the weights' Dirichlet prior

Start = Literal["default", "data-dependent", "subspaces"]


class Choice(NamedTuple):
    """One setting that was chosen, by its dotted path or its name as an argument, and why."""

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
    choices: list[Choice]


def most_clusters(n: int) -> int:
    """K of a facet that n training rows are enough for."""
    return max(2, min(_MOST_CLUSTERS, n // _ROWS_PER_CLUSTER))


def grid_of_clusters(n: int, most_facets: int = 3) -> list[tuple[int, ...]]:
    """K of each facet, to choose among: few and many, in one to three facets.

    Args:
        n: training rows.
        most_facets: J at most.
    """
    few, some, most = (max(2, round(share * most_clusters(n))) for share in (0.3, 0.6, 1))
    sizes = [(few,), (some,), (most,), (few, few), (some, few), (some, some), (most, some)]
    sizes += [(most, most), (few, few, few), (some, some, some)]
    return [each for each in dict.fromkeys(sizes) if len(each) <= most_facets]


def auto_config(
    dataset: Dataset,
    n_clusters: Sequence[int] | None = None,
    latent_dim: Sequence[int] | None = None,
    *,
    model: Literal["mfcvae", "vade", "gmvae"] = "mfcvae",
    max_steps: int | None = None,
    batch_size: int | None = None,
    n_starts: int | None = None,
    columns: Sequence[ColumnKind] = (),
) -> Auto:
    """Settings for a data set, from its size and the kind of its observations.

    Args:
        dataset: rows, best with mean 0 and standard deviation 1 in every column, or pictures.
        n_clusters: K of each facet; None takes two facets (one where the model has one), with as
            many as there are rows for.
        latent_dim: D of each facet; None takes what suits the data, here as below.
        model: the model.
        max_steps: of the training.
        batch_size: B.
        n_starts: runs.
        columns: of a table in its own units: each gets a likelihood of its kind. Without them one
            Gaussian serves all values.
    """
    n, n_values = len(dataset.train), dataset.observation.n_values
    is_picture = dataset.observation.kind != "table"
    size = f"{n} training rows with {n_values} values each"
    choices = _Choices()
    clusters = choices.take(
        "n_clusters",
        n_clusters,
        [most_clusters(n)] * (2 if model == "mfcvae" else 1),
        f"{_ROWS_PER_CLUSTER} rows for a cluster, and at most {_MOST_CLUSTERS} clusters",
    )
    n_directions = sum(directions_of([c.kind for c in columns])) if columns else n_values
    has_subspaces = not (is_picture or model == "gmvae")
    if has_subspaces:
        most = min(n_directions, _MOST_LATENTS, n // _ROWS_PER_DIRECTION)
        dims, reason = spanned_by(clusters, most), f"K - 1, which K means span; {size}"
    else:
        dims, reason = _equal_dims(len(clusters), n, n_values), size
    latents = choices.take("latent_dim", latent_dim, dims, reason)
    has_subspaces &= sum(latents) <= min(n_directions, n - 1)
    wide = math.sqrt(n * min(n_values, _MANY_VALUES)) / 3
    width = 64 if has_subspaces else 2 ** round(math.log2(min(max(wide, 16), 128)))
    choices.add("width", width, f"of the networks' layers: {size}")
    # Bright pictures saturate tanh: no facet lives.
    activation = "elu" if is_picture or has_subspaces else "tanh"
    choices.add("activation", activation, "pictures" if is_picture else "rows")
    batch = choices.take("batch_size", batch_size, min(n, 64 if n < 2000 else 256), size)
    affordable = max(_MOST_WORK / (batch * n_values * width), 200)
    steps = round(min(10 * n, max(700 * math.sqrt(n / 1000), 1000), 3000, affordable))
    steps = choices.take("max_steps", max_steps, steps, f"steps rather than epochs: {size}")
    # In a long training it costs held-out ELBO, in a short one there is no time to find a scale.
    start: Start = "data-dependent" if steps < _SHORT else "default"
    if has_subspaces:
        start = "subspaces"
    reason = "facets that begin apart stay apart" if has_subspaces else f"{steps} steps"
    choices.add("model.initialisation", start, reason)
    is_wide = n_values > n and not is_picture  # and a fast training fits its single rows
    rate = 2e-3 if is_wide or has_subspaces else 5e-3
    choices.add("training.learning_rate", rate, size)
    facets = _facets(clusters, latents, model, start, choices)
    starts = choices.take("n_init", n_starts, 4, "facets depend on the start")
    n_epochs = max(1, round(steps / -(-n // batch)))
    likelihood = _likelihood(dataset, columns, choices)
    choices.add("training.keep_best", True, "a long training fits single rows")
    config = Config(
        preset="auto",
        data=part(dataset.name),
        model=_model(model, facets, width, activation, likelihood, start),
        guide=GuideConfig(name="posterior-analytic" if model == "gmvae" else "vade"),
        training=_training(model, any(k > 1 for k in clusters), start, batch, rate, n_epochs),
    )
    return Auto(config, starts, [*choices])


class _Choices(list[Choice]):
    """What was chosen so far."""

    def add(self, setting: str, value: Any, reason: str) -> None:
        self.append(Choice(setting, value, reason))

    def take(self, setting: str, given: Any, value: Any, reason: str) -> Any:
        """The value that was given, or the one that suits the data, and note which."""
        chosen = value if given is None else given
        self.add(setting, chosen, reason if given is None else "as given")
        return chosen


def spanned_by(n_clusters: Sequence[int], most: int) -> list[int]:
    """D of each facet: the K - 1 dimensions that K means span, or fewer, as all have so many.

    Args:
        n_clusters: K of each facet.
        most: latents of all facets, of which each has one at least.
    """
    dims = [max(k - 1, 1) for k in n_clusters]
    while sum(dims) > most and max(dims) > 1:
        dims[dims.index(max(dims))] -= 1
    return dims


def _equal_dims(n_facets: int, n: int, n_values: int) -> list[int]:
    """D of each facet of n rows with so many values."""
    each = min(round(min(n_values / 4, _MOST_LATENTS) / n_facets), n // _ROWS_PER_LATENT)
    return [max(each, 2 if n_facets == 1 else 1)] * n_facets


def _training(
    model: str,
    has_clusters: bool,
    start: Start,
    batch_size: int,
    learning_rate: float,
    n_epochs: int,
) -> TrainingConfig:
    first, last = (math.floor(share * n_epochs) for share in _WARM_UP)
    if start == "subspaces":  # with clusters in their places
        first = last = 0
    return TrainingConfig(
        batch_size=batch_size,
        learning_rate=learning_rate,
        learning_rate_schedule="cosine",
        learning_rate_warm_up=_GENTLE if start == "subspaces" else 0,
        epochs_per_step=(n_epochs,),
        kl_start=0.3 if last else 1.0,
        kl_warm_up=(first, last),
        refit_mixtures=(first, last) if has_clusters and first else (),
        min_information=0.5 if model == "gmvae" and has_clusters else 0.0,
        keep_best=True,
        n_threads=1,
    )


def _deviation(x: Observations) -> float:
    """Standard deviation of values around the mean observation, to two digits."""
    values = as_float(spread(x, _MANY_ROWS))
    return float(f"{values.std(0).square().mean().sqrt():.2g}") or 1.0


def _facets(
    clusters: Sequence[int], latents: Sequence[int], model: str, start: Start, choices: _Choices
) -> list[FacetConfig]:
    """Facets of so many clusters and latents each."""
    sizes = [*zip(clusters, latents, strict=True)]
    if model == "gmvae":  # whose networks make covariances and weights
        return [FacetConfig(n_clusters=k, latent_dim=d) for k, d in sizes]
    choices.add("covariance", "full", "of clusters with more than one latent")
    concentration = None
    if start == "subspaces":
        concentration = _CONCENTRATION
        choices.add("weight_concentration", concentration, "clusters that no rows need go")
    return [
        FacetConfig(
            n_clusters=k,
            latent_dim=d,
            covariance="full" if d > 1 else "diagonal",
            initial_variance=1.0,
            weight_concentration=concentration,
        )
        if k > 1
        else FacetConfig(n_clusters=k, latent_dim=d)
        for k, d in sizes
    ]


def _likelihood(dataset: Dataset, columns: Sequence[ColumnKind], choices: _Choices) -> Component:
    """One for each column, or a Gaussian whose scale is learnt."""
    if columns:
        for column in columns:
            choices.add(f"kind of {column.name}", column.kind, column.reason)
        return columns_likelihood(columns, dataset.observation.missing)
    scale = 1.0 if dataset.observation.kind == "table" else _deviation(dataset.x)
    reason = f"the noise's scale is learnt, from {scale:g} on"
    choices.add("model.likelihood", "gaussian", reason)
    return part("gaussian", scale=scale, learn_scale=True)


def _model(
    name: str,
    facets: list[FacetConfig],
    width: int,
    activation: str,
    likelihood: Component,
    initialisation: Start,
) -> ModelConfig:
    options: dict[str, Any] = {}
    if name == "gmvae":
        options = {"mixture_width": width} if facets[0].has_clusters else {}
        facets = [*facets, FacetConfig(n_clusters=1, latent_dim=2)]
    mixtures: Literal["gmm", "gmm-posterior"] = "gmm"
    if initialisation == "subspaces":
        if any(facet.has_clusters for facet in facets):
            mixtures = "gmm-posterior"
        encoder = decoder = part(
            "shared", widths=[width, width], activation=activation, linear=True
        )
    elif name == "mfcvae":
        encoder = part("ladder", backbone=width, activation=activation)
        decoder = part("ladder", backbone=width, rungs=width, activation=activation)
    else:
        encoder = decoder = part("shared", widths=[width, width], activation=activation)
    return ModelConfig(
        name=name,
        facets=tuple(facets),
        likelihood=likelihood,
        encoder=encoder,
        decoder=decoder,
        options=options,
        initialisation=initialisation,
        mixture_initialisation=mixtures,
    )
