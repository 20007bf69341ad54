"""The figures of a run: what its model says of held-out data, drawn into the run's folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.data import Dataset, as_float
from pyro_mfcvae.evaluation import Predictions
from pyro_mfcvae.measuring import Trained, open_trained, spread_out
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.runs import Run

if TYPE_CHECKING:
    from pathlib import Path

    from matplotlib.figure import Figure

Named = Iterator[tuple[str, "Figure"]]

_N_DRAWN = 15  # clusters in a figure of pictures
_N_FACTORS = 8  # factors in a figure
_N_SWAPPED, _N_DONORS = 8, 10  # rows and columns of swaps


def draw_run(run: Run, dataset: Dataset | None = None) -> list[Path]:
    """Draw a run's figures into its folder ``figures``.

    Args:
        run: the run.
        dataset: its data; None loads them again.

    Returns:
        the files: reconstructions, mixture weights, training curves, and of every facet cluster
        examples, samples, swaps with other observations, the latent space and, where there are
        labels, clusters against classes; guides side by side where they were compared.
    """
    seen = _look(open_trained(run, dataset), run.config.sampling_temperature)
    return _save(
        run,
        chain(
            _pictures(seen),
            _swaps(seen),
            _mixtures(seen),
            _agreement(seen),
            _curves(run),
            _guides(run),
        ),
    )


def draw_comparison(run: Run) -> list[Path]:
    """Draw a run's latest comparison of guides into its folder ``figures``.

    Returns:
        the file; none where guides were not compared.
    """
    return _save(run, _guides(run))


def _save(run: Run, drawn: Named) -> list[Path]:
    run.figures.mkdir(exist_ok=True)
    paths = []
    for name, figure in drawn:
        paths.append(run.figures / f"{name}.png")
        figure.savefig(paths[-1], dpi=130)
    return paths


@dataclass(frozen=True, eq=False)
class _HeldOut:
    """A model, and what it says of the held-out observations.

    Attributes:
        model: the model.
        fade: weights of its facets, (J,).
        temperature: of samples.
        x: observations (N, *event).
        labels: classes by factor, (N,) each.
        class_names: by factor, of all classes in the data.
        predictions: of the model.
    """

    model: FacetModel
    fade: tuple[float, ...]
    temperature: float
    x: Tensor
    labels: dict[str, NDArray[np.int64]]
    class_names: dict[str, tuple[str, ...]]
    predictions: Predictions

    def drawable(self, values: np.ndarray) -> np.ndarray:
        """Observations or their means with the data's range brought to [0, 1]."""
        observation = self.model.observation
        return (values - observation.low) / ((observation.high - observation.low) or 1.0)


def _look(trained: Trained, temperature: float) -> _HeldOut:
    model, dataset = trained.model, trained.dataset
    x, labels = dataset.split("test")
    names = {
        factor: dataset.class_names.get(factor) or tuple(map(str, range(int(values.max()) + 1)))
        for factor, values in dataset.labels.items()
    }
    return _HeldOut(
        model=model,
        fade=trained.fade,
        temperature=temperature,
        x=x,
        labels={factor: values.cpu().numpy() for factor, values in labels.items()},
        class_names=names,
        predictions=evaluation.predict(model, x, fade=trained.fade),
    )


def _pictures(seen: _HeldOut) -> Named:
    """Reconstructions; typical members and samples of each facet's clusters."""
    shown = seen.drawable(as_float(seen.x).cpu().numpy())
    inputs = spread_out(seen.x, 24)
    means = evaluation.reconstruct(seen.model, inputs, seen.fade)
    yield "reconstructions", figures.reconstructions(
        seen.drawable(as_float(inputs).cpu().numpy()), seen.drawable(means),
        title="held-out observations and their reconstructions",
    )  # fmt: skip
    for j, responsibilities in enumerate(seen.predictions.responsibilities):
        which = _which(responsibilities)
        yield f"clusters-facet-{j}", figures.cluster_examples(
            shown, responsibilities, n_clusters=_N_DRAWN,
            title=f"facet {j}: typical held-out observations of {which}",
        )  # fmt: skip
        clusters = figures.cluster_order(responsibilities)[:_N_DRAWN]
        samples = evaluation.sample_clusters(
            seen.model, j, clusters, n_samples=10, temperature=seen.temperature, fade=seen.fade
        )
        yield f"samples-facet-{j}", figures.cluster_samples(
            seen.drawable(samples), clusters,
            title=f"facet {j}: samples of {which}, other facets from priors",
        )  # fmt: skip


def _swaps(seen: _HeldOut) -> Named:
    """Observations with one facet taken from typical members of that facet's clusters."""
    if seen.model.n_facets == 1:
        return
    inputs = spread_out(seen.x, _N_SWAPPED)
    for j, responsibilities in enumerate(seen.predictions.responsibilities):
        clusters = figures.cluster_order(responsibilities)[:_N_DONORS]
        donors = torch.tensor([figures.cluster_members(responsibilities, k)[0] for k in clusters])
        given = seen.x[donors.to(seen.x.device)]
        swapped = evaluation.swap_facets(seen.model, inputs, given, j, seen.fade)
        yield f"swaps-facet-{j}", figures.swaps(
            seen.drawable(as_float(inputs).cpu().numpy()),
            seen.drawable(as_float(given).cpu().numpy()), seen.drawable(swapped),
            title=f"facet {j} from the observations above, all else from those on the left",
        )  # fmt: skip


@torch.no_grad()
def _mixtures(seen: _HeldOut) -> Named:
    """The use that is made of the mixtures' components, and where they lie."""
    clusters = seen.predictions.clusters
    yield "weights", figures.mixture_weights(
        clusters, [prior.log_weights.exp().cpu().numpy() for prior in seen.model.facets],
        title="mixture components: share of the held-out observations, and weight",
    )  # fmt: skip
    for j, prior in enumerate(seen.model.facets):
        covariances = prior.scale_tril @ prior.scale_tril.mT
        projection = evaluation.project(
            seen.predictions.z_mean[j], prior.loc.cpu().numpy(), covariances.cpu().numpy()
        )
        factor = next(iter(_factors(seen, j)), None)
        labels = {} if factor is None else {
            "labels": seen.labels[factor], "factor": factor,
            "class_names": seen.class_names[factor],
        }  # fmt: skip
        yield f"latents-facet-{j}", figures.latent_space(
            projection, clusters[j], **labels,
            title=f"facet {j}: held-out observations at the mean of q(z | x)\n"
            "+ and line around it: mean and one standard deviation of a component",
        )  # fmt: skip


def _agreement(seen: _HeldOut) -> Named:
    """Clusters against classes, by facet."""
    for j, clusters in enumerate(seen.predictions.clusters):
        factors = _factors(seen, j)[:_N_FACTORS]
        if factors:
            yield f"confusion-facet-{j}", figures.confusion(
                {factor: seen.labels[factor] for factor in seen.labels if factor in factors},
                clusters, seen.class_names,
                title=f"facet {j}: classes of the held-out observations in each cluster",
            )  # fmt: skip


def _curves(run: Run) -> Named:
    records = run.metrics()
    if any(record["split"] == "train" for record in records):
        yield "curves", figures.training_curves(records, title=run.path.name)


def _guides(run: Run) -> Named:
    """Guides side by side; the title names the step, as the run may have gone on since."""
    results = run.comparison()
    if results is not None:
        title = (
            f"guides under the same noise after step {results['step']}: "
            f"{results['n_observations']} held-out observations, {results['n_draws']} draws"
        )
        yield "guides", figures.guide_comparison(results, title)


def _factors(seen: _HeldOut, j: int) -> list[str]:
    """All factors, those first that agree best with the clusters of facet j."""
    clusters = seen.predictions.clusters[j]
    agreement = {
        factor: evaluation.normalized_mutual_information(classes, clusters)
        for factor, classes in seen.labels.items()
    }
    return sorted(agreement, key=lambda factor: -agreement[factor])


def _which(responsibilities: np.ndarray) -> str:
    """Which of a facet's clusters a figure shows, in words."""
    n_used = len(np.unique(responsibilities.argmax(1)))
    if n_used == 1:
        return "the only cluster in use"
    if n_used <= _N_DRAWN:
        return f"all {n_used} clusters in use"
    return f"the {_N_DRAWN} surest of {n_used} clusters in use"
