"""Whether growth is seen, and whether a long run has any."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from models import tiny_config

from benchmarks.soak import MOST, USES, growth, soak
from pyro_mfcvae.config import config_to_dict, override
from pyro_mfcvae.training import Callback


def test_the_last_quarter_is_held_against_the_second():
    assert growth([1, 50, 100, 90, 0, 200, 100, 101]) == pytest.approx(0.01)
    assert growth([9, 8, 8, 8, 8, 8, 8, 8]) == 0
    assert growth(range(100, 180)) == pytest.approx(179 / 139 - 1)


class Leaky(Callback):
    """Leaves a handle and a file at every step."""

    def __init__(self, folder):
        self.folder = folder
        self.handles = []

    def on_step(self, state):
        path = self.folder / f"{state.step}.bin"
        path.write_bytes(b"0" * 10_000)
        self.handles.append(os.open(path, os.O_RDONLY))


@pytest.mark.parametrize("leaks", [False, True])
def test_what_is_left_behind_is_seen(leaks, tmp_path):
    leaky = Leaky(tmp_path / "soak")
    found = soak(tiny_config(), tmp_path / "soak", 1000, 1, [leaky] * leaks)
    for handle in leaky.handles:
        os.close(handle)
    assert (found["n_steps"], len(found["uses"]), found["n_drawn"]) == (24, 24, 0)
    grown = {name for name in ("handles", "files", "disk") if found["growth"][name] > MOST}
    assert grown == ({"handles", "files", "disk"} if leaks else set())
    assert found["uses"][-1]["log"] > 0


@pytest.mark.slow
def test_a_long_run_does_not_grow(tmp_path):
    config = override(tiny_config(), ["training.epochs_per_step=[100,401]"])
    given = config_to_dict(override(config, ["training.evaluate_every=20"]))
    settings = [f"{part}={json.dumps(given[part])}" for part in ("data", "model", "training")]
    words = [word for setting in settings for word in ("--set", setting)]
    out = tmp_path / "soak.json"
    every = ["--draw-every", "100", "--look-every", "20", "--out", str(out)]
    command = [sys.executable, "-m", "benchmarks.soak", *words, *every]
    done = subprocess.run(command, text=True, capture_output=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(out.read_text())
    assert found["n_steps"] == 2000
    assert found["n_drawn"] == 20
    assert max(found["growth"][name] for name in USES) <= MOST
