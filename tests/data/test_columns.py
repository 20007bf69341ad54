"""Kinds of columns, from values that are known to be of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pyro_mfcvae.data.columns import are_mixed, columns_likelihood, describe_columns


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    columns = [
        rng.normal(40, 3, 300),
        rng.lognormal(2, 1, 300),
        rng.poisson(2, 300),
        rng.integers(0, 2, 300),
        rng.integers(0, 4, 300),
        rng.integers(2500, 6000, 300),  # whole numbers that are no counts
    ]
    x = torch.from_numpy(np.stack(columns, 1))
    x[:30, 0] = math.nan
    return x


def test_kinds_follow_from_the_values(table):
    names = ["length", "income", "visits", "member", "island", "mass"]
    columns = describe_columns(table, names, {4: 4})
    kinds = ["real", "positive", "count", "binary", "categorical:4", "real"]
    assert [c.kind for c in columns] == kinds
    assert [c.name for c in columns] == names
    assert [c.n_missing for c in columns] == [30, 0, 0, 0, 0, 0]
    assert all(c.reason for c in columns)


def test_places_and_scales_are_those_of_the_known_values(table):
    columns = describe_columns(table, n_classes={4: 4})
    expected = {0: table[30:, 0], 1: table[:, 1].log(), 2: table[:, 2].log1p(), 5: table[:, 5]}
    for i, values in expected.items():
        assert columns[i].loc == pytest.approx(values.mean().item())
        assert columns[i].scale == pytest.approx(values.std().item())


def test_settings_of_the_likelihood_say_all_of_it(table):
    columns = describe_columns(table, n_classes={4: 4})
    options = columns_likelihood(columns, missing=True).options
    assert options["kinds"] == [c.kind for c in columns]
    assert options["loc"] == [c.loc for c in columns]
    assert options["scale"] == [c.scale for c in columns]
    assert options["missing"] is True


@pytest.mark.parametrize("values", [[1.0, 1.0], [math.nan, math.nan], [5.0, math.nan]])
def test_a_column_of_one_value_is_a_number_like_any_other(values):
    x = torch.tensor([[1.0, 2.0], values]).T
    column = describe_columns(x, ["length", "mass"])[1]
    assert (column.kind, column.scale) == ("real", 1.0)


def test_columns_are_mixed_if_some_are_no_numbers_or_have_gaps(table):
    columns = describe_columns(table, n_classes={4: 4})
    assert not are_mixed([columns[i] for i in (1, 2, 5)])
    assert all(are_mixed([columns[5], columns[i]]) for i in (0, 3, 4))
    in_one_unit = [are_mixed([column], one_unit=True) for column in columns]
    assert in_one_unit == [True, False, False, False, True, False]  # 0 and 1 are numbers
