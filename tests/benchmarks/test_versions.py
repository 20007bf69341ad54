"""What environments are made of, and how their tests are counted."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

from benchmarks.versions import TESTS, check_wheel, find_interpreter, lowest, outcomes, requirements

NEEDED = [
    "torch>=2.6",
    "numpy>=1.26",
    'onnx>=1.17; extra == "onnx"',
    'torch>=2.9; extra == "onnx"',
    'torch>=2.9; extra == "test"',
    'onnx>=1.17; extra == "test"',
    'ruff>=0.6; extra == "test"',
    'ray[tune]>=2.9; extra == "all"',
    'pytest>=8; extra == "test"',
]


def test_the_oldest_are_the_lower_bounds():
    assert lowest(NEEDED) == ["numpy==1.26", "pytest==8", "torch==2.6"]
    with pytest.raises(ValueError, match="torch<3"):
        lowest(["torch<3"])


def test_every_requirement_of_the_library_has_a_lower_bound():
    found = lowest(importlib.metadata.requires("pyro_mfcvae"))
    assert {"torch==2.6", "pytest==8", "pandas==2.2"} < set(found)


def test_the_core_s_tests_exist():
    assert [path for path in TESTS if not (ROOT / path).exists()] == []


def test_tests_are_counted_by_how_they_ended(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        """<testsuites><testsuite>
        <testcase classname="tests.a" name="good"/>
        <testcase classname="tests.a" name="bad"><failure message="no"/></testcase>
        <testcase classname="tests.b" name="worse"><error message="no"/></testcase>
        <testcase classname="tests.b" name="left"><skipped message="no"/></testcase>
        </testsuite></testsuites>"""
    )
    assert outcomes(report) == {
        "passed": 1,
        "failed": 2,
        "skipped": 1,
        "failures": ["tests.a::bad", "tests.b::worse"],
    }


def test_the_standard_library_is_all_that_it_needs():
    script = ROOT / "benchmarks" / "versions.py"
    done = subprocess.run([sys.executable, "-S", str(script), "--help"], capture_output=True)
    assert done.returncode == 0, done.stderr
    assert "benchmarks/versions.py" in (ROOT / ".ci" / "matrix").read_text()


def test_interpreters_are_found_by_number(tmp_path, monkeypatch):
    for version in ("3.11.9", "3.11.10", "3.1.12"):
        python = tmp_path / "versions" / version / "bin/python"
        python.parent.mkdir(parents=True)
        python.touch()
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    assert find_interpreter("3.11") == str(tmp_path / "versions/3.11.10/bin/python")
    assert find_interpreter("2.99") is None


@pytest.mark.parametrize(("code", "compiles"), [("x = 1\n", True), ("x = = 1\n", False)])
def test_a_wheel_is_compiled(code, compiles, tmp_path):
    wheel = tmp_path / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as files:
        files.writestr("a.py", code)
        files.writestr(
            "a-1.dist-info/METADATA",
            "Metadata-Version: 2.1\nName: a\nVersion: 1\nRequires-Dist: b>=2\n",
        )
        files.writestr(
            "a-1.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        files.writestr("a-1.dist-info/RECORD", "")
    assert requirements(wheel) == ["b>=2"]
    assert (check_wheel(wheel, sys.executable) == "is installed, and compiles") is compiles
