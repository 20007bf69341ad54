"""One HTML page on a fitted estimator: facets, clusters and what sets them apart, figures."""

from __future__ import annotations

from typing import Any

from pyro_mfcvae.config import config_to_json
from pyro_mfcvae.data import spread
from pyro_mfcvae.data.observations import Observations
from pyro_mfcvae.estimators.base import FacetEstimator
from pyro_mfcvae.estimators.frames import cluster_rows, cross_counts, facet_rows, rows_table
from pyro_mfcvae.figures import Seen
from pyro_mfcvae.figures.registry import expand_figures
from pyro_mfcvae.report.page import Section, render
from pyro_mfcvae.report.pictures import Picture, make_picture
from pyro_mfcvae.tables import Table, make_table

_DRAWN = 2000  # rows, at most


def page_of(estimator: FacetEstimator, x: Observations) -> str:
    """The page.

    Args:
        estimator: a fitted one.
        x: observations that figures are made from, (N, *event).
    """
    pictures = _pictures(estimator, spread(x, _DRAWN))
    names = estimator.facet_names_
    sections = [
        Section(
            f"facet-{j}",
            name if name == f"facet_{j}" else f"{name} (facet {j})",
            (_clusters(estimator, j),),
            tuple(picture for picture in pictures if picture.facets == (j,)),
        )
        for j, name in enumerate(names)
    ]
    pairs = [(i, j) for j in range(len(names)) for i in range(j)]
    sections.append(
        Section(
            "together",
            "All facets together",
            tuple(_crossed(estimator, i, j) for i, j in pairs),
            tuple(p for p in pictures if len(p.facets) > 1 or p.kind.section == "together"),
        )
    )
    curves = tuple(p for p in pictures if not p.facets and p.kind.section == "training")
    sections.append(Section("training", "Training", (), curves))
    return render(
        "estimator.html",
        title=type(estimator).__name__,
        subtitle=f"{len(estimator.labels_)} rows, {estimator.n_features_in_} features",
        notes=estimator.health_,
        overview=rows_table("Facets, among all rows", "facet", facet_rows(estimator)),
        sections=[s for s in sections if s.tables or s.pictures],
        settings=make_table(
            "Settings from the data",
            ("setting", "value", "reason"),
            [(c.setting, str(c.value), c.reason) for c in estimator.choices_],
            is_text=True,
        ),
        config=config_to_json(estimator.config_),
    )


def _pictures(estimator: FacetEstimator, x: Any) -> list[Picture]:
    seen = Seen(
        estimator.model_,
        estimator.config_.sampling_temperature,
        x,
        {},
        {},
        list(map(str, estimator.column_names)),
        {str(name): texts for name, texts in estimator.categories_.items()},
        name=type(estimator).__name__,
        cluster_names=estimator.cluster_names_,
        facet_names={j: n for j, n in enumerate(estimator.facet_names_) if n != f"facet_{j}"},
        metrics=estimator.history_,
    )
    return [
        make_picture(
            kind,
            kind.draw(kind.compute(seen, *facets)),
            facets,
            " ".join(filter(None, kind.details(seen, *facets))),
        )
        for kind, facets in expand_figures(seen)
        if kind.fits(seen, *facets) is None
    ]


def _clusters(estimator: FacetEstimator, j: int) -> Table:
    caption = f"Clusters of {estimator.facet_names_[j]}, among all rows"
    return rows_table(caption, "cluster", cluster_rows(estimator, j))


def _crossed(estimator: FacetEstimator, i: int, j: int) -> Table:
    rows, columns, counts = cross_counts(estimator, i, j)
    first, second = estimator.facet_names_[i], estimator.facet_names_[j]
    return make_table(
        f"Rows in pairs of clusters: {first} down, {second} across",
        ("", *map(str, columns)),
        [(str(name), *map(str, row)) for name, row in zip(rows, counts, strict=True)],
    )
