"""Tables: which of their columns are observations, which are labels, and why."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from pyro_mfcvae.data.arrays import IDENTIFIERS_FROM, RESERVED, Shaped
from pyro_mfcvae.data.formats import FORMATS, Column, Format, Use, check_claim, reading
from pyro_mfcvae.errors import DataError, DataWarning

_UNNAMED = "Unnamed: 0"  # as pandas calls an index that was written to a CSV


def as_frame(data: object) -> nw.DataFrame[Any] | None:
    """The data if they are a data frame of pandas, polars or the like, else None."""
    try:
        frame = nw.from_native(data, eager_only=True, pass_through=True)
        if not isinstance(frame, nw.DataFrame):
            return None
        if any(isinstance(name, tuple) for name in frame.columns):
            raise TypeError("got several levels")
        return frame.rename({name: str(name) for name in frame.columns})
    except (nw.exceptions.NarwhalsError, TypeError) as error:
        raise DataError(f"columns must have names that differ, as text ({error})") from error


def plan_columns(frame: nw.DataFrame[Any], labels: Sequence[str] | None = None) -> list[Column]:
    """What would be done with every column.

    Numbers and booleans are observations. Text cannot be: it is a label, to judge by only, unless
    the labels are given by name; text whose values are all different names the rows.
    """
    columns: list[Column] = []
    for name in frame.columns:
        column = _plan(frame[name], labels)
        if column.use == "row names" and any(other.use == "row names" for other in columns):
            column = Column(name, column.kind, "left out", column.why)
        columns.append(column)
    return columns


def _plan(column: nw.Series[Any], labels: Sequence[str] | None) -> Column:
    name, dtype = str(column.name), column.dtype
    is_number = _is_number_type(dtype)
    kind = "numbers" if is_number else "text" if _is_text(column) else str(dtype).lower()

    def used(use: Use, why: str) -> Column:
        return Column(name, kind, use, why)

    is_missing = _is_missing(column)
    n, known = len(column), column.filter(~is_missing)
    is_label = name in (labels or ())
    if name in RESERVED and (is_label or not is_number):
        return used("refused", "its name is taken; rename it")
    if is_label:
        return used("label", "as asked for")
    if not len(known):
        return used("left out", "all cells are missing")
    if name == _UNNAMED:
        return used("row names", "has no name, as an index")
    if kind not in ("numbers", "text"):
        return used("left out", "neither numbers nor text")
    n_values = known.n_unique()
    if is_number and n_values == 1 and n > 1:
        return used("left out", f"all cells are {known[0]}")
    if is_number and dtype.is_integer() and _counts(column):
        return used("row names", "counts the rows")
    if is_number:
        why = "numbers" if dtype.is_numeric() else "true is 1, false 0"
        if is_missing.any():
            row = int(is_missing.to_numpy().argmax())
            why += f", {n - len(known)} of {n} cells are missing, first in row {row}"
        return used("observations", why)
    values = known.to_list()
    if (stray := _stray_text(values)) is not None:
        row = column.to_list().index(stray)
        return used("refused", f"numbers, but {stray!r} in row {row}")
    if n_values == n >= IDENTIFIERS_FROM:
        return used("row names", "text that is different in every row")
    if labels is not None:
        return used("left out", "text, and not among the labels")
    return used("label", "text, which can only judge")


def _is_text(column: nw.Series[Any]) -> bool:
    if column.dtype == nw.Object:
        return all(isinstance(value, str | bool | int | float | None) for value in column.to_list())
    return column.dtype in (nw.String, nw.Categorical, nw.Enum)


def _is_missing(column: nw.Series[Any]) -> nw.Series[Any]:
    missing = column.is_null()
    return missing | column.is_nan() if column.dtype.is_float() else missing


def _counts(column: nw.Series[Any]) -> bool:
    """Whether it counts the rows, from 0 or 1."""
    n = len(column)
    return n > 2 and any(
        column.null_count() == 0 and (column.to_numpy() == np.arange(n) + start).all()
        for start in (0, 1)
    )


def _stray_text(values: Sequence[object]) -> object | None:
    """The first value that is no number, if most of them are."""
    stray = [value for value in values if not _is_number(value)]
    return stray[0] if 0 < len(stray) < len(values) / 2 else None


def _is_number(value: object) -> bool:
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def arrays_of_frame(
    frame: nw.DataFrame[Any], labels: Sequence[str] | None = None, what: str = "the table"
) -> dict[str, Shaped]:
    """The columns of a table as the arrays of a file: observations, labels, and names.

    Args:
        frame: the table.
        labels: names of the columns that are labels; None takes those with text.
        what: it is called in messages.

    Raises:
        DataError: if a column cannot be used, there are no numbers, or labels that there are not
            are asked for.
    """
    if unknown := set(labels or ()) - set(frame.columns):
        raise DataError(
            f"{what}: there is no column {', '.join(map(repr, sorted(unknown)))} for labels; there "
            f"are {', '.join(map(str, frame.columns))}"
        )
    columns = plan_columns(frame, labels)
    if refused := [f"{each.name!r} ({each.why})" for each in columns if each.use == "refused"]:
        raise DataError(
            f"{what}: columns cannot be observations: {', '.join(refused)}; leave these rows or "
            "columns out, fill cells in (as scikit-learn's SimpleImputer does), or name columns "
            "that are labels with --labels"
        )
    features = [each.name for each in columns if each.use == "observations"]
    if not features or not len(frame):
        hint = "; separate columns by commas" * any(";" in each.name for each in columns)
        raise DataError(f"{what}: there are no rows with numbers, only {_told(columns)}{hint}")
    if odd := [each for each in columns if each.use != "observations" and each.why[:2] != "as"]:
        warnings.warn(f"{what}: {_told(odd)}", DataWarning, stacklevel=2)
    arrays: dict[str, Shaped] = {"x": numbers_of(frame.select(features))}
    arrays |= {"feature_names": np.array(features, dtype=object)}
    arrays |= {each.name: _label(frame[each.name]) for each in columns if each.use == "label"}
    return arrays | _row_names(frame, columns)


def arrays_of_columns(
    frame: nw.DataFrame[Any], features: Sequence[str], what: str
) -> dict[str, Shaped]:
    """Columns of a table with these names as observations, and the names of the table's rows.

    They stay in the table's order. Cells may be missing, and a column may hold a single value.

    Args:
        frame: the table; its further columns are let be.
        features: names of columns that are in it.
        what: it is called in messages.

    Raises:
        DataError: if a column holds no numbers, or there are no rows.
    """
    found = [name for name in frame.columns if name in features]
    if not len(frame):
        raise DataError(f"{what}: there are no rows")
    for name in found:
        known = frame[name].filter(~_is_missing(frame[name])).to_list()
        if known and not _is_number_type(frame[name].dtype):
            stray = next((value for value in known if not _is_number(value)), known[0])
            row = frame[name].to_list().index(stray)
            raise DataError(
                f"{what}: column {name!r} must hold numbers, got {stray!r} in row {row}"
            )
    values = [frame[name].cast(nw.Float64).to_numpy() for name in found]
    arrays: dict[str, Shaped] = {"x": np.column_stack(values)}
    arrays |= {"feature_names": np.array(found, dtype=object)}
    rest = frame.drop(found)
    return arrays | _row_names(rest, plan_columns(rest))


def _row_names(frame: nw.DataFrame[Any], columns: Iterable[Column]) -> dict[str, Shaped]:
    """Those of an index that does not count, or else of a column; none without both."""
    names: Any = nw.maybe_get_index(frame)
    if names is None or list(names) == list(range(len(frame))):
        column = next((each.name for each in columns if each.use == "row names"), None)
        if column is None:
            return {}
        names = frame[column].to_list()
    return {"row_names": np.array(list(map(str, names)), dtype=object)}


def numbers_of(frame: nw.DataFrame[Any]) -> np.ndarray:
    """The columns of numbers and booleans, float64 (N, columns); missing cells are NaN."""
    columns = [frame[name] for name, dtype in frame.schema.items() if _is_number_type(dtype)]
    values = [column.cast(nw.Float64).to_numpy() for column in columns]
    return np.column_stack(values) if values else np.empty((len(frame), 0))


def _is_number_type(dtype: nw.dtypes.DType) -> bool:
    return dtype.is_numeric() or dtype == nw.Boolean


def _label(column: nw.Series[Any]) -> np.ndarray:
    if not column.dtype.is_numeric():
        return np.array(column.to_list(), dtype=object)
    return (column.cast(nw.Float64) if column.null_count() else column).to_numpy()


def _told(columns: Iterable[Column]) -> str:
    return ", ".join(f"{each.name!r} is {each.use} ({each.why})" for each in columns)


def read_csv(path: Path) -> nw.DataFrame[Any]:
    """A table whose first line has the names of its columns.

    Raises:
        DataError: if it cannot be read, or pandas is not installed.
    """
    with reading(path, "CSV"):
        return nw.from_native(_read_csv(path), eager_only=True)


def _read_csv(path: Path, separator: str = ",") -> Any:
    table = _imported("pandas", path).read_csv(path, sep=separator, encoding="utf-8-sig")
    if all(map(_is_number, table.columns)):
        raise DataError(f"{path}: its first line must have the names of the columns, not numbers")
    return table


def _read_parquet(path: Path) -> Any:
    pandas, parquet = (_imported(name, path) for name in ("pandas", "pyarrow.parquet"))
    claims = parquet.ParquetFile(path).metadata
    check_claim("table", 8 * claims.num_rows * claims.num_columns, path.stat().st_size, path)
    return pandas.read_parquet(path)


def _imported(module: str, path: Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise DataError(
            f'{path}: tables need {module}; install it with\n    pip install "pyro_mfcvae[tables]"'
        ) from error


def _table(name: str, suffixes: tuple[str, ...], holds: str, read: Callable[[Path], Any]) -> Format:
    def frame(path: Path) -> nw.DataFrame[Any]:
        with reading(path, name):
            return nw.from_native(read(path), eager_only=True)

    def arrays(path: Path, labels: Sequence[str] | None = None) -> Mapping[str, Shaped]:
        return arrays_of_frame(frame(path), labels, str(path))

    def columns(path: Path, labels: Sequence[str] | None) -> list[Column]:
        return plan_columns(frame(path), labels)

    return Format(name, suffixes, holds, arrays, columns=columns, frame=frame)


FORMATS.add(
    _table("CSV", (".csv",), "a table with names of columns, separated by commas", _read_csv),
    _table(
        "TSV",
        (".tsv",),
        "a table with names of columns, separated by tabs",
        partial(_read_csv, separator="\t"),
    ),
    _table("Parquet", (".parquet",), "a table with names of columns", _read_parquet),
)
