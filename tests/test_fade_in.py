"""The schedule and the handler; the first authors' table is in test_golden.py."""

from __future__ import annotations

import math

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro import poutine

from pyro_mfcvae import Fade, FadeInSchedule
from pyro_mfcvae.errors import ConfigError


def test_three_facets_deepest_first():
    schedule = FadeInSchedule((10, 10, 10), 4)
    assert schedule(0) == (0, 0, 1)
    assert schedule(9) == (0, 0, 1)
    assert schedule(10) == (0, 0, 1)  # exactly 0 at the first batch of a stage
    assert schedule(11) == (0, 0.25, 1)
    assert schedule(14) == (0, 1, 1)
    assert schedule(21) == (0.25, 1, 1)
    assert schedule(1000) == (1, 1, 1)


def test_cosine_starts_and_ends_flat():
    schedule = FadeInSchedule((0, 100), 100, "cosine")
    assert schedule(0) == (0, 1)
    assert schedule(50) == (pytest.approx(0.5), 1)
    assert schedule(25)[0] == pytest.approx(0.5 * (1 - math.cos(math.pi / 4)))
    assert schedule(1)[0] < 0.001 < 0.999 < schedule(99)[0]


def test_no_fade_in_lets_a_facet_in_at_once():
    assert FadeInSchedule((3, 3), 0)(3) == (1, 1)


@pytest.mark.parametrize(
    "settings", [((), 5), ((3, -1), 5), ((3, 3), -1), ((3, 3), 5, "quadratic")]
)
def test_bad_schedules_are_refused(settings):
    with pytest.raises(ConfigError):
        FadeInSchedule(*settings)


def test_fade_scales_and_tags_sites():
    def program():
        with Fade(1, torch.tensor(0.0)):
            pyro.sample("inside", dist.Normal(0.0, 1.0))
        pyro.sample("outside", dist.Normal(0.0, 1.0))

    nodes = poutine.trace(program).get_trace().nodes
    assert nodes["inside"]["infer"]["facet"] == 1
    assert nodes["inside"]["scale"] == 0
    assert "facet" not in nodes["outside"]["infer"]
    assert nodes["outside"]["scale"] == 1
