"""Files of tables: text with separators, and Parquet."""

from __future__ import annotations

import csv
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import narwhals as nw
from pydantic import Field

from pyro_mfcvae.data.arrays import IDENTIFIERS_FROM, Shaped
from pyro_mfcvae.data.categories import Categories
from pyro_mfcvae.data.formats import FORMATS, Format, check_claim, reading
from pyro_mfcvae.data.frames import (
    arrays_of_columns,
    arrays_of_frame,
    is_number,
    names_column,
    plan_columns,
)
from pyro_mfcvae.errors import DataError

Separator = Annotated[str, Field(min_length=1, max_length=1)]
Decimal = Literal[".", ","]

Frames = Callable[..., Iterator[Any]]  # (path, whole) -> data frames of pandas

_NO_TABLES = ("version https://git-lfs", "<!doctype html", "<html")
_SEPARATORS = (",", ";", "\t")
_SAMPLE = 2**16  # letters that tell a separator
_BUFFER = 2**20  # bytes of a column that are read ahead
_CELLS = 2**19  # of a piece
_WITH_COMMA = re.compile(r"[+-]?\d+,\d+(e[+-]?\d+)?", re.IGNORECASE)
_WITH_POINT = re.compile(r"[+-]?\d*\.\d+(e[+-]?\d+)?", re.IGNORECASE)
_SURE = re.compile(r"[+-]?(0,\d+|\d+,(\d{1,2}|\d{4,}))(e[+-]?\d+)?", re.IGNORECASE)


def read_csv(path: Path) -> nw.DataFrame[Any]:
    """A table whose first line has the names of its columns.

    Raises:
        DataError: if it cannot be read, or pandas is not installed.
    """
    return _whole(_text_frames, "CSV", path)


def find_separator(text: str, usual: str = ",") -> str:
    """What separates the columns of a table, if its lines leave no doubt.

    Args:
        text: whole lines, from the first on.
        usual: what separates columns in such files.

    Raises:
        ValueError: if no separator, or more than one, splits all lines into equally many parts.
    """
    counts = {s: [len(row) for row in _split(text, s)] for s in _SEPARATORS}
    even = [s for s, found in counts.items() if found and found[0] > 1 and len(set(found)) == 1]
    if len(even) == 1:
        return even[0]
    some = even or [s for s, found in counts.items() if max(found, default=1) > 1]
    if even or (some and counts[usual][0] == 1):
        how = "more than one of which fits" if even else "none of which splits all lines alike"
        raise ValueError(
            f"columns seem to be separated by {' or '.join(map(repr, some))}, {how}; say which "
            "with the option separator, such as --set 'data.options.separator=\";\"'"
        )
    return usual


def find_decimal(text: str, separator: str) -> Decimal:
    """Which sign numbers have before their fraction, if the lines leave no doubt.

    Args:
        text: whole lines, the first of which has the names of the columns.
        separator: of columns.

    Raises:
        ValueError: if some numbers have commas and some points, or all commas may be of thousands.
    """
    cells = [cell.strip() for row in _split(text, separator)[1:] for cell in row]
    commas = [cell for cell in cells if _WITH_COMMA.fullmatch(cell)]
    if not commas or separator == ",":
        return "."
    if any(map(_SURE.fullmatch, commas)) and not any(map(_WITH_POINT.fullmatch, cells)):
        return ","
    raise ValueError(
        f"numbers such as {commas[0]!r} may have a decimal comma, or none; say which sign stands "
        "before fractions with the option decimal, such as --set 'data.options.decimal=\",\"'"
    )


def _split(text: str, separator: str) -> list[list[str]]:
    return [row for row in csv.reader(text.split("\n"), delimiter=separator) if row]


def _text_frames(
    path: Path,
    whole: bool,
    usual: str = ",",
    separator: str | None = None,
    decimal: Decimal | None = None,
    categories: Iterable[str] = (),
) -> Iterator[Any]:
    pandas = _imported("pandas", path)
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        text = file.read(_SAMPLE)
        if file.read(1):
            text = text.rpartition("\n")[0] or text
    if text.lstrip().lower().startswith(_NO_TABLES):
        raise ValueError("it is none")
    separator = separator or find_separator(text, usual)
    decimal = decimal or find_decimal(text, separator)
    as_text = dict.fromkeys(categories, str)  # 01 is not 1
    options = {"sep": separator, "decimal": decimal, "encoding": "utf-8-sig", "dtype": as_text}
    names = pandas.read_csv(path, nrows=0, **options).columns
    if all(is_number(str(name).replace(decimal, ".")) for name in names):
        raise DataError(f"{path}: its first line must have the names of the columns, not numbers")
    if whole:
        yield pandas.read_csv(path, **options)
    else:
        with pandas.read_csv(path, chunksize=_rows_of(len(names)), **options) as pieces:
            yield from pieces


def _parquet_frames(path: Path, whole: bool, categories: Iterable[str] = ()) -> Iterator[Any]:
    pandas, parquet = (_imported(name, path) for name in ("pandas", "pyarrow.parquet"))
    with parquet.ParquetFile(path, buffer_size=_BUFFER, pre_buffer=False) as file:
        claims = file.metadata
        check_claim("table", 8 * claims.num_rows * claims.num_columns, path.stat().st_size, path)
        if whole:
            yield pandas.read_parquet(path)
            return
        table = _imported("pyarrow", path).Table
        for batch in file.iter_batches(_rows_of(claims.num_columns)):
            yield table.from_batches([batch]).to_pandas()


def _rows_of(n_columns: int) -> int:
    """Rows of a piece: enough to tell identifiers."""
    return max(_CELLS // max(n_columns, 1), IDENTIFIERS_FROM)


def _imported(module: str, path: Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f'{path}: tables need {module}; install it with\n    pip install "pyro_mfcvae[tables]"'
        ) from error


def _whole(frames: Frames, name: str, path: Path, **written: Any) -> nw.DataFrame[Any]:
    with reading(path, name):
        return nw.from_native(next(frames(path, whole=True, **written)), eager_only=True)


def _pieces(
    frames: Frames,
    name: str,
    path: Path,
    features: Sequence[str],
    categories: Categories | None = None,
    **written: Any,
) -> Iterator[Mapping[str, Shaped]]:
    n_rows, named_by = 0, None
    with reading(path, name):
        for native in frames(path, whole=False, categories=categories or (), **written):
            frame = nw.from_native(native, eager_only=True)
            if not n_rows:
                rest = [column for column in frame.columns if column not in features]
                named_by = names_column(plan_columns(frame.select(rest)))
            yield arrays_of_columns(frame, features, str(path), n_rows, named_by, categories or {})
            n_rows += len(frame)


def _text(name: str, suffix: str, what: str, usual: str) -> Format:
    frames = partial(_text_frames, usual=usual)

    def read(
        path: Path,
        labels: Sequence[str] | None = None,
        separator: str | None = None,
        decimal: Decimal | None = None,
        categories: Sequence[str] = (),
    ) -> Mapping[str, Shaped]:
        written = {"separator": separator, "decimal": decimal, "categories": categories}
        return arrays_of_frame(_whole(frames, name, path, **written), labels, str(path), categories)

    return Format(
        name,
        (suffix,),
        f"a table with names of columns, separated by {what}",
        read,
        frame=partial(_whole, frames, name),
        pieces=partial(_pieces, frames, name),
    )


def _read_parquet(
    path: Path, labels: Sequence[str] | None = None, categories: Sequence[str] = ()
) -> Mapping[str, Shaped]:
    frame = _whole(_parquet_frames, "Parquet", path)
    return arrays_of_frame(frame, labels, str(path), categories)


FORMATS.add(
    _text("CSV", ".csv", "commas or semicolons", ","),
    _text("TSV", ".tsv", "tabs", "\t"),
    Format(
        "Parquet",
        (".parquet",),
        "a table with names of columns",
        _read_parquet,
        frame=partial(_whole, _parquet_frames, "Parquet"),
        pieces=partial(_pieces, _parquet_frames, "Parquet"),
    ),
)
