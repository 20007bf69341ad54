"""The benchmark's timer, and how its numbers are judged."""

from __future__ import annotations

import pytest
import torch

from benchmarks import imports, targets
from benchmarks.candidates import BY_HAND, FIT, NETWORKS
from benchmarks.density import OURS, TORCH
from benchmarks.device import summed_durations
from benchmarks.timing import Timings, alternate, repeated, warm_up_turns
from pyro_mfcvae.training.devices.captured import N_WARM_UP


class _Clock:
    """A clock that only candidates move."""

    def __init__(self) -> None:
        self.now, self.calls = 0.0, []

    def __call__(self) -> float:
        return self.now

    def candidate(self, name: str, seconds):
        def turn() -> None:
            self.calls.append(name)
            self.now += seconds(self.calls.count(name))

        return turn


def test_candidates_take_turns():
    clock, waits = _Clock(), []
    turns = {name: clock.candidate(name, lambda n: 1.0) for name in "abc"}
    timings = alternate(
        turns, 3, n_steps=4, wait=lambda: waits.append(len(clock.calls)), clock=clock
    )
    assert "".join(clock.calls) == "abc" + "abc" + "acb" + "cab"
    assert waits == [n for turn in range(3, 12) for n in (turn, turn + 1)]
    assert timings.seconds == dict.fromkeys("abc", (0.25,) * 3)


def test_drift_cancels_in_the_ratio_of_rounds():
    clock = _Clock()
    drift = (1.0, 1.0, 7.0, 2.0, 30.0, 4.0)  # of the warm-up and of every round
    turns = {
        "ours": clock.candidate("ours", lambda n: 3.0 * drift[n - 1]),
        "theirs": clock.candidate("theirs", lambda n: 2.0 * drift[n - 1]),
    }
    timings = alternate(turns, 5, clock=clock)
    ratio = timings.ratio("ours", "theirs")
    assert ratio.median == pytest.approx(1.5)
    assert ratio.quartiles == pytest.approx((1.5, 1.5))
    assert timings.median("theirs") == pytest.approx(8.0)
    assert timings.difference("ours", "theirs") == pytest.approx(4.0)


def test_ratios_of_medians_and_medians_of_ratios():
    timings = Timings({"a": (1.0, 2.0, 6.0, 4.0, 5.0), "b": (1.0, 1.0, 2.0, 4.0, 10.0)})
    ratio = timings.ratio("a", "b")  # by round: 1, 2, 3, 1, 0.5
    assert (ratio.of_medians, ratio.median, ratio.quartiles) == (2.0, 1.0, (1.0, 2.0))
    record = timings.record("b")
    assert record["candidates"]["a"] == {
        "seconds": 4.0,
        "quartiles": (2.0, 5.0),
        "seconds_by_round": (1.0, 2.0, 6.0, 4.0, 5.0),
        "ratio": 1.0,
        "ratio_quartiles": (1.0, 2.0),
        "ratio_of_medians": 2.0,
        "difference": 0.0,
    }
    assert "ratio" not in timings.record()["candidates"]["a"]


def test_there_must_be_something_to_time():
    with pytest.raises(ValueError, match="got 0 and 3"):
        alternate({}, 3)
    with pytest.raises(ValueError, match="got 1 and 0"):
        alternate({"a": lambda: None}, 0)


def test_a_turn_repeats_its_step():
    calls = []
    repeated(lambda: calls.append(1), 5)()
    assert len(calls) == 5


def test_steps_on_cuda_are_captured_before_they_are_timed():
    for n in (1, 2, N_WARM_UP, N_WARM_UP + 1, 100):
        assert n * warm_up_turns(torch.device("cuda"), n) > N_WARM_UP
    assert warm_up_turns(torch.device("cuda"), 100) == warm_up_turns(torch.device("cpu"), 1) == 1


def _record(by_hand: float, ours: float, device: str = "cpu") -> dict:
    """A record of one preset with every part that is judged."""
    candidates = {
        NETWORKS: {"seconds": 1.0, "ratio": 9.0, "difference": 9.0},
        BY_HAND: {"seconds": by_hand, "ratio": 1.0, "difference": 0.0},
        "vade": {"seconds": ours, "ratio": ours / by_hand, "difference": ours - by_hand},
        FIT: {"seconds": 1.0, "ratio": 9.0, "difference": 9.0},
    }
    steps = {
        "guide": "vade",
        "left_out": [],
        "candidates": candidates,
        "end_to_end": {"ratio": 1.07, "full_length": 41.0, "measured_full_length": 39.0},
        "device": {"waits": None, "kernel_seconds": ours / 1.2},
    }
    return {
        "machine": {"device": device},
        "presets": {"mnist": {"steps": steps}},
        "density": {"candidates": {OURS: {"ratio": 0.6}, TORCH: {"ratio": 1.0}}},
        "imports": {"candidates": {imports.BARE: {"ratio": 1.0}, "ours": {"ratio": 1.1}}},
    }


@pytest.mark.parametrize(
    ("by_hand", "ours", "measured", "unit", "passed"),
    [
        (0.100, 0.104, 1.04, "x", True),
        (0.100, 0.106, 1.06, "x", False),
        (0.099, 0.1035, 4.5, "ms", True),
        (0.010, 0.0155, 5.5, "ms", False),
    ],
)
def test_steps_are_judged_by_their_length(by_hand, ours, measured, unit, passed):
    first, *others = targets.judge(_record(by_hand, ours))
    assert first["measured"] == pytest.approx(measured)
    assert (first["unit"], first["passed"]) == (unit, passed)
    assert [target["passed"] for target in others] == [True, False, True]
    assert "fit with checkpoints" in others[0]["name"]


def test_steps_that_do_more_than_the_reference_are_not_judged():
    record = _record(0.1, 0.2)
    record["presets"]["mnist"]["steps"]["left_out"] = ["training.warp"]
    assert [target["name"] for target in targets.judge(record)] == [
        target["name"] for target in targets.judge(_record(0.1, 0.2))[1:]
    ]


def test_a_device_is_judged_by_itself():
    record = _record(0.1, 0.2, "cuda")
    waits, kernels, extrapolated, measured, imported = targets.judge(record)
    assert kernels["measured"] == pytest.approx(1.2)
    assert (extrapolated["passed"], measured["passed"]) == (False, True)
    assert waits["passed"]
    assert kernels["passed"]
    assert "import" in imported["name"]
    record["presets"]["mnist"]["steps"]["device"]["waits"] = "called a synchronizing operation"
    assert not targets.judge(record)[0]["passed"]


def test_work_on_a_device_is_summed_up():
    events = [
        {"cat": "kernel", "dur": 2.0},
        {"cat": "gpu_memcpy", "dur": 0.5},
        {"cat": "gpu_user_annotation", "dur": 100.0},
        {"cat": "cpu_op", "dur": 100.0},
        {"name": "without a category"},
    ]
    assert summed_durations(events) == pytest.approx(2.5e-6)
