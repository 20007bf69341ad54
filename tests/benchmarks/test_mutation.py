"""The faults that mutation testing puts in, by hand."""

from __future__ import annotations

import pytest

from benchmarks import faults

SOURCE = '''
def area(sides, scale=2.0):
    """Of a rectangle; 1 is no number here."""
    first, second = sides
    if not first < second:
        raise ValueError(f"expected {first + 1}")
    return scale_of(
        first,
        second * [scale for _ in range(3)][0],
    )


def scale_of(a, b):
    return a - b
'''


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.setattr(faults, "LIBRARY", tmp_path)
    file = tmp_path / "areas.py"
    file.write_text(SOURCE)
    return file


def test_each_expression_that_computes_is_changed(path):
    changes = {(m.lines[1], m.was, m.becomes) for m in faults.mutants_of(path)}
    parts = "[scale for _ in range(3)][0]"
    assert changes == {
        (5, "not first < second", "first < second"),
        (5, "first < second", "first <= second"),
        (7, f"scale_of(first, second * {parts})", f"scale_of(second * {parts}, first)"),
        (9, f"second * {parts}", f"second / {parts}"),
        (9, f"second * {parts}", "second"),
        (9, "3", "4"),
        (9, "0", "1"),
        (14, "a - b", "a + b"),
        (14, "a - b", "a"),
    }


def test_a_mutant_reaches_its_function_alone(path):
    (mutant,) = (m for m in faults.mutants_of(path) if m.becomes == "a + b")
    ((_, module), (_, function)) = mutant.codes()
    assert function.co_name == "scale_of"
    loaded = {}
    exec(module, loaded)
    assert loaded["scale_of"](5, 3) == 8
    assert loaded["area"]((1, 2)) == 1 + 4


def test_the_seed_draws_the_mutants():
    first = faults.draw(5, seed=0)
    assert len(first) == 5
    assert first == faults.draw(5, seed=0) != faults.draw(5, seed=1)
    assert all(m.codes() for m in first)
