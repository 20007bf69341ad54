"""What tables are made of, and numbers as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One number or word.

    Attributes:
        text: what stands there.
        share: from 0 to 1, drawn as a bar.
        best: whether it is the best of its row.
        note: in small letters below.
    """

    text: str
    share: float | None = None
    best: bool = False
    note: str = ""


@dataclass(frozen=True)
class Table:
    """Rows under named columns.

    Attributes:
        caption: what the numbers are, with their unit.
        columns: names of all columns.
        rows: of cells, one per column.
        n_headers: how many of the first columns name a row.
        is_text: whether the cells are words to be read, not numbers to be compared.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    n_headers: int = 1
    is_text: bool = False


def table(
    caption: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell | str]],
    n_headers: int = 1,
    is_text: bool = False,
) -> Table:
    """A table from cells or plain text."""
    cells = tuple(
        tuple(cell if isinstance(cell, Cell) else Cell(cell) for cell in row) for row in rows
    )
    return Table(caption, tuple(columns), cells, n_headers, is_text)


def percent(share: float) -> str:
    """``98.0 %``, with a space that does not break."""
    return f"{100 * share:z.1f}\N{NO-BREAK SPACE}%"


def number(value: float | None, digits: int = 2) -> str:
    """Fixed digits, or a dash where there is nothing."""
    return "–" if value is None else f"{value:z.{digits}f}"
