"""Whether the tests notice a fault: mutants of the mathematics, and the tests that run their lines.

    python -m benchmarks.mutation --gather priors inference --work mutants
    python -m benchmarks.mutation --work mutants --out mutation.json

The tests are collected once. Each mutant is put into a fork, in which the tests run that cover its
line, those of its own package and of fast files first, until one fails. ``--gather`` runs folders
of tests to learn which these are. A record that is there is gone on with; ``--again`` tries its
open survivors once more. Why the others make no difference is written by a person, and kept.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import multiprocessing
import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

from benchmarks.faults import LIBRARY, MUTATED, Codes, Mutant, draw, files
from pyro_mfcvae.files import write_whole
from pyro_mfcvae.runs.run import commit

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "pyro-ppl", "numpy", "pytest", "coverage")
OPEN = "open"
_FORKS = multiprocessing.get_context("fork")


class Gathering:
    """A plugin of pytest that tells coverage which test runs, and keeps how long each takes."""

    def __init__(self, measured: Any) -> None:
        self.measured = measured
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """What runs from here on is of this test."""
        self.measured.switch_context(nodeid)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Add the time of set-up, call and teardown."""
        self.seconds[report.nodeid] = self.seconds.get(report.nodeid, 0.0) + report.duration
        if report.failed:
            self.failed.add(report.nodeid)


class Session:
    """A plugin of pytest that collects tests, and hands them to a function that runs them."""

    def __init__(self, act: Any) -> None:
        self.act = act
        self.failed: list[str] = []

    def pytest_runtestloop(self, session: Any) -> bool:
        """Do what was given with the collected tests."""
        self.items = {item.nodeid: item for item in session.items}
        for path in files():
            importlib.import_module(f"pyro_mfcvae.{path.parent.name}.{path.stem}")
        self.functions: dict[Any, list[FunctionType]] = defaultdict(list)
        for function in gc.get_objects():
            if isinstance(function, FunctionType):
                self.functions[_place(function.__code__)].append(function)
        gc.freeze()  # the pages stay shared with the forks
        self.act(self)
        return True

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Keep the name of a test that fails."""
        if report.failed:
            self.failed.append(report.nodeid)

    def run(self, tests: Sequence[str], stops: bool = True) -> list[str]:
        """The tests that fail, or the first."""
        items = [self.items[test] for test in tests]
        items[0].config.pluginmanager.unregister(name="terminalreporter")
        for item, after in zip(items, [*items[1:], None], strict=True):
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=after)
            if self.failed and stops:
                break
        return self.failed


class Covering:
    """Which tests run a line, from what was gathered in a folder."""

    def __init__(self, work: Path) -> None:
        from coverage import CoverageData

        self.data = []
        self.seconds: dict[str, float] = {}
        self.failed: set[str] = set()
        for path in sorted(work.glob("*.json")):
            kept = json.loads(path.read_text())
            self.seconds |= kept["seconds"]
            self.failed |= set(kept["failed"])
            data = CoverageData(str(path.with_suffix(".coverage")))
            data.read()
            self.data.append(data)

    def tests(self, mutant: Mutant) -> list[str]:
        """Those that run the mutant's line, or where that is not known its function."""
        by_line = self._by_line(str(mutant.path))
        for first, last in (mutant.lines, mutant.function):
            found = set().union(*(by_line.get(line, ()) for line in range(first, last + 1)))
            if found:
                return self._sorted(found, f"tests/{mutant.path.parent.name}/")
        return []

    @lru_cache(maxsize=1)  # noqa: B019
    def _by_line(self, path: str) -> dict[int, set[str]]:
        by_line: dict[int, set[str]] = {}
        for data in self.data:
            for line, tests in data.contexts_by_lineno(path).items():
                by_line.setdefault(line, set()).update(set(tests) - {""} - self.failed)
        return by_line

    def _sorted(self, tests: set[str], own: str) -> list[str]:
        of_file: Counter[str] = Counter()
        for test in tests:
            of_file[test.partition("::")[0]] += self.seconds[test]

        def order(test: str) -> Any:
            file = test.partition("::")[0]
            return not file.startswith(own), of_file[file], file, self.seconds[test], test

        return sorted(tests, key=order)


def run_forked(seconds: float, target: Any, *arguments: Any) -> Any:
    """What a function returns in a fork, which is ended after so many seconds; then None."""
    here, there = _FORKS.Pipe(duplex=False)
    process = _FORKS.Process(target=_answer, args=(there, target, arguments))
    process.start()
    there.close()
    answer = None
    if here.poll(seconds):
        try:
            answer = here.recv()
        except EOFError:
            answer = ["the process died"]
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)  # what it started as well
    process.join()
    return answer


def _answer(there: Any, target: Any, arguments: Any) -> None:
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
    there.send(target(*arguments))


def _pytest(arguments: Sequence[str], plugin: Any) -> None:
    import pytest

    options = ["-p", "no:xdist", "-p", "no:cacheprovider", "-q", "--hypothesis-seed=0", "--tb=no"]
    pytest.main([*options, *arguments], plugins=[plugin])


def gather(folder: str, work: Path) -> bool:
    """Run the tests of a folder or file of ``tests/``, and keep what they cover and how long."""
    from coverage import Coverage

    name = work / folder.replace("/", "-")
    measured = Coverage(f"{name}.coverage", branch=True, source=[str(LIBRARY)], config_file=False)
    plugin = Gathering(measured)
    measured.start()
    _pytest([f"tests/{folder}"], plugin)
    measured.stop()
    measured.save()
    kept = {"seconds": plugin.seconds, "failed": sorted(plugin.failed)}
    Path(f"{name}.json").write_text(json.dumps(kept))
    return True


def try_tests(session: Session, tests: Sequence[str], codes: Codes) -> list[str]:
    """Change the functions, and run the tests until one fails; all of them if nothing changes."""
    for old, new in codes:
        for function in session.functions.get(_place(old), ()):
            function.__code__ = new
    return session.run(tests, stops=bool(codes))


def _place(code: CodeType) -> tuple[str, str, int]:
    return code.co_filename, code.co_qualname, code.co_firstlineno


def judge(mutant: Mutant, session: Session, covering: Covering, most: float) -> tuple[str, int]:
    """The test that kills a mutant, or nothing, and how many ran for it.

    Args:
        mutant: the mutant.
        session: with the tests.
        covering: what was gathered.
        most: seconds that the tests may take by what was gathered.
    """
    total, chosen = 0.0, []
    for test in filter(session.items.__contains__, covering.tests(mutant)):
        total += covering.seconds[test]
        if chosen and total > most:
            break
        chosen.append(test)
    limit = 60 + 6 * sum(covering.seconds[test] for test in chosen)
    failed = run_forked(limit, try_tests, session, chosen, mutant.codes()) if chosen else []
    return "time limit" if failed is None else "".join(failed[:1]), len(chosen)


def write(record: dict[str, Any], out: Path) -> None:
    """Count anew, and write the file in one step."""
    counts: dict[str, Counter[str]] = {}
    for kind in ("killed", "survivors"):
        for name in record[kind]:
            counts.setdefault(name.partition("/")[0], Counter())[kind] += 1
    record["packages"] = {name: dict(count) for name, count in counts.items()}
    n_killed = len(record["killed"])
    record["n_mutants"] = n_killed + len(record["survivors"])
    record["percent_killed"] = round(100 * n_killed / max(record["n_mutants"], 1), 1)
    write_whole(out, json.dumps(record, indent=1) + "\n")


def try_mutants(session: Session, asked: argparse.Namespace) -> None:
    """Try those of the packages asked for that have no result yet, and say where it stands."""
    record: dict[str, Any] = {"killed": {}, "survivors": {}}
    if asked.out.exists():
        record = json.loads(asked.out.read_text())
    record["command"] = (
        f"python -m benchmarks.mutation --mutants {asked.mutants} --seed {asked.seed}"
    )
    record["seed"] = asked.seed
    record["versions"] = {name: version(name) for name in PACKAGES}
    record["commit"] = commit()
    record["gathered"] = sorted(path.stem for path in asked.work.glob("*.json"))
    killed, survivors, covering = record["killed"], record["survivors"], Covering(asked.work)
    for mutant in draw(asked.mutants, asked.seed):
        name = mutant.name
        is_open = name not in survivors or (asked.again and survivors[name]["reason"] == OPEN)
        if name in killed or not is_open or mutant.path.parent.name not in asked.only:
            continue
        began = time.monotonic()
        killer, n_tests = judge(mutant, session, covering, asked.most)
        if killer:
            killed[name] = killer
            survivors.pop(name, None)
        else:
            reason = survivors.get(name, {}).get("reason", OPEN)
            survivors[name] = {"n_tests": n_tests, "reason": reason}
        write(record, asked.out)
        print(f"{time.monotonic() - began:5.1f} s  {killer or 'SURVIVED'}  {name}", flush=True)
    some = sorted({*killed.values()} & {*session.items})
    sound = run_forked(3600, try_tests, session, some, [])
    print(f"{record['percent_killed']} % of {record['n_mutants']}; fail without a mutant: {sound}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of what is gathered")
    parser.add_argument("--gather", nargs="+", default=[], metavar="FOLDER", help="of tests/")
    parser.add_argument("--mutants", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(MUTATED), choices=MUTATED)
    parser.add_argument("--most", type=float, default=60, help="seconds of tests for a mutant")
    parser.add_argument("--again", action="store_true", help="try open survivors once more")
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args()
    os.chdir(ROOT)
    asked.work.mkdir(exist_ok=True)
    for folder in asked.gather:
        began = time.monotonic()
        run_forked(3600, gather, folder, asked.work)
        print(f"{folder}: {time.monotonic() - began:.0f} s", flush=True)
    if asked.out is not None:
        covered = {test.partition("::")[0] for test in Covering(asked.work).seconds}
        _pytest(["-s", *sorted(covered)], Session(lambda session: try_mutants(session, asked)))


if __name__ == "__main__":
    main()
