"""Speed of training."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from pyro_mfcvae.cli import completion
from pyro_mfcvae.cli.options import (
    COUNT,
    DATA_DIR,
    FOLDER,
    OF_MACHINE,
    OF_RESULTS,
    Choice,
    Command,
    argument,
    option,
    prints_tables,
    say_plainly,
    settings_of,
    split_commas,
)

_BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"  # beside this folder in a checkout


@click.command(cls=Command)
@argument(
    "presets",
    'Whose training is timed (see "mfcvae presets") [several].',
    metavar="[PRESET]...",
    nargs=-1,
    shell_complete=completion.PRESETS,
)
@option(
    "--device",
    "What computes: auto (a GPU if there is one), cpu, cuda, cuda:1, ...",
    None,
    "NAME",
    default="auto",
    group=OF_MACHINE,
)
@option(
    "--threads n_threads",
    "CPU threads of all candidates [those of torch].",
    COUNT,
    "N",
    group=OF_MACHINE,
)
@option("--quick", "Few short rounds, under a minute on two cores.")
@option(
    "--only",
    "Only these parts: steps, scans, streaming, memory, density, imports [all].",
    None,
    "PART,PART",
)
@option("--rounds n_rounds", "Turns of every candidate [15, with --quick 5].", COUNT, "N")
@option(
    "--clock",
    "cpu leaves out what other processes take; for one thread.",
    Choice(["wall", "cpu"]),
    default="wall",
)
@option("--full", "Train whole runs as well; on a CPU this takes hours.")
@settings_of("a setting of all presets, such as training.precision=bf16")
@DATA_DIR
@option(
    "--out",
    "Folder of bench.json and bench.png.",
    FOLDER,
    "DIR",
    default=Path("bench"),
    group=OF_RESULTS,
)
@prints_tables
def bench(only: str | None, out: Path, as_json: bool, quiet: bool, **given: Any) -> None:
    """Time training against the same model written by hand in PyTorch.

    All candidates take turns in one process: networks alone, the hand-written step, our step with
    every guide, traced and (not with --quick) compiled, and training with its log. Besides: the
    cost of a step over K, J, D, S, B, N, the rows of a file and J x K x D, memory, the
    full-covariance density, and imports.
    Instead of a preset, "table" is a small model of ten columns. Data that are not there are
    replaced by noise of their shape. The promises at the end are judged on the same run. bench.json
    is written after every part, so that Ctrl-C loses the one under way only. The benchmarks come
    with the source code: this needs a clone, installed with pip install -e.

    \b
    Examples:
      mfcvae bench --quick
      mfcvae bench mnist svhn --threads 1 --only steps
      mfcvae bench table shapes --threads 1 --clock cpu --only scans
      mfcvae bench svhn --device cuda --set training.precision=tf32
    """
    _find_benchmarks()
    from benchmarks import Request, run_bench
    from benchmarks.figure import bench_figure
    from benchmarks.show import show_record
    from pyro_mfcvae.cli.show import printer, show_json
    from pyro_mfcvae.figures import save_figure
    from pyro_mfcvae.files import write_whole

    request = Request(parts=split_commas(only), **given)
    request.check()
    out.mkdir(parents=True, exist_ok=True)  # rather now than after an hour of measuring
    screen, say = printer(as_json, quiet)

    def keep(record: dict[str, Any]) -> None:
        write_whole(out / "bench.json", json.dumps(record, indent=1) + "\n")

    record = run_bench(request, say, keep)
    written = ["bench.json"]
    if any("steps" in results or results.get("scans") for results in record["presets"].values()):
        save_figure(out / "bench.png", bench_figure(record))
        written.append("bench.png")
    if as_json:
        show_json(record)
    elif not quiet:
        show_record(screen, record)
        say_plainly(screen, f"results: {', '.join(str(out / name) for name in written)}")


def _find_benchmarks() -> None:
    """Let Python find the benchmarks, which are no part of the installed library."""
    if not _BENCHMARKS.is_dir():
        raise click.ClickException(
            "the benchmarks come with the source code, not with the installed library: clone its "
            "repository with git, and install that with pip install -e"
        )
    if (root := str(_BENCHMARKS.parent)) not in sys.path:
        sys.path.insert(0, root)
