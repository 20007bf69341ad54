"""Tables on terminals of any width and encoding, and names that a terminal must not obey."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from pyro_mfcvae.tables import Cell, as_markdown, make_table, printable, show_table

QUESTION = "How satisfied are you, overall, with the public transport in your town (1 to 5)?"
NAMES = ["kind", QUESTION, QUESTION.replace(" ", "_"), "器官" * 20]
MEASURES = ["majority accuracy, training map", "NMI", "ARI", "homogeneity"]


def _shown(table, width: int) -> str:
    text = io.StringIO()
    show_table(Console(file=text, width=width), table)
    return text.getvalue()


def _table(**options):
    numbers = iter(range(100, 132))
    rows = [
        [f"{j}: 3 of 3", name, *(Cell(f"{next(numbers) / 10}", best=True) for _ in MEASURES)]
        for j in range(2)
        for name in NAMES
    ]
    columns = ["facet", "factor", *MEASURES]
    return make_table("held out, percent", columns, rows, n_headers=2, **options)


@pytest.mark.parametrize("is_text", [False, True])
@pytest.mark.parametrize("width", [8, 20, 40, 80, 100, 300])
def test_no_number_is_lost_or_broken_at_any_width(width, is_text):
    text = _shown(_table(is_text=is_text), width)
    found = re.findall(r"(?<!\S)\d\d\.\d\*(?!\S)", text)
    assert sorted(found) == [f"{n / 10}*" for n in range(100, 132)]
    assert max(map(len, text.splitlines())) <= width


def test_what_a_terminal_obeys_is_written_out():
    wild = "\x1b]0;title\x07\x1b[2J a\u202eb\rc\x9bm\u2028\u2029"
    seen = r"\x1b]0;title\x07\x1b[2J a\u202eb\rc\x9bm\u2028\u2029"
    assert printable(wild) == seen
    harmless = "Größe 98.0\N{NO-BREAK SPACE}%\n器官 👩‍🔬"
    assert printable(harmless) == harmless
    table = make_table("", ["factor", wild], [["line\nline", wild]], note=wild)
    text = _shown(table, 200)
    assert text.count(seen) == 3
    assert r"line\nline" in text
    assert "\x1b" not in as_markdown(table)
