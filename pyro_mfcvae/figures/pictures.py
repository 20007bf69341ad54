"""Observations as pictures in rows and columns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from matplotlib.figure import Figure
from typing_extensions import override

from pyro_mfcvae.figures.canvas import Array, Canvas, Group
from pyro_mfcvae.figures.grids import Limit, Panel, draw_panels, split_panel

_N_ROWS = 40  # of groups, before the next ones stand beside them
_N_COLUMNS = 12  # of observations and what becomes of them


@dataclass(frozen=True)
class Pictures(Canvas):
    """The canvas of pictures, and of rows of a table, with values from ``low`` to ``high``.

    Of rows these may be of each column, (D,), whose names are ``columns``.

    Groups and ways have rows; what becomes of observations stands below them, means in a grid about
    twice as wide as high.
    """

    low: Limit = 0.0
    high: Limit = 1.0
    columns: Sequence[str] = ()

    layout: ClassVar[dict[str, str]] = {
        "clusters": "Each cluster has a row.",
        "samples": "Each cluster has a row.",
        "swaps": "The inputs stand in the left column, the donors in the top row.",
    }
    n_reconstructed = 24
    n_samples = 10
    shows_all_members = False

    def draw_panels(self, panels: Sequence[Panel], title: str) -> Figure:
        """Panels side by side."""
        return draw_panels(panels, title, self.low, self.high, self.columns)

    @override
    def draw_groups(self, groups: Sequence[Group], title: str, n_marked: int = 0) -> Figure:
        panels: list[Panel] = []
        for name, members in groupby(groups, key=lambda group: group.panel):
            rows = list(members)
            labels = [group.label for group in rows]
            panel = Panel([list(group.observations) for group in rows], labels, title=name)
            panels += split_panel(panel, _N_ROWS)
        return self.draw_panels(panels, title)

    @override
    def draw_moves(
        self,
        start: Array,
        end: Array,
        labels: Sequence[str],
        title: str,
        numbers: Sequence[Sequence[int]] = (),
    ) -> Figure:
        n_sets, n = start.shape[:2]
        parts = [each.reshape(n_sets * n, *each.shape[2:]) for each in (start, end)]
        starts = range(0, n_sets * n, _N_COLUMNS)
        rows = [list(part[i : i + _N_COLUMNS]) for i in starts for part in parts]
        together = (2, n) if n_sets > 1 else (0, 0)
        names = [str(i) for numbered in numbers for i in numbered]
        captions = [part for i in starts for part in (names[i : i + _N_COLUMNS], [])]
        panel = Panel(
            rows, [*labels] * len(starts), captions=captions if names else (), together=together
        )
        return self.draw_panels([panel], title)

    @override
    def draw_swaps(
        self, x: Array, donors: Array, swapped: Array, title: str, numbers: Sequence[Sequence[int]]
    ) -> Figure:
        rows = [[None, *donors], *([row, *end] for row, end in zip(x, swapped, strict=True))]
        labels = ["donors", *(f"input {i}" for i in numbers[0])]
        return self.draw_panels([Panel(rows, labels, ["", *map(str, numbers[1])])], title)

    @override
    def draw_paths(
        self,
        pictures: Array,
        labels: Sequence[str],
        heads: Sequence[str],
        title: str,
        start: Array,
        end: Array | None = None,
    ) -> Figure:
        sides = ["input"] if end is None else ["from", "to"]
        firsts = [*start, *[None] * (len(pictures) - len(start))]
        rows = [[first, *row] for first, row in zip(firsts, pictures, strict=True)]
        if end is not None:
            rows = [[*row, last] for row, last in zip(rows, end, strict=True)]
        return self.draw_panels([Panel(rows, labels, [sides[0], *heads, *sides[1:]])], title)

    @override
    def draw_means(self, pictures: Array, clusters: Sequence[Sequence[str]], title: str) -> Figure:
        if len(clusters) > 1:
            return self.draw_panels(
                [Panel([list(row) for row in pictures], clusters[0], clusters[1])], title
            )
        n = math.ceil(math.sqrt(2 * len(pictures)))
        starts = range(0, len(pictures), n)
        rows = [list(pictures[i : i + n]) for i in starts]
        captions = [clusters[0][i : i + n] for i in starts]
        return self.draw_panels([Panel(rows, [""] * len(rows), captions=captions)], title)
