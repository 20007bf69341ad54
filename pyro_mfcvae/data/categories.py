"""Columns of categories: their texts as numbers that count from 0, in files and data frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from numbers import Integral
from typing import Any

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from pyro_mfcvae.data.arrays import are_identifiers
from pyro_mfcvae.errors import DataError, did_you_mean, listed, shown

Categories = Mapping[Any, Sequence[str]]
"""The texts of each column of categories, by the column's name, in the order of their numbers."""

_MOST = 1000


def texts_of(column: nw.Series[Any], where: str) -> list[str | None]:
    """Cells as text, None where one is missing. Whole numbers and booleans are as they are written.

    Args:
        column: of a table.
        where: it is, for the message.

    Raises:
        DataError: if a cell is something else.
    """
    try:
        return [None if _is_missing(value) else _text(value) for value in column.to_list()]
    except TypeError as error:
        raise DataError(f"{where} must hold text or whole numbers, got {error}") from error


def categories_of(texts: Sequence[str | None]) -> tuple[str, ...]:
    """The different texts, sorted."""
    return tuple(sorted({text for text in texts if text is not None}))


def codes_of(
    texts: Sequence[str | None], known: Sequence[str], where: str, first_row: int = 0
) -> NDArray[np.float64]:
    """Numbers (N,) of the cells' categories, NaN where one is missing.

    Args:
        texts: of the cells, (N,).
        known: categories.
        where: they are, for messages.
        first_row: number of the first cell, likewise.

    Raises:
        DataError: if a text is not among the categories.
    """
    codes: dict[str | None, float] = {text: code for code, text in enumerate(known)}
    codes[None] = np.nan
    for row, text in enumerate(texts, first_row):
        if text is not None and text not in codes:
            raise DataError(
                f"{where} has {shown(text)} in row {row}, which fitting has not seen, only "
                f"{listed(known)}{did_you_mean(text, known)}"
            )
    return np.array([codes[text] for text in texts], dtype=np.float64)


def doubt_of(texts: Sequence[str | None]) -> str:
    """What speaks against taking cells for categories; empty if nothing does."""
    n_known, n = len(texts) - texts.count(None), len(categories_of(texts))
    if are_identifiers(n, n_known):
        return f"{n} values in {n_known} rows, as identifiers have"
    return f"{n:,} categories, more than {_MOST:,}: merge rare ones" if n > _MOST else ""


def indicator_names(columns: Sequence[object], categories: Categories) -> list[str]:
    """Names of the columns of :func:`with_indicators`, such as ``island=Dream``."""
    return [
        str(name) if text is None else f"{name}={text}"
        for name in columns
        for text in categories.get(name, [None])
    ]


def with_indicators(
    values: np.ndarray, columns: Sequence[object], categories: Categories
) -> np.ndarray:
    """Rows (N, D) with a column of 0 and 1 in the place of each category, NaN where it is missing.

    Args:
        values: rows, whose categories are numbers.
        columns: names of the D columns.
        categories: of some of them.
    """
    if not categories:
        return values
    parts: list[np.ndarray] = []
    for name, own in zip(columns, values.T, strict=True):
        n = len(categories.get(name, ()))
        is_it = [np.where(np.isnan(own), np.nan, own == code) for code in range(n)]
        parts += is_it if name in categories else [own]
    return np.stack(parts, 1)


def largest_of_columns(
    values: np.ndarray, columns: Sequence[object], categories: Categories
) -> np.ndarray:
    """The largest value (D,) that the indicators of each column have, of values for all of them."""
    sizes = [len(categories.get(name, [None])) for name in columns]
    return np.maximum.reduceat(values, [0, *accumulate(sizes[:-1])])


def _is_missing(value: Any) -> bool:
    return value is None or value != value or str(value) == "<NA>"


def _text(value: Any) -> str:
    if isinstance(value, bool | np.bool_):
        return str(value)
    if isinstance(value, Integral) or (isinstance(value, float) and value.is_integer()):
        return str(int(value))
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value
