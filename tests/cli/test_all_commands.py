"""What holds for every command, read off the tree of commands."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest
from command_line import mfcvae
from models import tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import config_to_dict
from pyro_mfcvae.studies.papers import EXPERIMENTS

WITHOUT_TABLES = {"explore", "export", "figures", "import", "report"}  # they print paths
NAMES = ("preset", "presets", "model", "guide", "data", "run", "runs", "resumed", "names")
MANY = 8  # options, which want headings
WITHOUT_DEFAULT = {"copy_to", "importance_weighted_bound", "onnx", "hub", "folder", "resumed"}


def commands(group=main, path=()):
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = dict(commands())


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def options(command):
    return {name for param in command.params for name in param.opts}


def test_whatever_prints_tables_prints_json_or_nothing():
    assert len(COMMANDS) > 20
    for path, command in COMMANDS.items():
        prints_tables = {"--json", "--quiet"} <= options(command)
        assert prints_tables == (path[0] not in {*WITHOUT_TABLES, "intervene"}), path


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_help_says_what_everything_is_and_what_holds_without_it(path):
    for param in COMMANDS[path].params:
        assert param.help, param.name
        if not (param.required or getattr(param, "is_flag", False) or param.multiple):
            told = param.help + " [default]" * (param.to_info_dict()["default"] is not None)
            assert "[" in told or param.name in WITHOUT_DEFAULT, (param.name, param.help)


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_names_are_completed(path):
    Path("runs/mine-001").mkdir(parents=True)
    Path("runs/mine-001/config.json").touch()
    command = COMMANDS[path]
    for param in command.params:
        if param.metavar == "FILE.py:Name" or not (
            param.name in NAMES or (path, param.name) == (("pretrained",), "name")
        ):
            continue
        if isinstance(param.type, click.types.IntParamType):
            continue  # a number of runs
        found = param.shell_complete(click.Context(command), "")
        assert any(item.type == "plain" for item in found), param.name


def test_many_options_stand_under_headings():
    for path, command in COMMANDS.items():
        n = sum(isinstance(param, click.Option) for param in command.params)
        text = mfcvae(*path, "--help").output
        headings = [line for line in text.splitlines() if line[:1].isalpha() and line[-1] == ":"]
        assert headings.count("Options:") == 1
        assert n <= MANY or path[0] == "intervene" or len(headings) > 2, path


@pytest.mark.parametrize(("command", "when"), [("train", "trains first"), ("fit", "together")])
def test_which_facet_trains_first_is_said_in_words(command, when):
    (facets,) = (param for param in COMMANDS[command,].params if "--facets" in param.opts)
    assert when in facets.help


def test_a_word_that_is_nearly_one_of_several():
    assert "did you mean 'local'" in mfcvae("sweep", "--engine", "loca", status=2).stderr


def test_training_prints_json_or_nothing():
    config = config_to_dict(tiny_config())
    Path("tiny.json").write_text(json.dumps(config))
    (printed,) = json.loads(mfcvae("train", "--config", "tiny.json", "--json").stdout)
    written = json.loads((Path(printed["run"]) / "evaluation.json").read_text())
    assert printed["evaluation"] == written
    assert mfcvae("train", "--config", "tiny.json", "-q").output == ""
    both = mfcvae("train", "--config", "tiny.json", "--runs", "2", "--json").stdout
    assert len({each["run"] for each in json.loads(both)}) == 2


def test_sweeps_print_json():
    spec = {"base": config_to_dict(tiny_config()), "seeds": [0, 1]}
    Path("base.json").write_text(json.dumps(spec.pop("base")))
    Path("sweep.json").write_text(json.dumps(spec | {"base": "base.json"}))
    trials = json.loads(mfcvae("sweep", "sweep.json", "--dry-run", "--json").stdout)
    assert [trial["seed"] for trial in trials] == ["0", "1"]
    assert mfcvae("sweep", "sweep.json", "--dry-run", "-q").output == ""
    printed = json.loads(mfcvae("sweep", "sweep.json", "--json").stdout)
    assert printed == json.loads(Path("sweeps/sweep/sweep.json").read_text())


def test_lists_print_json_or_names():
    for command, known in (("reproduce", EXPERIMENTS), ("pretrained", ["mnist"])):
        assert set(json.loads(mfcvae(command, "--json").stdout)) == set(known)
        assert set(mfcvae(command, "-q").stdout.splitlines()) == set(known)
