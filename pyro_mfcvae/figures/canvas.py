"""How observations are drawn: one interface for pictures and for points in the plane.

A figure says what it shows; the canvas decides how that looks. Observations and pictures have the
data's own range.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = NDArray[np.floating]


@dataclass(frozen=True, eq=False)
class Group:
    """Observations (n, *event) that belong together, such as those of a cluster.

    Groups of one ``panel`` stand together, such as those of a facet.
    """

    label: str
    observations: Array
    panel: str = ""


@dataclass(frozen=True, eq=False)
class Scene:
    """Observations, and what a model makes of them.

    Attributes:
        title: above all.
        canvas: draws them.
        arrays: by name; pictures are means of p(x | z), (..., *event).
        labels: of the pictures, or of their rows.
        heads: of their columns.
        groups: of observations.
    """

    title: str
    canvas: Canvas
    arrays: Mapping[str, NDArray[Any]]
    labels: Sequence[str] = ()
    heads: Sequence[str] = ()
    groups: Sequence[Group] = ()


class Canvas(ABC):
    """Draws observations of one kind.

    Attributes:
        layout: what a caption says of where things stand, by the figure's name.
        n_reconstructed: observations that a figure of reconstructions has room for.
        n_samples: samples of a cluster that there is room for.
        shows_all_members: whether there is room for all members of a cluster.
    """

    layout: ClassVar[Mapping[str, str]]
    n_reconstructed: ClassVar[int]
    n_samples: ClassVar[int]
    shows_all_members: ClassVar[bool]

    @abstractmethod
    def draw_groups(self, groups: Sequence[Group], title: str, n_marked: int = 0) -> Figure:
        """Observations, group by group; the first n_marked of each stand out from the others."""

    @abstractmethod
    def draw_moves(
        self,
        start: Array,
        end: Array,
        labels: Sequence[str],
        title: str,
        numbers: Sequence[Sequence[int]] = (),
    ) -> Figure:
        """What becomes of P sets of n observations, (P, n, *event); the labels are of both.

        ``numbers`` are those that the observations have in the data.
        """

    @abstractmethod
    def draw_swaps(
        self, x: Array, donors: Array, swapped: Array, title: str, numbers: Sequence[Sequence[int]]
    ) -> Figure:
        """What becomes of N observations with M donors, (N, M, *event).

        ``numbers`` are those that the observations, and the donors, have in the data.
        """

    @abstractmethod
    def draw_paths(
        self,
        pictures: Array,
        labels: Sequence[str],
        heads: Sequence[str],
        title: str,
        start: Array,
        end: Array | None = None,
    ) -> Figure:
        """M steps on R ways, (R, M, *event), with labels of the ways and heads of the steps.

        ``start`` has the observation of each way, (R, *event), or that of all, (1, *event), ``end``
        those that the ways lead to.
        """

    @abstractmethod
    def draw_means(self, pictures: Array, clusters: Sequence[Sequence[str]], title: str) -> Figure:
        """Pictures (R, *event) of R clusters, or (R, C, *event) of pairs of R and C clusters.

        ``clusters`` has their names.
        """
