"""A run's figures: what each shows, in words, and the figure as a data URI."""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, UnidentifiedImageError, features

from pyro_mfcvae.drawing.details import kind_and_facets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_DPI = 130  # of figures, which pages show at 96
_SYNONYMS = {"traversals": "traversal", "interpolations": "interpolation"}

# What figures are called -> heading, and what they show. Their order is that on the page.
KINDS = {
    "clusters": (
        "Typical members",
        "held-out observations of each cluster, the surest clusters first; p is the mean "
        "probability of a cluster's members, n their number",
    ),
    "samples": (
        "Samples",
        "what the model draws from each cluster of this facet, all else drawn from the priors",
    ),
    "swaps": (
        "Swaps",
        "observations, the inputs, redrawn with this facet taken from others, the donors",
    ),
    "means": ("Cluster means", "what the model draws at the means of clusters"),
    "traversal": ("Traversals", "an observation redrawn while one latent dimension moves"),
    "interpolation": (
        "Interpolation",
        "what the model draws on the way from one observation to another",
    ),
    "confusion": (
        "Clusters against classes",
        "which classes the held-out observations of each cluster have",
    ),
    "agreement": ("Agreement with factors", "how facets and labelled factors agree"),
    "latents": (
        "Latent space",
        "held-out observations at the mean of q(z | x), and the prior over them",
    ),
    "reconstructions": ("Reconstructions", "held-out observations and their reconstructions"),
    "weights": (
        "Mixture weights",
        "share of the held-out observations that each component takes, beside its probability p(c)",
    ),
    "curves": ("Training curves", "the ELBO, its terms and the fade weights over the training"),
    "elbo-of-runs": (
        "ELBO over epochs",
        "the ELBO of each run while it trained, and dashed that of held-out observations",
    ),
    "accuracy-of-runs": (
        "Accuracy over epochs",
        "majority accuracy of each run on held-out observations while it trained, by factor; each "
        "facet has a line style of its own",
    ),
    "guides": (
        "Guides",
        "gap of the ELBO, variance of the gradient and time over the number of samples, by guide",
    ),
}


@dataclass(frozen=True)
class Picture:
    """A figure that can stand in a page.

    Attributes:
        name: of its file, without the ending.
        kind: its name without facets.
        facets: that it is about; empty for all or none.
        details: what its file adds to that, in sentences.
        source: data URI.
        width: in pixels of the page.
        height: in pixels of the page.
    """

    name: str
    kind: str
    facets: tuple[int, ...]
    details: str
    source: str
    width: int
    height: int

    @property
    def heading(self) -> str:
        """A few words."""
        if self.kind in KINDS:
            return KINDS[self.kind][0]
        return re.sub(r"[_-]+", " ", self.kind).strip().capitalize() or "Figure"

    @property
    def caption(self) -> str:
        """What it shows."""
        known = f"a figure that was found in the run's folder, called {self.name}"
        text = f"{_about(self.facets)}{KINDS[self.kind][1] if self.kind in KINDS else known}."
        return f"{text[0].upper()}{text[1:]} {self.details}".rstrip()

    def alternative(self, run: str, finding: str = "") -> str:
        """What a person who cannot see it is told.

        Args:
            run: the run's name.
            finding: what is known of its facet, in a sentence.
        """
        return f"{run}, {self.heading.lower()}. {self.caption} {finding}".rstrip()


def read_pictures(folder: Path, n_facets: int) -> tuple[tuple[Picture, ...], list[str]]:
    """All figures in a folder, in the order of a page, and names of those that cannot be read.

    Args:
        folder: with ``.png`` files; need not exist.
        n_facets: J; a figure of facets beyond it counts as one of no known kind.
    """
    pictures, damaged = [], []
    for path in sorted(folder.glob("*.png")):
        kind, facets = kind_and_facets(path.stem, n_facets)
        try:
            with Image.open(path) as image:
                details = str(image.info.get("Description", ""))
                source, size = _embedded(image)
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
            damaged.append(path.name)
            continue
        kind = _SYNONYMS.get(kind, kind)
        pictures.append(Picture(path.stem, kind, facets, details, source, *size))
    order = list(KINDS)
    pictures.sort(key=lambda p: (order.index(p.kind) if p.kind in KINDS else len(order), p.facets))
    return tuple(pictures), damaged


def drawn_picture(name: str, figure: Figure) -> Picture:
    """A figure that was drawn for the page itself."""
    file = BytesIO()
    figure.savefig(file, dpi=_DPI, format="png")
    with Image.open(file) as image:
        source, size = _embedded(image)
    return Picture(name, name, (), "", source, *size)


def _embedded(image: Image.Image) -> tuple[str, tuple[int, int]]:
    """A data URI on a white ground, without loss, and width and height in pixels of the page."""
    picture = Image.new("RGBA", image.size, "white")
    picture.alpha_composite(image.convert("RGBA"))
    kind = "webp" if features.check("webp") else "png"
    options = {"lossless": True, "method": 4} if kind == "webp" else {"optimize": True}
    file = BytesIO()
    picture.convert("RGB").save(file, kind, **options)
    source = f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"
    width, height = (round(pixels * 96 / _DPI) for pixels in image.size)
    return source, (max(width, 1), max(height, 1))


def _about(facets: tuple[int, ...]) -> str:
    if not facets:
        return ""
    if len(facets) == 1:
        return f"Facet {facets[0]}: "
    return f"Facets {', '.join(map(str, facets[:-1]))} and {facets[-1]}: "
