"""A run's figures as they stand in a page: caption, and the picture as a data URI."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from PIL import Image, features

from pyro_mfcvae.figures import RunFigure, find_figure
from pyro_mfcvae.figures.png import DPI, as_png
from pyro_mfcvae.files import open_regular
from pyro_mfcvae.naming import Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """A figure that can stand in a page.

    Attributes:
        name: of its file, without the ending.
        kind: what it is.
        facets: that it is about; empty for all or none.
        details: what its file adds to the caption, in sentences.
        source: data URI.
        width: in pixels of the page.
        height: in pixels of the page.
        facet_names: that a person gave.
    """

    name: str
    kind: RunFigure[Any]
    facets: tuple[int, ...]
    details: str
    source: str
    width: int
    height: int
    facet_names: Names = field(default_factory=dict)

    @property
    def caption(self) -> str:
        """What it shows."""
        return self.kind.caption(self.facets, self.details, self.facet_names)

    def alternative(self, run: str, finding: str = "") -> str:
        """What a person who cannot see it is told.

        Args:
            run: the run's name.
            finding: what is known of its facet, in a sentence.
        """
        return f"{run}, {self.kind.heading.lower()}. {self.caption} {finding}".rstrip()


def read_pictures(
    folder: Path, n_facets: int, facet_names: Names | None = None
) -> tuple[tuple[Picture, ...], list[str]]:
    """All figures in a folder, in the order of a page, and names of those that cannot be read.

    Args:
        folder: with ``.png`` files; need not exist.
        n_facets: J; a figure of facets beyond it counts as one of no known kind.
        facet_names: that a person gave.
    """
    pictures, damaged = [], []
    for path in sorted(folder.glob("*.png")):
        kind, facets = find_figure(path.stem, n_facets)
        try:
            with open_regular(path) as file, Image.open(file) as image:
                details = str(image.info.get("Description", ""))
                source, size = _embed(image)
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError):
            damaged.append(path.name)
            continue
        pictures.append(Picture(path.stem, kind, facets, details, source, *size, facet_names or {}))
    pictures.sort(key=lambda picture: (picture.kind.place, picture.facets))
    return tuple(pictures), damaged


def make_picture(
    kind: RunFigure[Any], figure: Figure, facets: tuple[int, ...] = (), details: str = ""
) -> Picture:
    """A figure that is drawn for the page itself; arguments as of :class:`Picture`."""
    with Image.open(BytesIO(as_png(figure))) as image:
        source, size = _embed(image)
    return Picture(kind.name, kind, facets, details, source, *size)


def _embed(image: Image.Image) -> tuple[str, tuple[int, int]]:
    """A data URI on a white ground, without loss, and width and height in pixels of the page."""
    picture = Image.new("RGBA", image.size, "white")
    picture.alpha_composite(image.convert("RGBA"))
    kind = "webp" if features.check("webp") else "png"
    options = {"lossless": True, "method": 4} if kind == "webp" else {"optimize": True}
    file = BytesIO()
    picture.convert("RGB").save(file, kind, **options)
    source = f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
    width, height = (round(pixels * 96 / DPI) for pixels in image.size)
    return source, (max(width, 1), max(height, 1))
