"""What commands print: quickly, in any encoding, to be pasted, and without orders to a terminal."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from pyro_mfcvae.cli import main
from pyro_mfcvae.cli.options import again, command_line

HEAVY = "torch", "pyro", "sklearn", "matplotlib", "h5py"
HELP = f"""
import sys
from click.testing import CliRunner
from pyro_mfcvae.cli import main
from pyro_mfcvae.cli.intervene import intervene
names = [[name] for name in main.commands] + [["intervene", n] for n in intervene.commands]
for words in [[], *names]:
    result = CliRunner().invoke(main, [*words, "--help"])
    assert result.exit_code == 0, result.output
    print(words, [name for name in {HEAVY} if name in sys.modules])
"""


def test_help_of_every_command_imports_nothing_heavy():
    output = subprocess.check_output([sys.executable, "-c", HELP], text=True)
    lines = output.splitlines()
    assert len(lines) > len(main.commands)
    assert [line for line in lines if not line.endswith(" []")] == []


def _train(folder: Path, encoding: str, **arrays) -> subprocess.CompletedProcess[bytes]:
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("f4")
    np.savez(folder / "mine.npz", x=x, **arrays)
    settings = ["training.epochs_per_step=[1]", "model.encoder.options.backbone=4"]
    words = ["train", "--data", "mine.npz", "--facets", "2:2", "--out", "run"]
    words += [word for setting in settings for word in ("--set", setting)]
    return subprocess.run(
        [sys.executable, "-m", "pyro_mfcvae", *words],
        cwd=folder,
        env=os.environ | {"PYTHONIOENCODING": encoding},
        capture_output=True,
    )


def test_names_of_any_script_and_orders_to_the_terminal_are_printed_and_drawn(tmp_path):
    classes = np.array(["肝", "\x1b[2J"])[np.arange(60) % 2]
    done = _train(tmp_path, "ascii", **{"器官\x1b]0;title\x07": classes})
    assert done.returncode == 0, done.stderr
    printed = (done.stdout + done.stderr).decode("ascii")
    assert r"??\x1b]0;title" in printed
    assert "\x1b" not in printed
    assert "Warning" not in printed  # of matplotlib, for what its font lacks
    assert (tmp_path / "run/figures/confusion-facet-0.png").is_file()
    # The tables come before the drawing, which takes longer.
    assert printed.index("held-out") < printed.index("drawing")


@pytest.mark.parametrize("words", [["presets"], ["parts"], ["reproduce"]])
def test_a_pipe_that_closes_ends_a_command_quietly(words):
    done = subprocess.run(
        f"{shlex.join([sys.executable, '-m', 'pyro_mfcvae', *words])} | head -1",
        shell=True,
        capture_output=True,
        text=True,
    )
    assert len(done.stdout.splitlines()) == 1
    assert done.stderr == ""


def test_printed_commands_are_quoted():
    besides = again("my model.py:Own", "vade")
    line = command_line("train", "--resume", Path("my runs/it's May"), *besides)
    words = ["train", "--resume", "my runs/it's May", "--model", "my model.py:Own"]
    assert shlex.split(line) == ["mfcvae", *words]
    assert shlex.split(command_line("evaluate", Path("-x"))) == ["mfcvae", "evaluate", "./-x"]


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        ("presets mnist-fst", "mnist-fast"),
        ("train mnist-fst", "mnist-fast"),
        ("train --data shape", "shapes"),
        ("train --guide vad", "vade"),
        ("train --set training.learning_rat=1", "learning_rate"),
        ("train --set model.facets.0.covariance=ful", "full"),
        ("train --set model.likelihood.options.scal=1", "scale"),
        ("reproduce famly", "family"),
        ("parts guides", "guide"),
        ("pretrained mnis", "mnist"),
    ],
)
def test_near_misses_are_suggested(words, meant):
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code != 0
    assert f"did you mean '{meant}'?" in result.output
