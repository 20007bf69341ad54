"""Tables: which of their columns are observations, which are labels, and why."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import narwhals as nw
import numpy as np

from pyro_mfcvae.data.arrays import IDENTIFIERS_FROM, RESERVED, Shaped
from pyro_mfcvae.data.categories import Categories, categories_of, codes_of, doubt_of, texts_of
from pyro_mfcvae.data.formats import Column, Use
from pyro_mfcvae.errors import ColumnsWarning, DataError, did_you_mean, listed, shown

_DONE: dict[Use, str] = {
    "observations": "is trained on",
    "label": "is a label",
    "row names": "names the rows",
    "left out": "is left out",
    "refused": "is refused",
}
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


def plan_columns(
    frame: nw.DataFrame[Any],
    labels: Sequence[str] | None = None,
    categories: Sequence[str] | None = None,
) -> list[Column]:
    """What would be done with every column.

    Numbers and booleans are observations, and so is text that is named as categories. Other text is
    a label, to judge by only, unless the labels are given by name; text whose values are all
    different names the rows.
    """
    columns: list[Column] = []
    for name in frame.columns:
        column = _plan(frame[name], labels, name in (categories or ()))
        if column.use == "row names" and any(other.use == "row names" for other in columns):
            column = Column(name, column.kind, "left out", column.why)
        columns.append(column)
    return columns


def _plan(column: nw.Series[Any], labels: Sequence[str] | None, is_category: bool) -> Column:
    name, dtype = str(column.name), column.dtype
    is_number = _is_number_type(dtype)
    kind = "numbers" if is_number else "text" if _is_text(column) else str(dtype).lower()

    def used(use: Use, why: str) -> Column:
        return Column(name, kind, use, why)

    is_missing = _is_missing(column)
    n, known = len(column), column.filter(~is_missing)
    is_label = name in (labels or ())
    if name in RESERVED and (is_label or not (is_number or is_category)):
        return used("refused", "its name is taken; rename it")
    if is_label:
        return used("label", "as asked for")
    if not len(known):
        return used("left out", "all cells are missing")
    if is_category:
        return used(*_plan_category(column, _gaps(column, is_missing)))
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
        return used("observations", why + _gaps(column, is_missing))
    values = known.to_list()
    if (stray := _stray_text(values)) is not None:
        row = column.to_list().index(stray)
        return used("refused", f"numbers, but {stray!r} in row {row}")
    if n_values == n >= IDENTIFIERS_FROM:
        return used("row names", "text that is different in every row")
    if labels is not None:
        return used("left out", "text, and among neither labels nor categories")
    if all(map(_is_date, values)):
        return used("left out", "dates")
    return used("label", "text, which judges; --categories trains on it")


def _plan_category(column: nw.Series[Any], gaps: str) -> tuple[Use, str]:
    try:
        texts = texts_of(column, "categories")
    except DataError as error:
        return "refused", str(error)
    found = categories_of(texts)
    if len(found) == 1:
        return "left out", f"all cells are {shown(found[0])}"
    if doubt := doubt_of(texts):
        return "refused", doubt
    return "observations", f"{len(found)} categories{gaps}"


def _gaps(column: nw.Series[Any], is_missing: nw.Series[Any]) -> str:
    """What is said of missing cells, if there are some."""
    if not is_missing.any():
        return ""
    row = int(is_missing.to_numpy().argmax())
    return f", {is_missing.sum()} of {len(column)} cells are missing, first in row {row}"


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
    stray = [value for value in values if not is_number(value)]
    return stray[0] if 0 < len(stray) < len(values) / 2 else None


def _is_date(value: object) -> bool:
    """Whether it is the text of a date, or of a date and time, as ISO 8601 writes them."""
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return False
    return True


def is_number(value: object) -> bool:
    """Whether a value is a number, or text that says one."""
    try:
        float(str(value))
    except ValueError:
        return False
    return True


def arrays_of_frame(
    frame: nw.DataFrame[Any],
    labels: Sequence[str] | None = None,
    what: str = "the table",
    categories: Sequence[str] = (),
) -> dict[str, Shaped]:
    """The columns of a table as the arrays of a file: observations, labels, and names.

    Args:
        frame: the table.
        labels: names of the columns that are labels; None takes those with text.
        what: it is called in messages.
        categories: names of the columns of text that are observations.

    Raises:
        DataError: if a column cannot be used, there are no observations, or labels or categories
            that there are not are asked for, or one column for both.
    """
    for use, asked in (("labels", labels or ()), ("categories", categories)):
        if unknown := sorted(set(asked) - set(frame.columns)):
            known = listed(frame.columns, "{:.200}".format)
            raise DataError(
                f"{what}: there is no column {listed(unknown)} for {use}; there are "
                f"{known}{did_you_mean(unknown[0], frame.columns)}"
            )
    if both := sorted(set(labels or ()) & set(categories)):
        raise DataError(
            f"{what}: columns are named both as labels, which judge, and as categories, which are "
            f"trained on: {listed(both)}; name each once"
        )
    columns = plan_columns(frame, labels, categories)
    if refused := [each for each in columns if each.use == "refused"]:
        told = listed(refused, lambda each: f"{shown(each.name)} ({each.why})")
        raise DataError(
            f"{what}: columns cannot be observations: {told}; leave these rows or "
            "columns out, fill cells in (as scikit-learn's SimpleImputer does), or name columns "
            "that are labels with --labels"
        )
    features = [each.name for each in columns if each.use == "observations"]
    if not features or not len(frame):
        raise DataError(
            f"{what}: there are no rows with numbers or categories, only {_told(columns)}"
        )
    if odd := [each for each in columns if each.use != "observations" and each.why[:2] != "as"]:
        warnings.warn(f"{what}: {_told(odd)}", ColumnsWarning, stacklevel=2)
    found = {
        name: categories_of(texts_of(frame[name], name)) for name in features if name in categories
    }
    named_by = names_column(columns)
    arrays = arrays_of_columns(frame, features, what, named_by=named_by, categories=found)
    if found:
        pairs = [(name, text) for name, texts in found.items() for text in texts]
        arrays["category_names"] = np.array(pairs, dtype=object)
    return arrays | {each.name: _label(frame[each.name]) for each in columns if each.use == "label"}


def arrays_of_columns(
    frame: nw.DataFrame[Any],
    features: Sequence[str],
    what: str,
    first_row: int = 0,
    named_by: str | None = None,
    categories: Categories | None = None,
) -> dict[str, Shaped]:
    """Columns of a table with these names as observations, and the names of the table's rows.

    They stay in the table's order. Cells may be missing, and a column may hold a single value.

    Args:
        frame: the table; its further columns are let be.
        features: names of columns.
        what: it is called in messages.
        first_row: number of its first row, if it is a piece of a table.
        named_by: the column with the names of its rows, if it has no index.
        categories: of those columns that hold text.

    Raises:
        DataError: if a column is not there, holds no numbers, or another category.
    """
    check_columns(frame.columns, features, what)
    found = [name for name in frame.columns if name in features]
    values = []
    for name in found:
        column, where = frame[name], f"{what}: column {shown(name)}"
        if categories and name in categories:
            values.append(codes_of(texts_of(column, where), categories[name], where, first_row))
        else:
            values.append(_numbers_of(column, where, first_row))
    arrays: dict[str, Shaped] = {"x": np.column_stack(values)}
    arrays |= {"feature_names": np.array(found, dtype=object)}
    return arrays | _row_names(frame, named_by, first_row)


def _numbers_of(column: nw.Series[Any], where: str, first_row: int) -> np.ndarray:
    known = [] if _is_number_type(column.dtype) else column.filter(~_is_missing(column)).to_list()
    if known:
        stray = next((value for value in known if not is_number(value)), known[0])
        row = first_row + column.to_list().index(stray)
        raise DataError(f"{where} must hold numbers, got {shown(stray)} in row {row}")
    return column.cast(nw.Float64).to_numpy()


def check_columns(names: Sequence[str], wanted: Sequence[str], source: str) -> None:
    """Raise a DataError if a column is lacking, with those that there are."""
    if lacking := [name for name in wanted if name not in names]:
        raise DataError(
            f"{source}: there is no column {listed(lacking)}, only {listed(names)}; rename columns "
            "as in the training"
            f"{did_you_mean(lacking[0], names)}"
        )


def names_column(columns: Iterable[Column]) -> str | None:
    """The column that names the rows, if there is one."""
    return next((each.name for each in columns if each.use == "row names"), None)


def _row_names(
    frame: nw.DataFrame[Any], named_by: str | None, first_row: int = 0
) -> dict[str, Shaped]:
    """Those of an index that does not count, or else of a column; none without both."""
    index: Any = nw.maybe_get_index(frame)
    names = [] if index is None else list(map(str, index))
    if index is None or names == list(map(str, range(first_row, first_row + len(frame)))):
        if named_by is None:
            return {}
        names = list(map(str, frame[named_by].to_list()))
    return {"row_names": np.array(names, dtype=object)}


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
    return listed(columns, lambda each: f"{shown(each.name)} {_DONE[each.use]} ({each.why})")
