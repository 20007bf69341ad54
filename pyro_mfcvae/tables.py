"""Tables, made once and rendered for a terminal or as Markdown; pages render them in a template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table as Grid

_LONG = 20  # letters; shorter cells of numbers are not broken on the terminal
_GAP = 3  # letters between columns there
# Control characters but the end of a line, other ends of lines, halves of characters, turns of the
# writing's direction.
_ORDERS = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


@dataclass(frozen=True)
class Cell:
    """One number or word."""

    text: str  # what stands there
    share: float | None = None  # from 0 to 1, drawn as a bar
    best: bool = False  # whether it is the best of its row
    note: str = ""  # in small letters below


@dataclass(frozen=True)
class Table:
    """Rows under named columns."""

    caption: str  # what the numbers are, with their unit
    columns: tuple[str, ...]  # names of all columns
    rows: tuple[tuple[Cell, ...], ...]  # of cells, one per column
    n_headers: int = 1  # how many of the first columns name a row
    is_text: bool = False  # whether the cells are words to be read, not numbers to be compared
    note: str = ""  # what a reader should know, in sentences


def make_table(
    caption: str,
    columns: Iterable[str],
    rows: Iterable[Sequence[Cell | str]],
    n_headers: int = 1,
    is_text: bool = False,
    note: str = "",
) -> Table:
    """A table from cells or plain text."""
    cells = tuple(
        tuple(cell if isinstance(cell, Cell) else Cell(one_line(cell)) for cell in row)
        for row in rows
    )
    names = tuple(map(one_line, columns))
    return Table(one_line(caption), names, cells, n_headers, is_text, printable(note))


def printable(text: str) -> str:
    """Lines in which control characters, which a terminal obeys, are written as in Python."""
    return _ORDERS.sub(lambda match: match[0].encode("unicode_escape").decode(), text)


def one_line(text: str) -> str:
    """Text in which the ends of lines are written as in Python, too."""
    return printable(text).replace("\n", r"\n")


def percent(share: float) -> str:
    """``98.0 %``, with a space that does not break."""
    return f"{100 * share:z.1f}\N{NO-BREAK SPACE}%"


def number(value: float | None, digits: int = 2) -> str:
    """Fixed digits, or a dash where there is nothing."""
    return "–" if value is None else f"{value:z.{digits}f}"


def as_markdown(table: Table) -> str:
    """The table in Markdown, its caption not included; a note stands below."""

    def line(cells: Iterable[str]) -> str:
        return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"

    lines = [
        line(table.columns),
        f"|{'---|' * len(table.columns)}",
        *(line(cell.text for cell in row) for row in table.rows),
        *(["", table.note] if table.note else []),
    ]
    return "\n".join(lines) + "\n"


def show_table(screen: Console, table: Table) -> None:
    """Print the table, in several ones below each other where it is too wide.

    Where several columns name a row, the first one is not repeated. Where not even two columns have
    room beside each other, every cell has a line.
    """
    parts, caption = list(_split(table, screen.width)), table.caption
    if max(sum(w or 0 for w in widths) + _GAP * len(widths) for _, widths in parts) > screen.width:
        parts = []
        _print_lines(screen, table)
    for columns, widths in parts:
        screen.print(_grid(table, caption, columns, widths))
        caption = ""
    if table.note:
        screen.print(f"{table.note}\n", style="dim", highlight=False, markup=False)


def _split(table: Table, width: int) -> Iterator[tuple[list[int], list[int | None]]]:
    """Columns that fit beside each other without breaking words of numbers, and their widths."""
    from rich.cells import cell_len

    everything = list(range(len(table.columns)))
    longest = [max((cell_len(_shown(row[i])) for row in table.rows), default=0) for i in everything]
    natural = [max(n, cell_len(name)) for n, name in zip(longest, table.columns, strict=True)]
    if sum(natural) + _GAP * len(natural) < width:
        yield everything, [None] * len(everything)
        return
    words = [max(map(cell_len, name.split()), default=0) for name in table.columns]
    least = [max(min(n, _LONG), w) for n, w in zip(longest, words, strict=True)]
    if table.is_text:
        fits = sum(least) + _GAP * len(least) <= width
        yield everything, [None] * len(everything) if fits else [*least]
        return
    heads, rest = everything[: table.n_headers], everything[table.n_headers :]
    while rest:
        columns = [*heads, rest.pop(0)]
        while rest and sum(least[i] + _GAP for i in (*columns, rest[0])) < width:
            columns.append(rest.pop(0))
        yield columns, [least[i] for i in columns]


def _grid(table: Table, caption: str, columns: list[int], widths: list[int | None]) -> Grid:
    from rich import box
    from rich.markup import escape
    from rich.table import Table as Grid

    grid = Grid(box=box.SIMPLE, title=escape(caption) or None, title_justify="left")
    for i, width in zip(columns, widths, strict=True):
        name, is_word = escape(table.columns[i]), i < table.n_headers or table.is_text
        justify: Literal["left", "right"] = "left" if is_word else "right"
        grid.add_column(name, justify=justify, overflow="fold", width=width)
    last = None
    for row in table.rows:
        texts = [_shown(row[i]) for i in columns]
        if table.n_headers > 1:
            if last not in (None, texts[0]):
                grid.add_section()
            last, texts[0] = texts[0], "" if texts[0] == last else texts[0]
        grid.add_row(*map(escape, texts))
    return grid


def _shown(cell: Cell) -> str:
    return f"{cell.text}*" if cell.best else cell.text


def _print_lines(screen: Console, table: Table) -> None:
    """Print the cells of each row below its names, each after the name of its column."""
    n = table.n_headers
    lines = [table.caption]
    for row in table.rows:
        lines += ["", *(_shown(cell) for cell in row[:n])]
        lines += [
            f"{name}: {_shown(c)}" for name, c in zip(table.columns[n:], row[n:], strict=True)
        ]
    screen.print("\n".join([*lines, ""]), highlight=False, markup=False)
