"""What a figure is, and the registry that run folders, reports and help texts read.

A figure is one class in one file: whether it fits, what it computes, how that is drawn, and what is
said of it. ``register_figure`` makes it known everywhere.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import combinations
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, TypeVar

from typing_extensions import override

from pyro_mfcvae.figures.canvas import Scene
from pyro_mfcvae.naming import Names

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from pyro_mfcvae.figures.seen import Recorded, Seen

Facets = tuple[int, ...]
Per = Literal["run", "facet", "clustered facet", "pair of clustered facets"]
Result = TypeVar("Result")


class RunFigure(ABC, Generic[Result]):
    """A kind of figure.

    Attributes:
        name: of its files; set by :func:`register_figure`.
        heading: a few words.
        shows: what it shows, as its caption says it; a sentence without capital and full stop.
        per: of what each run has one: of the whole run, of each facet, of each facet with clusters,
            of each pair of these. Without any it is drawn by a command or a page only.
        reads: what it is made from: the model and its held-out observations, what was written down
            of a run (``metrics``, ``results``, ``comparison``), or log points of several ``runs``.
        section: of the report's page, for figures that are not of one facet: ``together``,
            ``training``, ``guides`` or ``further``.
        place: on the page, from the top.
        old_names: of its files in older runs.
    """

    name: str = ""
    heading: str
    shows: str
    per: ClassVar[tuple[Per, ...]] = ("run",)
    reads: ClassVar[Literal["model", "metrics", "results", "comparison", "runs"]] = "model"
    section: ClassVar[str] = "together"
    place: ClassVar[int] = 100
    old_names: ClassVar[tuple[str, ...]] = ()

    def fits(self, seen: Any, *args: Any, **kwargs: Any) -> str | None:
        """Why it is left out, or None where it can be drawn."""
        return None

    @abstractmethod
    def compute(self, seen: Any, *facets: Any, **options: Any) -> Result:
        """What is drawn, of the model and its observations.

        Raises:
            ValueError: if a facet, a cluster or an observation does not exist, or an option is out
                of range.
        """

    @abstractmethod
    def draw(self, result: Result) -> Figure:
        """The figure, which needs no model."""

    def details(self, seen: Any, *args: Any, **kwargs: Any) -> Iterable[str]:
        """Sentences that the caption adds for the model at hand; empty ones are left out."""
        return ()

    def note(self, seen: Any, *facets: int) -> str:
        """What a reader should know of the facets, wherever they are shown."""
        return ""

    def caption(self, facets: Facets, details: str = "", facet_names: Names | None = None) -> str:
        """What a figure of these facets shows."""
        *others, last = [(facet_names or {}).get(j, str(j)) for j in facets] or [""]
        about = f"facets {', '.join(others)} and {last}: " if others else f"facet {last}: "
        text = f"{about if facets else ''}{self.shows}."
        return f"{text[0].upper()}{text[1:]} {details}".rstrip()


class SceneFigure(RunFigure[Scene]):
    """A figure of observations, which a canvas draws.

    Attributes:
        of_groups: what its caption adds where the observations of a batch share a latent.
    """

    of_groups: ClassVar[str] = ""

    def details(self, seen: Seen, *facets: int) -> Iterable[str]:
        """Where things stand, remarks, and what counts as a batch."""
        yield seen.canvas.layout.get(self.name, "")
        yield self.note(seen, *facets)

    @override
    def note(self, seen: Seen, *facets: int) -> str:
        said = [*self.remarks(seen, *facets), self.of_groups * seen.has_groups]
        return " ".join(filter(None, said))

    def remarks(self, seen: Seen, *args: Any, **kwargs: Any) -> Iterable[str]:
        """Sentences on what the facets have to do with each other."""
        return ()


_EXPANSIONS: dict[str, Callable[[Any], Iterable[Facets]]] = {
    "run": lambda seen: [()],
    "facet": lambda seen: [(j,) for j in range(seen.model.n_facets)],
    "clustered facet": lambda seen: [(j,) for j in seen.clustered],
    "pair of clustered facets": lambda seen: combinations(seen.clustered, 2),
}

_FIGURES: dict[str, RunFigure[Any]] = {}


def register_figure(name: str) -> Callable[[type[RunFigure[Any]]], type[RunFigure[Any]]]:
    """Class decorator: make a figure known by the name that its files have."""

    def register(kind: type[RunFigure[Any]]) -> type[RunFigure[Any]]:
        _FIGURES[name] = kind()
        _FIGURES[name].name = name
        return kind

    return register


def all_figures() -> list[RunFigure[Any]]:
    """The registered figures, in the order of a page."""
    return sorted(_FIGURES.values(), key=lambda figure: figure.place)


def get_figure(name: str) -> RunFigure[Any]:
    """The figure that is registered by this name.

    Raises:
        KeyError: if there is none.
    """
    return _FIGURES[name]


def draw_figure(name: str, seen: Any, *facets: int, **options: Any) -> Figure:
    """Compute a figure of what it reads, of some facets and with options, and draw it."""
    figure = get_figure(name)
    return figure.draw(figure.compute(seen, *facets, **options))


def expand_figures(recorded: Recorded) -> list[tuple[RunFigure[Any], Facets]]:
    """Every figure that a run may have, each with its facets, of what is given of the run."""
    return [
        (figure, facets)
        for figure in all_figures()
        if getattr(recorded, figure.reads, None) is not None
        for per in figure.per
        for facets in _EXPANSIONS[per](recorded)
    ]


def file_name(name: str, facets: Sequence[int]) -> str:
    """``clusters`` of facet 1 -> ``clusters-facet-1``."""
    numbers = "-".join(map(str, facets))
    return f"{name}-facet{'s' * (len(facets) > 1)}-{numbers}" if facets else name


def find_figure(file: str, n_facets: int) -> tuple[RunFigure[Any], Facets]:
    """The figure that a file has, and its facets: undoes ``file_name``.

    A file of no registered name is a figure of its own kind, which belongs to its facets all the
    same; facets from J on are none.

    Args:
        file: its name without the ending.
        n_facets: J.
    """
    match = re.fullmatch(r"(.+)-facets?((?:-\d+)+)", file)
    facets = tuple(int(number) for number in match[2].split("-")[1:]) if match else ()
    name = match[1] if match else file
    if match is None or max(facets) >= n_facets:
        name, facets = file, ()
    for figure in _FIGURES.values():
        if name in (figure.name, *figure.old_names):
            return figure, facets
    return Unknown(name, file), facets


class Unknown(RunFigure[None]):
    """A figure that somebody put into the folder of a run."""

    section = "further"
    place = 1000

    def __init__(self, name: str, file: str) -> None:
        self.name = name
        self.heading = re.sub(r"[_-]+", " ", name).strip().capitalize() or "Figure"
        self.shows = f"a figure that was found in the run's folder, called {file}"

    def compute(self, seen: Any, *facets: Any, **options: Any) -> None:
        """Nothing: the file is all there is."""

    def draw(self, result: None) -> Figure:
        """Not possible."""
        raise NotImplementedError(f"{self.name} is known as a file only")
