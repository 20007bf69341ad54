"""Whether the core works with the oldest and the newest of what it needs, on several Pythons.

    python benchmarks/versions.py --out versions.json

Each environment is made, tested and deleted in turn: the last commit is installed there and
``TESTS`` run. An interpreter that is missing, or has no packages, is passed over: the wheel is then
compiled and its metadata are read. Where pip-audit reaches what it needs, it looks
``constraints.txt`` through. It is run as a file and needs the standard library and pip only: the
package around it imports torch.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
import zipfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email import message_from_bytes
from email.message import Message
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
TESTS = (
    "tests/config",
    "tests/priors",
    "tests/inference",
    "tests/guides",
    "tests/nets",
    "tests/models",
    "tests/data/test_data_files.py",
    "tests/data/test_data_hdf5.py",
    "tests/data/test_data_tables.py",
    "tests/training/test_training.py",
    "tests/runs/test_run_folders.py",
    "tests/evaluation/test_evaluation.py",
    "tests/figures/test_points.py",
    "tests/estimators/test_clustering.py",
    "tests/estimators/test_frames.py",
)
"""What the core is: from settings and mathematics to runs and estimators."""


@dataclass(frozen=True)
class Environment:
    """An interpreter, and whether the packages are the oldest that setup.py allows."""

    python: str
    oldest: bool = False


ENVIRONMENTS = {
    "oldest": Environment("3.11", oldest=True),
    "newest": Environment("3.11"),
    "newest-3.12": Environment("3.12"),
    "newest-3.13": Environment("3.13"),
}
_NEWER = "onnx"  # an extra that needs a newer torch than the core
_TOOLS = ("import-linter", "mypy", "ruff")  # run no test
_DEPRECATIONS = ("DeprecationWarning", "FutureWarning")  # of old versions say nothing of ours
_SHOWN = ("pandas", "polars", "pyarrow", "pytest")  # beside what the core needs


def run_all(
    names: Sequence[str], tests: Sequence[str], kept: Path | None, work: Path
) -> dict[str, Any]:
    """Test environments in turn.

    Args:
        names: in ``ENVIRONMENTS``.
        tests: paths.
        kept: folder of environments that are taken where they are there, and stay; None deletes
            each.
        work: an empty folder.

    Returns:
        what became of each environment, and of the audit.
    """
    source = work / "source"
    source.mkdir()
    archive = subprocess.run(["git", "archive", "HEAD"], cwd=ROOT, check=True, capture_output=True)
    subprocess.run(["tar", "x"], cwd=source, input=archive.stdout, check=True)
    _run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", work, source])
    (wheel,) = work.glob("*.whl")
    found = {}
    for name in names:
        folder = (kept or work) / name
        print(f"{name}: Python {ENVIRONMENTS[name].python}", flush=True)
        found[name] = test_environment(ENVIRONMENTS[name], folder, source, wheel, tests)
        print(json.dumps(found[name], indent=1), flush=True)
        if kept is None:
            shutil.rmtree(folder, ignore_errors=True)
    return {"tests": list(tests), "environments": found, "audit": audit(work / "audit")}


def test_environment(
    environment: Environment, folder: Path, source: Path, wheel: Path, tests: Sequence[str]
) -> dict[str, Any]:
    """Make an environment, install the library there and test it.

    Args:
        environment: which.
        folder: of it; one that exists is taken as it is.
        source: of the library.
        wheel: made of it.
        tests: paths in the source.

    Returns:
        versions, numbers of tests by outcome, and names of those that failed; or the reason why
        there are none, and what became of the wheel.
    """
    interpreter = find_interpreter(environment.python)
    if interpreter is None:
        reason = f"no interpreter of Python {environment.python}"
        return {"not_tested": reason, "wheel": check_wheel(wheel, sys.executable)}
    python = folder / "bin/python"
    if not python.exists():
        _run([interpreter, "-m", "venv", folder])
    asked = lowest(requirements(wheel)) if environment.oldest else [f"{source}[test]"]
    installed = [_run([python, "-m", "pip", "install", "-q", *asked], check=False)]
    installed.append(
        _run([python, "-m", "pip", "install", "-q", "--no-deps", "-e", source], check=False)
    )
    for done in installed:
        if done.returncode:
            reason = f"cannot be installed: {done.stderr.strip().splitlines()[-1]}"
            return {"not_tested": reason, "wheel": check_wheel(wheel, interpreter)}
    report = folder / "report.xml"
    report.unlink(missing_ok=True)
    own = [f"-W=ignore::{name}" for name in _DEPRECATIONS] if environment.oldest else []
    began = time.monotonic()
    words = [python, "-m", "pytest", "-q", f"--junitxml={report}", *own, *tests]
    subprocess.run(words, cwd=source, env=_environment())
    if not report.exists():
        return {"not_tested": "pytest ended early", "wheel": check_wheel(wheel, interpreter)}
    return {
        **versions(python, requirements(wheel)),
        **outcomes(report),
        "seconds": round(time.monotonic() - began),
    }


def find_interpreter(version: str) -> str | None:
    """The newest interpreter of a Python version, of pyenv or on the path."""
    home = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    own = sorted(home.glob(f"versions/{version}.*/bin/python"), key=_by_numbers)
    return str(own[-1]) if own else shutil.which(f"python{version}")


def _by_numbers(path: Path) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", path.parts[-3])]


def requirements(wheel: Path) -> list[str]:
    """What a wheel says that it needs."""
    return _metadata(wheel).get_all("Requires-Dist", [])


def _metadata(wheel: Path) -> Message:
    with zipfile.ZipFile(wheel) as files:
        (name,) = (n for n in files.namelist() if n.endswith(".dist-info/METADATA"))
        return message_from_bytes(files.read(name))


def lowest(needed: Iterable[str]) -> list[str]:
    """The lower bounds of what the core and its tests need, as exact versions.

    Args:
        needed: such as ``torch>=2.6`` and ``pandas>=2.2; extra == "test"``.

    Returns:
        ``name==version`` by name, without packages that need a newer torch or run no test.
    """
    packages: dict[str, dict[str, str]] = {}
    for line in needed:
        name, bound, extra = _parsed(line)
        packages.setdefault(extra, {})[name] = bound
    left_out = {*_TOOLS, *packages.get(_NEWER, {})}
    tests = {name: bound for name, bound in packages["test"].items() if name not in left_out}
    return [f"{name}=={bound}" for name, bound in sorted((tests | packages[""]).items())]


def _parsed(requirement: str) -> tuple[str, str, str]:
    """Name, lower bound and extra, which is empty for the core."""
    found = re.fullmatch(r"([\w.-]+)(?:\[.*\])?>=([\w.]+)(?:; extra == .([\w-]+).)?", requirement)
    if found is None:
        raise ValueError(f"expected NAME>=VERSION, got {requirement}")
    return found[1], found[2], found[3] or ""


def check_wheel(wheel: Path, interpreter: str | Path) -> str:
    """Compile a wheel with an interpreter and install its metadata."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-m", "pip", "install", "-q", "--no-deps", "--target", folder, wheel]
        for step in (words, ["-m", "compileall", "-q", folder]):
            done = _run([interpreter, *step], check=False)
            if done.returncode:
                return f"{step[1]} fails: {(done.stdout + done.stderr).strip()}"
    return "is installed, and compiles"


def versions(python: Path, needed: Iterable[str]) -> dict[str, Any]:
    """Versions of an environment's Python and of the packages that count."""
    listed = json.loads(_run([python, "-m", "pip", "list", "--format", "json"]).stdout)
    have = {re.sub("_", "-", entry["name"]).lower(): entry["version"] for entry in listed}
    core = [name for name, _, extra in map(_parsed, needed) if not extra]
    shown = sorted(re.sub("_", "-", name).lower() for name in (*core, *_SHOWN))
    number = _run([python, "-c", "import platform; print(platform.python_version())"]).stdout
    return {
        "python": number.strip(),
        "packages": {name: have[name] for name in shown if name in have},
    }


def outcomes(report: Path) -> dict[str, Any]:
    """Numbers of tests by outcome in a report of pytest's, and which failed."""
    cases = list(ET.parse(report).iter("testcase"))
    bad = [
        case for case in cases if case.find("failure") is not None or case.find("error") is not None
    ]
    skipped = [case for case in cases if case.find("skipped") is not None]
    return {
        "passed": len(cases) - len(bad) - len(skipped),
        "failed": len(bad),
        "skipped": len(skipped),
        "failures": [f"{case.get('classname')}::{case.get('name')}" for case in bad],
    }


def audit(folder: Path) -> dict[str, Any]:
    """What pip-audit says of ``constraints.txt``, or why it cannot.

    Args:
        folder: a new one, for its environment.
    """
    _run([sys.executable, "-m", "venv", folder])
    done = _run([folder / "bin/pip", "install", "-q", "pip-audit"], check=False)
    if done.returncode:
        return {"not_done": "pip-audit cannot be installed"}
    pinned = (ROOT / "constraints.txt").read_text().split()
    one = folder / "one.txt"
    one.write_text(f"{pinned[0]}\n")
    # One question shows whether there is an answer.
    for path in (one, ROOT / "constraints.txt"):
        words = ["-r", path, "--no-deps", "--disable-pip", "--format", "json"]
        done = _run([folder / "bin/pip-audit", *words], check=False)
        if not done.stdout.strip():
            return {"not_done": "its source of advisories cannot be reached"}
        found = json.loads(done.stdout)["dependencies"]
        if unknown := [package for package in found if "skip_reason" in package]:
            return {"not_done": unknown[0]["skip_reason"]}
    return {"packages": len(found), "vulnerable": [p for p in found if p["vulns"]]}


def _run(
    words: Sequence[str | Path], cwd: Path | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(words, cwd=cwd, env=_environment(), text=True, capture_output=True)
    if check and done.returncode:
        sys.exit(f"{' '.join(map(str, words))} failed:\n{done.stdout}{done.stderr}")
    return done


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "environments", nargs="*", metavar="ENVIRONMENT", help=", ".join(ENVIRONMENTS)
    )
    parser.add_argument("--tests", nargs="+", default=TESTS, help="paths")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="of environments")
    parser.add_argument("--out", type=Path, help="a JSON file")
    asked = parser.parse_args()
    commit = _run(["git", "rev-parse", "HEAD"], ROOT).stdout.strip()
    kept = asked.keep and asked.keep.resolve()
    with tempfile.TemporaryDirectory() as work:
        found = run_all(asked.environments or list(ENVIRONMENTS), asked.tests, kept, Path(work))
    date = datetime.now(UTC).date().isoformat()
    command = f"python benchmarks/versions.py {' '.join(asked.environments)}".strip()
    record = {"command": command, "commit": commit, "date": date, **found}
    if asked.out:
        asked.out.write_text(json.dumps(record, indent=1) + "\n")
    failed = [name for name, result in found["environments"].items() if result.get("failed")]
    if failed or found["audit"].get("vulnerable"):
        sys.exit(f"failed: {', '.join(failed) or 'the audit'}")


if __name__ == "__main__":
    main()
