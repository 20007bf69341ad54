"""Observations without a split: new rows or pictures, for a model that was trained on others."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pyro_mfcvae.config import Component
from pyro_mfcvae.data.arrays import Shaped, names_from_arrays
from pyro_mfcvae.data.files import observations_in, options_of
from pyro_mfcvae.data.formats import find_format
from pyro_mfcvae.data.frames import arrays_of_columns
from pyro_mfcvae.data.observations import Dataset, Observations
from pyro_mfcvae.data.registry import load_dataset
from pyro_mfcvae.errors import DataError


@dataclass(frozen=True, eq=False)
class Rows:
    """Observations in the order of their file.

    Attributes:
        source: the file, or the name of the data, for messages.
        x: observations (N, *event), in memory or in their file.
        names: of the observations (N,); empty where they have none.
    """

    source: str
    x: Observations
    names: Sequence[str] = ()

    @classmethod
    def of(cls, dataset: Dataset) -> Rows:
        """All rows of a data set."""
        return cls(dataset.name, dataset.x, dataset.row_names)


def read_rows(
    settings: Component,
    event: tuple[int, ...],
    feature_names: Sequence[str] = (),
    say: Callable[[str], None] = lambda _: None,
) -> Rows:
    """New observations for a model, one or many. Labels are not read.

    Columns that have names are found by them, in any order. Files of a format that allows it are
    streamed.

    Args:
        settings: of the data set.
        event: shape of an observation that the model takes.
        feature_names: of the columns that the model was trained on; empty where they had none.
        say: is told how columns were brought in order.

    Raises:
        ConfigError: if the data set or an option is unknown.
        DataError: if the data cannot be read, or have other columns or another shape.
    """
    names: Sequence[str]
    if "path" not in settings.options:
        dataset = load_dataset(settings)
        rows, names = Rows.of(dataset), dataset.feature_names
    else:
        rows, names = _read_file(settings, feature_names)
    x = rows.x
    if feature_names and names and tuple(names) != tuple(feature_names):
        _check_names(names, feature_names, rows.source)
        say(f"{rows.source}: columns are found by their names, not by their order")
        places = {name: i for i, name in enumerate(names)}
        x = x[:][:, [places[name] for name in feature_names]]  # streamed ones are read, too
    if len(event) == 3 and x.shape[1:] == (1, *event[1:]):
        x = x[:].expand(-1, *event)  # grey among coloured ones
    if x.shape[1:] != event:
        what = "columns" if len(event) == 1 else "values"
        raise DataError(
            f"{rows.source}: the run's model takes observations of {event} {what}, got "
            f"{tuple(x.shape[1:])}; give the columns or pictures of the training"
        )
    return Rows(rows.source, x, rows.names)


def _read_file(settings: Component, feature_names: Sequence[str]) -> tuple[Rows, Sequence[str]]:
    """The rows of a file or folder, and the names of its columns."""
    path = str(settings.options["path"])
    place = Path(path).expanduser()
    known = find_format(place)
    arrays: Mapping[str, Shaped]
    if known.frame is not None and feature_names:
        frame = known.frame(place)
        _check_names(frame.columns, feature_names, path)
        arrays = arrays_of_columns(frame, feature_names, path)
    else:
        given = {name: settings.options.get(name) for name in ("size", "skip_broken")}
        arrays = known.read(place, **options_of(known, path, **given))
    x = observations_in(known, arrays, path, "stream")
    names: Sequence[str] = ()
    if len(x.shape) == 2:
        names = names_from_arrays(arrays, "feature_names", x.shape[1], path)
    return Rows(path, x, names_from_arrays(arrays, "row_names", len(x), path)), names


def _check_names(names: Sequence[str], wanted: Sequence[str], source: str) -> None:
    if lacking := [name for name in wanted if name not in names]:
        raise DataError(
            f"{source}: there is no column {', '.join(map(repr, lacking))}, only "
            f"{', '.join(map(repr, names))}; rename columns as in the training"
        )
