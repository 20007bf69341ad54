"""Settings for tables of which only some rows describe the columns."""

from __future__ import annotations

import math

import torch

from pyro_mfcvae.config import Component
from pyro_mfcvae.data import Dataset
from pyro_mfcvae.runs import fit


def test_a_gap_in_a_row_that_describes_no_column_is_known(monkeypatch):
    monkeypatch.setattr(fit, "_MOST_ROWS", 10)
    x = torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    x[1, 0] = math.nan
    dataset = Dataset("mine", x, train=torch.arange(50), test=torch.arange(50, 60))
    auto = fit.settings_from_data(dataset, Component(name="file"))
    assert auto.config.model.likelihood.name == "columns"
    assert auto.config.model.likelihood.options["missing"] is True
    assert [c.setting for c in auto.choices if c.setting.startswith("kind")] == [
        "kind of 0",
        "kind of 1",
    ]
