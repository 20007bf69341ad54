"""What batches share: pictures along it, and batches as points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from pyro_mfcvae.figures.grids import Array, Panel, picture_panels
from pyro_mfcvae.figures.latents import class_colors
from pyro_mfcvae.figures.names import readable

IntArray = NDArray[np.int64]

_MARKERS = "os^vDPX*<>"


def shared_and_own_grids(
    grids: Sequence[Array],
    names: Sequence[str],
    rows: Sequence[float],
    columns: Sequence[float],
    title: str = "",
) -> Figure:
    """Grids of pictures side by side: the shared latent in rows, the own one in columns.

    Source: UG-VAE, Figures 3 and 4.

    Args:
        grids: pictures (R, C, *event) each.
        names: above the grids.
        rows: R offsets of the shared latent.
        columns: C offsets of the own one.
        title: above all.

    Raises:
        ValueError: if a grid has other numbers of rows and columns.
    """
    for grid in grids:
        if grid.shape[:2] != (len(rows), len(columns)):
            raise ValueError(
                f"expected pictures ({len(rows)}, {len(columns)}, ...) for the offsets, got shape "
                f"{grid.shape}"
            )
    heads = [_offset(value) for value in columns]
    panels = [
        Panel(
            list(map(list, grid)),
            [_offset(v) for v in rows] if i == 0 else [""] * len(rows),
            heads,
            title=name,
        )
        for i, (grid, name) in enumerate(zip(grids, names, strict=True))
    ]
    return picture_panels(panels, title)


def between_groups_grid(
    pictures: Array, ends: tuple[Array, Array], names: tuple[str, str], title: str = ""
) -> Figure:
    """From one group's shared latent to another's in rows, from one picture to another in columns.

    Source: UG-VAE, Figures 5 and 6.

    Args:
        pictures: (R, M, *event); a single row where nothing is shared.
        ends: the two observations (*event), which stand at both sides.
        names: of the groups.
        title: above all.
    """
    n_rows, n_steps = pictures.shape[:2]
    shares = [f"{100 * i / max(n_steps - 1, 1):.0f} %" for i in range(n_steps)]
    rows = [[None, *row, None] for row in pictures]
    rows[0][0], rows[-1][-1] = ends
    labels = [""] * n_rows
    if n_rows > 1:
        labels = [f"shared {100 * i / (n_rows - 1):.0f} %" for i in range(n_rows)]
        labels[0], labels[-1] = (f"shared by {readable(name)}" for name in names)
    return picture_panels([Panel(rows, labels, ["from", *shares, "to"])], title)


def group_points(
    points: Array,
    classes: IntArray,
    names: Sequence[str],
    title: str = "",
    paths: Sequence[tuple[str, Array]] = (),
) -> Figure:
    """Groups as points in the plane, one colour and marker for each kind.

    Source: UG-VAE, Figures 5b and 7.

    Args:
        points: of the groups, (G, 2).
        classes: kind of each group, counted from 0, (G,).
        names: of the kinds; the one called random is drawn in grey, below the others.
        title: above the plot.
        paths: names and points (M, 2) of lines through the plane.
    """
    figure = Figure(figsize=(6.5, 5.2), layout="constrained")
    axes = figure.subplots()
    colors = iter(class_colors(max(len(names) - ("random" in names), 1)))
    for k, name in enumerate(names):
        is_random = name == "random"
        axes.scatter(
            *points[classes == k].T,
            s=60 if is_random else 22,
            label=readable(name),
            color="0.75" if is_random else next(colors),
            marker="." if is_random else _MARKERS[k % len(_MARKERS)],
            lw=0,
            alpha=0.8,
            zorder=1 if is_random else 2,
        )
    for i, (name, path) in enumerate(paths):
        axes.plot(
            *path.T,
            "-D",
            color=("black", "saddlebrown")[i % 2],
            ms=3,
            lw=1,
            zorder=3,
            label=readable(name, 40),
        )
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_xlabel("t-SNE 1", fontsize=8)
    axes.set_ylabel("t-SNE 2", fontsize=8)
    figure.legend(loc="outside right center", fontsize=8, frameon=False)
    figure.suptitle(title, fontsize=9, x=0.01, ha="left", wrap=True)
    return figure


def _offset(value: float) -> str:
    return "0" if abs(value) < 1e-6 else f"{value:+.2g}"
