"""Rows of the table of measures: their numbers as text, and which of them are meant."""

from __future__ import annotations

import pytest

from pyro_mfcvae.evaluation.measures import MEASURES, Measure, measures_of


@pytest.mark.parametrize(
    ("unit", "value", "text"),
    [
        ("share", 0.1234, "12.3"),
        ("share", -0.0001, "0.0"),
        ("count", 3.0, "3"),
        ("nats", -1.236, "-1.24"),
        ("nats", None, "–"),
    ],
)
def test_numbers_of_each_unit(unit, value, text):
    assert Measure("it", "it", unit=unit).text(value) == text


@pytest.mark.parametrize("level", ["run", "facet", "factor", "pair"])
@pytest.mark.parametrize("is_brief", [True, False])
def test_rows_of_a_level_with_a_flag(level, is_brief):
    found = [row.name for row in measures_of(level, is_brief=is_brief)]
    rows = MEASURES.values()
    assert found == [r.name for r in rows if r.level == level and r.is_brief is is_brief]
    assert {*found} < {row.name for row in rows}
