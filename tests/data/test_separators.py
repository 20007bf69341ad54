"""Separators of columns and decimal signs: told by the lines where that is certain."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import load_dataset
from pyro_mfcvae.data.inspection import inspect_data
from pyro_mfcvae.data.tables import find_decimal, find_separator
from pyro_mfcvae.errors import DataError


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def settings(text, name="mine.csv", **options):
    Path(name).write_text(text)
    return Component(name="file", options={"path": name, **options})


def rows(text, name="mine.csv", **options):
    dataset = load_dataset(settings(text, name, **options))
    return [dataset.feature_names, *dataset.x.tolist()]


@pytest.mark.parametrize(
    ("text", "usual", "expected"),
    [
        ("a,b\n1,2", ",", ","),
        ("a;b\n1;2", ",", ";"),
        ("a;b\n1,5;2\n1;2,5", ",", ";"),
        ('"x, y";b\n1;2', ",", ";"),
        ('a,"x;y"\n1,2', ",", ","),
        ("a\tb\n1\t2", ",", "\t"),
        ('a,b\n"p\nq",2\n\n3,4', ",", ","),
        ("a,b\nr1,1,2\nr2,3,4", ",", ","),  # names of rows without a name of their own
        ("a\n1\n2", ",", ","),
        ("a;b\n1;2", "\t", ";"),
        ("", ",", ","),
    ],
)
def test_lines_that_leave_no_doubt(text, usual, expected):
    assert find_separator(text, usual) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [("a, cm;b\n1,5;2", [",", ";"]), ("a;b\n1;2\n3;4;5", [";"]), ("a\n1,5\n2,5", [","])],
)
def test_lines_that_leave_a_doubt(text, found):
    with pytest.raises(DataError, match=r"mine.csv: .*separator") as told:
        rows(text)
    assert all(repr(each) in str(told.value) for each in found)


def test_a_doubt_is_settled_by_an_option():
    table = "a, cm;b\n" + "1,5;2\n3;4,5\n" * 9
    names, first, *_ = rows(table, separator=";")
    assert (names, first) == (("a, cm", "b"), [1.5, 2])
    found = inspect_data(settings(table, separator=";"))
    assert [column.use for column in found.columns] == ["observations"] * 2
    for options in ({"separator": ";;"}, {"decimal": ";"}):
        with pytest.raises(ValueError, match=next(iter(options))):
            rows(table, **options)
    with pytest.raises(DataError, match="pictures has no option separator"):
        load_dataset(Component(name="file", options={"path": ".", "separator": ";"}))


@pytest.mark.parametrize(
    ("cells", "separator", "expected"),
    [
        (["1,5", "2"], ";", ","),
        (["1,234", "0,123"], ";", ","),
        (["-1,2345e-3", "x"], "\t", ","),
        (["1.5", "2"], ";", "."),
        (["1", "2"], ";", "."),
        (["a,b", "p, q"], ";", "."),
        (['"1,5"', "2"], ",", "."),
    ],
)
def test_decimal_signs_without_a_doubt(cells, separator, expected):
    assert find_decimal(f"a\n{separator.join(cells)}", separator) == expected


@pytest.mark.parametrize("cells", ["1,234;2", "1,5;2.5"])
def test_decimal_signs_in_doubt(cells):
    table = "a;b\n" + f"{cells}\n5;7\n" * 9
    with pytest.raises(DataError, match=r"mine.csv: .*decimal"):
        rows(table)
    if "." not in cells:
        assert rows(table, decimal=",")[1] == pytest.approx([1.234, 2])


@pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.DataWarning")
def test_one_table_in_any_writing():
    lines = [(0.5 + i, 100 - 2.25 * i, "pq"[i % 2]) for i in range(20)]
    written = {}
    for name, separator, decimal in (
        ("a.csv", ",", "."),
        ("b.csv", ";", "."),
        ("c.csv", ";", ","),
        ("d.csv", "\t", ","),
        ("e.tsv", "\t", "."),
    ):
        body = [separator.join(map(str, line)).replace(".", decimal) for line in lines]
        written[name] = "\n".join([separator.join("xyk"), *body])
    expected = rows(written["a.csv"])
    assert expected[1:3] == [[0.5, 100], [1.5, 97.75]]
    assert all(rows(text, name) == expected for name, text in written.items())
