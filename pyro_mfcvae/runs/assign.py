"""Clusters of observations by a trained run, a piece after the other: there may be millions."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from pyro_mfcvae.config import Component
from pyro_mfcvae.data.files import AS_WRITTEN
from pyro_mfcvae.data.formats import find_format
from pyro_mfcvae.data.frames import is_number
from pyro_mfcvae.data.rows import Rows, read_rows
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.evaluation.predictions import BATCH_SIZE, check_range, find_group, predict_batch
from pyro_mfcvae.files import making, naming, replacing
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.naming import Names, facet_column, named_clusters
from pyro_mfcvae.registry import unknown
from pyro_mfcvae.runs.measure import open_model
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.tables import one_line
from pyro_mfcvae.training.say import Say, quiet

Values = Sequence[Any] | NDArray[Any]
Piece = Mapping[str, Any]  # {name of a column: (n,)}
Write = Callable[[Piece], None]

_VALUES = 2**17  # in a piece
_MOST_ROWS = 10_000  # in a piece
_FORMULAS = ("=", "+", "-", "@")


@dataclass(frozen=True, eq=False)
class Assigned:
    """What became of observations.

    Attributes:
        n_rows: how many there were.
        sizes: {facet j: rows in each of its clusters (K_j,)}, of facets with clusters.
        sure: {facet j: mean probability of the rows' clusters}.
        names: {facet j: names of its clusters}.
        facet_names: names of facets.
    """

    n_rows: int
    sizes: dict[int, NDArray[np.int64]]
    sure: dict[int, float]
    names: dict[int, Names]
    facet_names: Names


def rows_for(run: Run, data: Component, say: Say = quiet) -> Rows:
    """Observations for a run's model, from a file, a folder or a data set.

    They are read as those of the training: pictures of a folder in their size, say.

    Args:
        run: the run.
        data: settings of the data set.
        say: is told how columns were brought in order.

    Raises:
        ConfigError, DataError: if these are none that the model takes.
    """
    if "path" in data.options:
        takes = find_format(Path(data.options["path"])).options
        trained = {n: v for n, v in run.config.data.options.items() if n in AS_WRITTEN}
        kept = {name: value for name, value in trained.items() if name in takes}
        data = replace(data, options={**kept, **data.options})
    event, names = run.checkpoint().observation.shape, run.feature_names()
    return read_rows(data, event, names, run.categories(), say)


def assign(
    run: Run, rows: Rows, out: Path | BinaryIO, suffix: str = "", copy_to: Path | None = None
) -> Assigned:
    """Write a row for each observation: its name or number, its cluster in each facet, how sure.

    Columns are ``row``, ``facet_0``, ``facet_0_p`` and so on; facets without clusters are left out.
    Facets that have names, and clusters of a facet in which one has a name, are called by them. In
    a CSV, an apostrophe stands before names that spreadsheets would take for formulas.

    Args:
        run: whose newest checkpoint is taken.
        rows: the observations.
        out: a file, which is replaced, or an open one.
        suffix: ``.csv``, ``.jsonl`` or ``.parquet``; the file's by default.
        copy_to: a new folder, for pictures that come from a folder. They are copied to
            ``facet_0/cluster_3/FILE`` in it.

    Raises:
        ConfigError: if no such file is written, the model has no clusters, or files would be
            replaced that are not results.
        DataError: if values are missing, or far from those of the training.
    """
    suffix = suffix or (out.suffix.lower() if isinstance(out, Path) else ".csv")
    if suffix not in WRITERS:
        raise unknown("suffix of results", suffix, WRITERS)
    source = Path(rows.source)
    if isinstance(out, Path) and out.exists() and source.exists() and out.samefile(source):
        raise ConfigError(f"{out} holds the observations; write the results to another file")
    model, _ = open_model(run)
    if not model.structure.clustered:
        raise ConfigError(f"the facets of {run.path} have no clusters to assign rows to")
    if copy_to is not None:
        _check_new(copy_to, source)
    batches = (x for x, _ in rows.pieces(BATCH_SIZE))
    check_range(model, batches, rows.source, run.feature_names())
    sizes = {
        j: np.zeros(model.structure.facets[j].n_clusters, np.int64)
        for j in model.structure.clustered
    }
    sure, n_rows, named = dict.fromkeys(sizes, 0.0), 0, run.cluster_names()
    titles = run.facet_names()
    with (
        nullcontext() if copy_to is None else making(copy_to) as copies,
        replacing(out) if isinstance(out, Path) else nullcontext(out) as file,
        WRITERS[suffix](file) as write,
    ):
        for piece, names in _pieces(model, rows):
            columns = {"row": piece["row"]}
            for j in sizes:
                title = facet_column(titles, j)
                columns[title] = named_clusters(piece[f"facet_{j}"], named[j])
                columns[f"{title}_p"] = piece[f"facet_{j}_p"]
            write(columns)
            n_rows += len(piece["row"])
            for j in sizes:
                clusters = piece[f"facet_{j}"]
                sizes[j] += np.bincount(clusters, minlength=len(sizes[j]))
                sure[j] += float(np.sum(piece[f"facet_{j}_p"]))
                if copies is not None:
                    _copy(source, copies / f"facet_{j}", names, clusters)
    means = {j: total / n_rows for j, total in sure.items()}
    return Assigned(n_rows, sizes, means, {j: named[j] for j in sizes}, titles)


def _pieces(model: FacetModel, rows: Rows) -> Iterator[tuple[Piece, Sequence[str]]]:
    """Results of some rows, and the names of these."""
    n_values = model.observation.n_values
    batch_size = min(max(_VALUES // n_values, BATCH_SIZE), _MOST_ROWS)
    group = find_group(model, (x for x, _ in rows.pieces(batch_size)))
    start = 0
    for x, names in rows.pieces(batch_size):
        found = predict_batch(model, x, group)
        stop = start + len(x)
        piece: dict[str, Any] = {"row": list(map(one_line, names)) or range(start, stop)}
        for j in model.structure.clustered:
            piece[f"facet_{j}"] = found.clusters[j]
            piece[f"facet_{j}_p"] = found.responsibilities[j].max(1).astype(np.float64).round(6)
        yield piece, names
        start = stop


def _check_new(copy_to: Path, source: Path) -> None:
    if not source.is_dir():
        raise ConfigError(f"only pictures of a folder can be copied, and {source} is no folder")
    if copy_to.exists():
        raise ConfigError(f"{copy_to} exists already; choose a new folder for the copies")
    if copy_to.resolve().is_relative_to(source.resolve()):
        raise ConfigError(f"{copy_to} lies in the folder of the pictures; choose one outside")
    copy_to.parent.mkdir(parents=True, exist_ok=True)


def _copy(source: Path, folder: Path, names: Sequence[str], clusters: Values) -> None:
    for name, cluster in zip(names, clusters, strict=True):
        target = folder / f"cluster_{cluster}" / name
        with naming(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with (source / name).open("rb") as old, target.open("xb") as new:
                shutil.copyfileobj(old, new)


@contextmanager
def _csv(file: BinaryIO) -> Iterator[Write]:
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    n_pieces = 0

    def write(piece: Piece) -> None:
        nonlocal n_pieces
        if not n_pieces:
            writer.writerow(map(_no_formula, piece))
        n_pieces += 1
        columns = (map(_no_formula, _plain(values)) for values in piece.values())
        writer.writerows(zip(*columns, strict=True))

    try:
        yield write
    finally:
        text.detach()


def _no_formula(name: Any) -> Any:
    """A name with an apostrophe where spreadsheets would take it for a formula."""
    is_formula = isinstance(name, str) and name.lstrip().startswith(_FORMULAS)
    return f"'{name}" if is_formula and not is_number(name) else name


@contextmanager
def _jsonl(file: BinaryIO) -> Iterator[Write]:
    def write(piece: Piece) -> None:
        for row in zip(*map(_plain, piece.values()), strict=True):
            file.write(json.dumps(dict(zip(piece, row, strict=True))).encode() + b"\n")

    yield write


@contextmanager
def _parquet(file: BinaryIO) -> Iterator[Write]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError as error:
        raise ConfigError(
            'Parquet needs pyarrow; install it with\n    pip install "pyro_mfcvae[tables]"'
        ) from error
    writer = None
    try:

        def write(piece: Piece) -> None:
            nonlocal writer
            table = pyarrow.table({name: _plain(values) for name, values in piece.items()})
            writer = writer or ParquetWriter(file, table.schema)
            writer.write_table(table)

        yield write
    finally:
        if writer is not None:
            writer.close()


def _plain(values: Values) -> Sequence[Any]:
    return values.tolist() if isinstance(values, np.ndarray) else values


WRITERS: dict[str, Callable[[BinaryIO], AbstractContextManager[Write]]] = {
    ".csv": _csv,
    ".jsonl": _jsonl,
    ".parquet": _parquet,
}
"""How rows are written, by the suffix of their file."""
