"""Speed of training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pyro_mfcvae.cli.options import DATA_DIR, sayer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table


@click.command()
@click.argument("presets", metavar="[PRESET]...", nargs=-1)
@click.option(
    "--device",
    metavar="NAME",
    default="auto",
    show_default=True,
    help="auto, cpu, cuda, cuda:1, ...",
)
@click.option(
    "--threads",
    "n_threads",
    metavar="N",
    type=click.IntRange(min=1),
    help="CPU threads of all candidates.",
)
@click.option("--quick", is_flag=True, help="Few short rounds, under a minute on two cores.")
@click.option(
    "--only",
    metavar="PART,PART",
    help="Only these: steps, scans, streaming, memory, density, imports.",
)
@click.option(
    "--rounds",
    "n_rounds",
    metavar="N",
    type=click.IntRange(min=1),
    help="Turns of every candidate [15, with --quick 5].",
)
@click.option(
    "--clock",
    type=click.Choice(["wall", "cpu"]),
    default="wall",
    show_default=True,
    help="cpu leaves out what other processes take; for one thread.",
)
@click.option("--full", is_flag=True, help="Train whole runs as well; on a CPU this takes hours.")
@click.option(
    "--set",
    "assignments",
    metavar="PATH=VALUE",
    multiple=True,
    help="Change a setting of all presets, such as training.precision=bf16.",
)
@DATA_DIR
@click.option(
    "--out",
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("bench"),
    show_default=True,
    help="Folder of bench.json and bench.png.",
)
def bench(only: str | None, out: Path, **given: Any) -> None:
    """Time training against the same model written by hand in PyTorch.

    All candidates take turns in one process: networks alone, the hand-written step, our step with
    every guide, and training with its log. Besides: the cost of a step over K, J, D, S, B and N,
    memory, the full-covariance density, and imports. Data that are not there are replaced by noise
    of their shape. The promises at the end are judged on the same run. bench.json is written after
    every part, so that Ctrl-C loses the one under way only.

    \b
    Examples:
      mfcvae bench --quick
      mfcvae bench mnist svhn --threads 1 --only steps
      mfcvae bench svhn --device cuda --set training.precision=tf32
    """
    from pyro_mfcvae.bench import Request, run_bench
    from pyro_mfcvae.cli.show import console
    from pyro_mfcvae.figures import save_figure
    from pyro_mfcvae.figures.bench import bench_figure
    from pyro_mfcvae.files import write_whole

    parts = [part.strip() for part in only.split(",")] if only else ()
    request = Request(parts=parts, **given)
    request.check()
    out.mkdir(parents=True, exist_ok=True)  # rather now than after an hour of measuring
    screen = console()

    def keep(record: dict[str, Any]) -> None:
        write_whole(out / "bench.json", json.dumps(record, indent=1) + "\n")

    record = run_bench(request, sayer(screen), keep)
    written = ["bench.json"]
    if any("steps" in results or results.get("scans") for results in record["presets"].values()):
        save_figure(out / "bench.png", bench_figure(record))
        written.append("bench.png")
    _show(screen, record)
    screen.print(
        f"results: {', '.join(str(out / name) for name in written)}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )


def _show(screen: Console, record: dict[str, Any]) -> None:
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
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE, title=title, title_justify="left")
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table
