"""What each layer of a ladder holds, on a run's held-out observations: arrays and figures."""

from __future__ import annotations

import numpy as np

from pyro_mfcvae import evaluation, figures
from pyro_mfcvae.drawing.held_out import HeldOut
from pyro_mfcvae.drawing.intervention import Choice, Intervention, part_of
from pyro_mfcvae.evaluation.predictions import check_facet


def resample(
    seen: HeldOut,
    inputs: Choice = None,
    n: int = 6,
    n_samples: int = 5,
    temperature: float | None = None,
    seed: int = 0,
) -> Intervention:
    """Some observations with each facet in turn drawn from its prior, the others unchanged.

    Args:
        seen: model and observations.
        inputs: observations; None spreads at most n of them evenly.
        n: inputs at most.
        n_samples: draws of each facet.
        temperature: tau; None takes that of the run.
        seed: of the draws.

    Raises:
        ValueError: if an observation does not exist, there is nothing to draw, or the temperature
            is out of range.
    """
    rows = seen.choose(inputs, n)
    temperature = seen.temperature if temperature is None else temperature
    pictures = evaluation.resample_facets(seen.model, seen.take(rows), n_samples, temperature, seed)
    x = seen.observed(rows)
    titles = [f"facet {j}, K = {prior.n_clusters}" for j, prior in enumerate(seen.model.facets)]
    figure = figures.resampled_facets(
        seen.drawable(x),
        seen.drawable(pictures),
        [f"input {i}" for i in rows],
        titles,
        f"one facet drawn from its prior{seen.others('unchanged')}, temperature {temperature:g}",
    )
    return Intervention({"pictures": pictures, "x": x, "indices": rows}, figure)


def components(
    seen: HeldOut,
    facet: int,
    clusters: Choice = None,
    n_clusters: int | None = 25,
    n_samples: int = 8,
    temperature: float | None = None,
    seed: int = 0,
) -> Intervention:
    """Pictures drawn from clusters of a facet, with one draw of the other facets for all of them.

    Args:
        seen: model and observations.
        facet: j.
        clusters: of the facet; None takes the most used ones.
        n_clusters: how many of these at most; None takes all that have members.
        n_samples: pictures of each cluster.
        temperature: tau; None takes that of the run.
        seed: of the draws.

    Raises:
        ValueError: if the facet or a cluster does not exist, there is nothing to draw, or the
            temperature is out of range.
    """
    check_facet(seen.model, facet)
    temperature = seen.temperature if temperature is None else temperature
    used = seen.most_used(facet)
    chosen = used[:n_clusters] if clusters is None else list(clusters)
    pictures = evaluation.sample_components(seen.model, facet, chosen, n_samples, temperature, seed)
    which = (
        part_of(len(chosen), len(used), "clusters in use", "most used")
        if clusters is None
        else f"{len(chosen)} clusters"
    )
    others = seen.others("at one draw from their priors")
    title = f"facet {facet}: samples of {which}{others}, temperature {temperature:g}"
    figure = figures.component_columns(seen.drawable(pictures), chosen, title)
    return Intervention({"pictures": pictures, "clusters": np.array(chosen)}, figure)
