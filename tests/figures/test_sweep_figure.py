"""The figure of all trials of a sweep."""

from __future__ import annotations

import numpy as np
import pytest

from pyro_mfcvae.figures import all_trials


def _panels(settings, objectives=None, **given):
    names = {path: path for path in settings[0]}
    values = range(len(settings)) if objectives is None else objectives
    figure = all_trials(settings, values, [0] * len(settings), names, "a measure", **given)
    figure.canvas.draw()
    return figure.axes


@pytest.mark.parametrize(
    ("values", "scale", "ticks"),
    [
        ([0.0005, 0.001, 0.002], "log", ["0.0005", "0.001", "0.002"]),
        ([5, 10, 15], "linear", ["5", "10", "15"]),
        ([0.1, 0.2], "linear", ["0.1", "0.2"]),
        ([0.0, 2.0, 10.0], "linear", ["0", "2", "10"]),
        ([0.0, 1.0, 1.1, 2.0], "linear", None),
        (["vade", "enumerate"], "linear", ["vade", "enumerate"]),
        ([[5, 20], [10, 40]], "linear", ["[5, 20]", "[10, 40]"]),
        ([True, False], "linear", ["true", "false"]),
        ([None, 0.5], "linear", ["null", "0.5"]),
    ],
)
def test_axes_of_the_figure(values, scale, ticks):
    (axes,) = _panels([{"a": value} for value in values])
    assert axes.get_xscale() == scale
    if ticks is not None:  # else they would overlap
        assert [label.get_text() for label in axes.get_xticklabels()] == ticks
    else:
        assert "1.1" not in [label.get_text() for label in axes.get_xticklabels()]


def test_the_figure_has_every_trial_and_means_over_seeds():
    settings = [{"a": a, "b": b} for a in (1, 2, 3) for b in ("x", "y") for _ in range(2)]
    objectives = np.arange(12.0) ** 2
    panels = _panels(settings, objectives, best=settings[-1], logarithmic=["a"])
    assert [axes.get_xscale() for axes in panels] == ["log", "linear"]
    for axes, places in zip(panels, ([1, 1, 2, 2, 3, 3], [0, 1] * 3), strict=True):
        dots = [line for line in axes.lines if line.get_marker() == "o"]
        assert [list(line.get_ydata()) for line in dots] == objectives.reshape(6, 2).tolist()
        bars = [line for line in axes.lines if line.get_marker() == "_"]
        means = objectives.reshape(6, 2).mean(1)
        assert [float(bar.get_ydata()[0]) for bar in bars] == list(means)
        assert [float(bar.get_xdata()[0]) for bar in bars] == places
        assert [bar.get_color() for bar in bars] == ["C0"] * 5 + ["C1"]
    lines = [line for line in panels[0].lines if line.get_color() == "0.6"]
    assert [list(line.get_ydata()) for line in lines] == [list(means[0::2]), list(means[1::2])]
    for axes, expected in zip(
        panels, (means.reshape(3, 2).mean(1), means.reshape(3, 2).mean(0)), strict=True
    ):
        (black,) = (line for line in axes.lines if line.get_color() == "black")
        assert list(black.get_ydata()) == pytest.approx(list(expected), rel=1e-12)
    (alone,) = _panels([{"a": 1}, {"a": 2}])
    assert all(line.get_color() != "black" for line in alone.lines)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 6])
def test_a_panel_for_every_setting(n):
    panels = _panels([{f"s{i}": value + i for i in range(n)} for value in range(3)])
    assert [axes.get_xlabel() for axes in panels] == [f"s{i}" for i in range(n)]


def test_seeds_alone_have_a_panel():
    figure = all_trials([{}, {}], [1.0, 2.0], [3, 5], {}, "ELBO")
    (axes,) = figure.axes
    assert axes.get_xlabel() == "seed"
    assert [label.get_text() for label in axes.get_xticklabels()] == ["3", "5"]


def test_an_outlier_does_not_squeeze_the_figure():
    (axes,) = _panels([{"a": i} for i in range(9)], [*range(8), -1e6])
    assert axes.get_ylim()[0] > -5
    (whole,) = _panels([{"a": i} for i in range(9)], [*range(8), -1e6], more_is_better=False)
    assert whole.get_ylim()[0] < -1e6
    assert axes.get_title(loc="left") == "trials below: 1"
    with pytest.raises(ValueError, match="no finished trials"):
        all_trials([], [], [], {}, "ELBO")
