"""What a fitted estimator shows of its facets: tables, figures, a page, a notebook's cell."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sklearn.utils import estimator_html_repr
from sklearn.utils.validation import check_is_fitted

from pyro_mfcvae.data.categories import largest_of_columns
from pyro_mfcvae.estimators import frames
from pyro_mfcvae.estimators.base import FacetEstimator
from pyro_mfcvae.estimators.notebook import in_notebooks
from pyro_mfcvae.evaluation import cluster_means

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MOST_DRAWN = 30  # columns
_LETTERS = 8  # of a cluster's name


class ShowsClusters(FacetEstimator):
    """The part of the estimators that is to be looked at."""

    def facet_info(self) -> Any:
        """A row for each facet, in a pandas data frame.

        Its clusters, those in ``use``, how ``sure`` rows are of theirs, how ``stable`` the facet is
        over starts, its largest NMI with another one (``redundant``), and what it is ``about``: the
        columns of whose variance its clusters tell most, with the share.
        """
        check_is_fitted(self)
        return frames.frame_of_rows(frames.facet_rows(self))

    def cluster_info(self, j: int = 0) -> Any:
        """A row for each cluster of facet j with rows, the largest first, in a pandas data frame.

        Its size, share, how sure its rows are of it, the rows next to its middle, and what sets it
        apart: the largest differences of its mean from that of all rows, in standard deviations.
        ``facts_[j].differences`` has all of them.
        """
        self.check_facet(j)
        return frames.frame_of_rows(frames.cluster_rows(self, j))

    def crosstab(self, i: int, j: int) -> Any:
        """How many rows each pair of clusters of facets i and j has, in a pandas data frame."""
        self.check_facet(i)
        self.check_facet(j)
        rows, columns, counts = frames.cross_counts(self, i, j)
        table = frames.make_frame(dict(zip(columns, counts.T, strict=True)), index=rows)
        table.index.name, table.columns.name = self.facet_names_[i], self.facet_names_[j]
        return table

    def plot_pairs(self, i: int, j: int) -> Figure:
        """What the model draws at the means of pairs of clusters of facets i and j.

        Returns:
            a matplotlib figure. Of pictures, rows are clusters of facet i, columns those of facet
            j. Of rows, each pair has a column, and each column of X a line; beyond 30 those of
            whose variance the facets tell most.
        """
        from pyro_mfcvae.figures.column_means import draw_column_means
        from pyro_mfcvae.figures.names import cluster_labels
        from pyro_mfcvae.figures.pictures import Pictures

        self.check_facet(i)
        self.check_facet(j)
        chosen = [np.flatnonzero(self.facts_[f].sizes).tolist() for f in (i, j)]
        pictures = cluster_means(self.model_, (i, j), chosen)
        clusters = [
            cluster_labels(self.cluster_names_[f], k, _LETTERS)
            for f, k in zip((i, j), chosen, strict=True)
        ]
        seen = self.model_.observation
        if seen.kind == "table":
            told = np.maximum(self.facts_[i].told, self.facts_[j].told)
            told = largest_of_columns(told, self.column_names, self.categories_)
            drawn = np.sort(np.argsort(-told)[:_MOST_DRAWN])
            columns = [str(self.column_names[column]) for column in drawn]
            names = [self.facet_names_[f] for f in (i, j)]
            means = self.units_.values(pictures)[..., drawn]
            texts = {str(name): own for name, own in self.categories_.items()}
            return in_notebooks(draw_column_means(means, columns, clusters, names, texts))
        title = f"rows: {self.facet_names_[i]}; columns: {self.facet_names_[j]}"
        return in_notebooks(Pictures(seen.low, seen.high).draw_means(pictures, clusters, title))

    def report(self, path: str | Path, X: Any = None) -> Path:
        """Write one HTML page: facets, clusters, what sets them apart, figures and settings.

        Args:
            path: of the file. An earlier report is replaced, another file is not.
            X: rows or pictures that figures are made from; None takes those that the training held
                out, which a loaded estimator has not.

        Returns:
            the file.

        Raises:
            ValueError: if there are no rows, or the file's place is taken or missing.
        """
        from pyro_mfcvae.estimators.page import page_of
        from pyro_mfcvae.report.page import save_page

        check_is_fitted(self)
        x = getattr(self, "_held_out", None) if X is None else self.observations(X)
        if x is None:
            raise ValueError("a loaded estimator has no rows to draw; give them: report(path, X)")
        return save_page(Path(path), lambda: page_of(self, x))

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        html = estimator_html_repr(self)
        if not hasattr(self, "model_"):
            return html
        return html + frames.as_html(frames.facet_rows(self), self.health_)

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        return {"text/plain": repr(self), "text/html": self._repr_html_()}
