"""Results of a benchmark as tables on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich import box
from rich.table import Table

if TYPE_CHECKING:
    from rich.console import Console


def show_record(screen: Console, record: dict[str, Any]) -> None:
    """Print everything that was measured, and the judgement on the promises."""
    for preset, results in record["presets"].items():
        if "steps" in results:
            _show_times(screen, f"{preset}: a training step", results["steps"])
            for setting in results["steps"]["left_out"]:
                screen.print(f"by hand and networks alone do without {setting}", highlight=False)
            _show_end_to_end(screen, results["steps"]["end_to_end"])
        for size, scan in results.get("scans", {}).items():
            _show_times(screen, f"{preset}: a training step over {size}", scan)
        if "streaming" in results:
            _show_times(screen, f"{preset}: observations read from a file", results["streaming"])
        if "memory" in results:
            _show_memory(screen, preset, results["memory"])
    if "density" in record:
        sizes = "K = {n_clusters}, D = {latent_dim}, B = {batch_size}".format(**record["density"])
        _show_times(screen, f"full-covariance density, {sizes}", record["density"])
    if "imports" in record:
        _show_times(screen, "imports", record["imports"])
    _show_targets(screen, record["targets"])


def _show_times(screen: Console, title: str, timings: dict[str, Any]) -> None:
    reference = timings["ratios_to"]
    table = _table(title, "", "ms", f"/ {reference}", "quartiles", f"ms - {reference}")
    for name, candidate in timings["candidates"].items():
        low, high = candidate["ratio_quartiles"]
        table.add_row(
            name,
            f"{1e3 * candidate['seconds']:.2f}",
            f"{candidate['ratio']:.3f}",
            f"{low:.3f} to {high:.3f}",
            f"{1e3 * candidate['difference']:+.2f}",
        )
    screen.print(table)


def _show_end_to_end(screen: Console, end_to_end: dict[str, Any]) -> None:
    each = "; ".join(
        f"{name} {1e3 * seconds:.2f} ms" for name, seconds in end_to_end["seconds_per_step"].items()
    )
    lines = [f"end to end, per step: {each}", _length("extrapolated", end_to_end["full_length"])]
    if end_to_end["measured_full_length"] is not None:
        lines.append(_length("measured", end_to_end["measured_full_length"]))
    screen.print("\n".join(lines), highlight=False, soft_wrap=True, markup=False)


def _length(how: str, seconds: float) -> str:
    return f"whole run, {how}: {seconds:.0f} s"


def _show_memory(screen: Console, preset: str, memory: dict[str, Any]) -> None:
    table = _table(f"{preset}: peak memory of a step ({memory['measured_with']})", "", "MiB")
    for name, n_bytes in memory["candidates"].items():
        table.add_row(name, f"{n_bytes / 2**20:.1f}")
    screen.print(table)


def _show_targets(screen: Console, targets: list[dict[str, Any]]) -> None:
    if not targets:
        return
    table = _table("promises", "", "measured", "at most", "")
    for target in targets:
        measured, limit = (f"{target[key]:.3g} {target['unit']}" for key in ("measured", "limit"))
        table.add_row(target["name"], measured, limit, "pass" if target["passed"] else "FAIL")
    screen.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
