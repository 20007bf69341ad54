"""Damaged and hostile files end in a documented error or are read."""

from __future__ import annotations

import os
import time
import zlib

import pytest

from benchmarks import fuzz
from benchmarks.readers import READERS, Reader


@pytest.mark.parametrize("n_mutants", [20, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", READERS)
def test_mutants_are_refused_or_read(name, n_mutants, tmp_path):
    found = fuzz.fuzz(READERS[name], n_mutants, 0, tmp_path / name)
    assert found["findings"] == {}
    assert set(found["ended"]) == {"refused", "valid"}
    assert sum(found["ended"].values()) == n_mutants


def make_numbers(folder):
    return [{"my.bin": bytes(range(100))}]


def read_badly(path):
    content = (path / "my.bin").read_bytes()
    if content != bytes(range(100)):
        how = zlib.crc32(content) % 5
        if how == 0:
            return {}[0]
        if how == 1:
            os._exit(1)
        elif how == 2:
            time.sleep(60)
        elif how == 3:
            return bool(b"x" * 2**29)
        else:
            (path.parent / "outside").write_text("")
    return True


def test_what_is_neither_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(fuzz, "SECONDS", 1)
    found = fuzz.fuzz(Reader(make_numbers, read_badly), 12, 0, tmp_path / "badly")
    kinds = {how.partition(" ")[0].rstrip(":") for how in found["findings"]}
    assert kinds == {"KeyError", "crash", "hang", "memory", "touched"}
