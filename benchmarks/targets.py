"""What the library promises about its speed, judged on the numbers of one record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from benchmarks.candidates import BY_HAND, BY_HAND_COMPILED, COMPILED, FIT, NETWORKS, TRACED
from benchmarks.density import OURS
from benchmarks.imports import BARE
from benchmarks.streaming import IN_MEMORY

LONG_STEP = 0.1  # seconds; from here on the overhead is a ratio
STEP_RATIO, STEP_SECONDS = 1.05, 0.005
COMPILED_RATIO: Mapping[str, float] = {"mnist": 0.8, "shapes": 0.6, "table": 0.35}
BOTH_COMPILED_RATIO = 1.05
FIT_RATIO = 1.08
DENSITY_RATIO = 0.5
IMPORT_RATIO = 1.15
STREAMING_RATIO = 1.2
TEN_RUNS_RATIO = 2.5
KERNEL_RATIO = 1.3
FULL_LENGTH: Mapping[str, float] = {"mnist": 40.0, "svhn": 480.0}  # seconds on a CUDA device

_NO_GUIDES = (NETWORKS, BY_HAND, BY_HAND_COMPILED, TRACED, COMPILED, FIT)

Target = dict[str, Any]


def judge(record: Mapping[str, Any]) -> list[Target]:
    """Every promise that the record has a number for.

    Args:
        record: as :func:`~benchmarks.run.run_bench` makes it.

    Returns:
        for each its ``"name"``, ``"measured"``, ``"limit"``, ``"unit"`` and whether it
        ``"passed"``.
    """
    on_cuda = record["machine"]["device"].startswith("cuda")
    targets: list[Target] = []
    for preset, results in record["presets"].items():
        for name, measured in results.get("streaming", {}).get("candidates", {}).items():
            if name != IN_MEMORY and not on_cuda:
                label = f"{preset}: steps {name} / {IN_MEMORY}"
                targets.append(_target(label, measured["ratio"], STREAMING_RATIO))
        ten = results.get("scans", {}).get("n_runs", {}).get("candidates", {}).get("10")
        if ten is not None and on_cuda and preset == "mnist":
            targets.append(_target("mnist: ten runs at once / one", ten["ratio"], TEN_RUNS_RATIO))
        if "steps" in results:
            judged = _on_cuda if on_cuda else _on_cpu
            targets += judged(preset, results["steps"])
    if "density" in record and not on_cuda:
        ratio = record["density"]["candidates"][OURS]["ratio"]
        targets.append(_target("full-covariance density / torch's", ratio, DENSITY_RATIO))
    for name, measured in record.get("imports", {}).get("candidates", {}).items():
        if name != BARE:
            label = f"import of {name} / {BARE}"
            targets.append(_target(label, measured["ratio"], IMPORT_RATIO))
    return targets


def _on_cpu(preset: str, steps: Mapping[str, Any]) -> Iterator[Target]:
    """Steps with every guide against the hand-written one, and ``fit`` against its guide's.

    Where the hand-written step does less, as ``"left_out"`` says, there is no promise.
    """
    is_long = steps["candidates"][BY_HAND]["seconds"] >= LONG_STEP
    for name, measured in steps["candidates"].items():
        if name in _NO_GUIDES or steps["left_out"]:
            continue
        if is_long:
            yield _target(f"{preset}: {name} / {BY_HAND}", measured["ratio"], STEP_RATIO)
        else:
            label = f"{preset}: {name} - {BY_HAND}"
            yield _target(label, 1e3 * measured["difference"], 1e3 * STEP_SECONDS, "ms")
    if COMPILED in steps["candidates"] and not steps["left_out"]:
        ratio, hand = (steps["candidates"][name]["ratio"] for name in (COMPILED, BY_HAND_COMPILED))
        if preset in COMPILED_RATIO:
            yield _target(f"{preset}: {COMPILED} / {BY_HAND}", ratio, COMPILED_RATIO[preset])
        label = f"{preset}: {COMPILED} / {BY_HAND_COMPILED}"
        yield _target(label, ratio / hand, BOTH_COMPILED_RATIO)
    yield _target(
        f"{preset}: fit with checkpoints / {steps['guide']}",
        steps["end_to_end"]["ratio"],
        FIT_RATIO,
    )


def _on_cuda(preset: str, steps: Mapping[str, Any]) -> Iterator[Target]:
    """Waiting, launches and the length of whole runs."""
    device, end_to_end = steps["device"], steps["end_to_end"]
    n_waits = float(device["waits"] is not None)
    yield _target(f"{preset}: waits for the device in a step", n_waits, 0.0, "")
    ratio = steps["candidates"][steps["guide"]]["seconds"] / device["kernel_seconds"]
    yield _target(f"{preset}: {steps['guide']} / sum of its kernels", ratio, KERNEL_RATIO)
    if preset in FULL_LENGTH:
        for kind in ("full_length", "measured_full_length"):
            if end_to_end[kind] is not None:
                how = "measured" if kind.startswith("measured") else "extrapolated"
                label = f"{preset}: whole run, {how}"
                yield _target(label, end_to_end[kind], FULL_LENGTH[preset], "s")


def _target(name: str, measured: float, limit: float, unit: str = "x") -> Target:
    return {
        "name": name,
        "measured": measured,
        "limit": limit,
        "unit": unit,
        "passed": measured <= limit,
    }
