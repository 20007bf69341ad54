"""Observations without a split: new rows or pictures, for a model that was trained on others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from pyro_mfcvae.config import Component
from pyro_mfcvae.data.arrays import Shaped, names_from_arrays
from pyro_mfcvae.data.categories import Categories
from pyro_mfcvae.data.files import AS_WRITTEN, observations_in, options_of
from pyro_mfcvae.data.formats import find_format
from pyro_mfcvae.data.frames import check_columns
from pyro_mfcvae.data.observations import Dataset, Observations
from pyro_mfcvae.data.registry import load_dataset
from pyro_mfcvae.errors import DataError

Named = tuple[Observations, Sequence[str]]  # observations (n, *event) and their names, (n,) or none

_KEPT = 2**24  # bytes of observations that are not read again


@dataclass(frozen=True, eq=False)
class Rows:
    """Observations in the order of their file, which may be read again and again.

    Attributes:
        source: the file, or the name of the data, for messages.
        read: reads them from the first on, some at a time.
    """

    source: str
    read: Callable[[], Iterable[Named]]

    @classmethod
    def of(cls, dataset: Dataset) -> Rows:
        """All rows of a data set."""
        return cls(dataset.name, lambda: [(dataset.x, dataset.row_names)])

    def pieces(self, n: int) -> Iterator[tuple[Tensor, Sequence[str]]]:
        """At most n observations (n, *event) at a time, and their names (n,), if they have some."""
        for x, names in self.read():
            start = 0
            for part in x.split(n):
                yield part, names[start : start + len(part)]
                start += len(part)


def read_rows(
    settings: Component,
    event: tuple[int, ...],
    feature_names: Sequence[str] = (),
    categories: Categories | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Rows:
    """New observations for a model, one or many. Labels are not read.

    Columns that have names are found by them, in any order. Where there are many observations they
    stay in their file, if its format allows it.

    Args:
        settings: of the data set.
        event: shape of an observation that the model takes.
        feature_names: of the columns that the model was trained on; empty where they had none.
        categories: of some of these columns.
        say: is told how columns were brought in order.

    Raises:
        ConfigError: if the data set or an option is unknown.
        DataError: if the data cannot be read, or have other columns or another shape. Of what is
            read later, reading raises it.
    """
    if "path" in settings.options:
        source = str(settings.options["path"])
        found = _find_pieces(settings, feature_names, categories or {})
    else:
        dataset = load_dataset(settings)
        source, blocks = dataset.name, [(dataset.x, dataset.row_names, dataset.feature_names)]
        found = lambda: blocks  # noqa: E731
    say_once = cache(say)

    def read() -> Iterator[Named]:
        for x, row_names, names in found():
            if feature_names and names and tuple(names) != tuple(feature_names):
                say_once(f"{source}: columns are found by their names, not by their order")
            yield _fitted(x, names, event, feature_names, source), row_names

    kept: list[Named] = []
    n_bytes = 0
    for x, names in read():
        n_bytes += x.nbytes if isinstance(x, Tensor) else 0
        if kept and n_bytes > _KEPT:
            return Rows(source, read)
        kept.append((x, names))
    if not kept:
        raise DataError(f"{source}: there are no rows")
    return Rows(source, lambda: kept)


def _find_pieces(
    settings: Component, feature_names: Sequence[str], categories: Categories
) -> Callable[[], Iterable[tuple[Observations, Sequence[str], Sequence[str]]]]:
    """What reads a file or folder: observations, their names, and those of their columns."""
    path = str(settings.options["path"])
    place = Path(path).expanduser()
    known = find_format(place)
    given = {name: settings.options.get(name) for name in AS_WRITTEN}
    given["categories"] = categories if "categories" in known.options else None
    options = options_of(known, path, **given)

    def named(arrays: Mapping[str, Shaped]) -> tuple[Observations, Sequence[str], Sequence[str]]:
        x = observations_in(known, arrays, path, "stream")
        names: Sequence[str] = ()
        if len(x.shape) == 2:
            names = names_from_arrays(arrays, "feature_names", x.shape[1], path)
        return x, names_from_arrays(arrays, "row_names", len(x), path), names

    pieces = known.pieces
    if pieces is None or (known.frame is not None and not feature_names):
        whole = [named(known.read(place, **options))]
        return lambda: whole
    return lambda: map(named, pieces(place, feature_names, **options))


def _fitted(
    x: Observations,
    names: Sequence[str],
    event: tuple[int, ...],
    feature_names: Sequence[str],
    source: str,
) -> Observations:
    """Observations with the columns, their order and the channels that the model takes."""
    if feature_names and names and tuple(names) != tuple(feature_names):
        check_columns(names, feature_names, source)
        places = {name: i for i, name in enumerate(names)}
        x = x[:][:, [places[name] for name in feature_names]]  # streamed ones are read, too
    if len(event) == 3 and x.shape[1:] == (1, *event[1:]):
        x = x[:].expand(-1, *event)  # grey among coloured ones
    if x.shape[1:] != event:
        what = "columns" if len(event) == 1 else "values"
        raise DataError(
            f"{source}: the run's model takes observations of {event} {what}, got "
            f"{tuple(x.shape[1:])}; give the columns or pictures of the training"
        )
    return x
