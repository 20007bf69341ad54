"""Files of a run: only regular ones are read, and nobody meets half of one."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from recorded import recorded

from pyro_mfcvae.errors import RunError
from pyro_mfcvae.files import (
    making,
    open_regular,
    own_folder,
    read_json,
    read_regular,
    remove,
    remove_leftovers,
    write_whole,
)


@pytest.mark.parametrize("kind", ["link", "dangling", "folder", "pipe", "device"])
def test_what_is_no_regular_file_is_not_opened(tmp_path, kind):
    path = tmp_path / "evaluation.json"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        target = {"link": tmp_path / "there", "dangling": tmp_path / "not", "device": "/dev/zero"}
        (tmp_path / "there").write_text("{}")
        path.symlink_to(target[kind])
    with pytest.raises(RunError, match=r"evaluation\.json"):
        open_regular(path)


@pytest.mark.skipif(not hasattr(os, "O_NOFOLLOW"), reason="the system opens links only")
@pytest.mark.parametrize("kind", ["link", "pipe", "folder"])
def test_what_takes_a_file_s_place_before_it_is_opened(tmp_path, kind, monkeypatch):
    path, file = tmp_path / "evaluation.json", tmp_path / "there"
    file.write_text("{}")
    seen = file.lstat()
    monkeypatch.setattr("pathlib.Path.lstat", lambda _: seen)
    assert open_regular(file).read() == b"{}"
    {"link": lambda: path.symlink_to(file), "pipe": lambda: os.mkfifo(path), "folder": path.mkdir}[
        kind
    ]()
    with pytest.raises(RunError, match=r"evaluation\.json"):
        open_regular(path)


def test_a_file_that_is_too_large_is_not_read(tmp_path):
    path = tmp_path / "evaluation.json"
    with path.open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(RunError, match="bytes"):
        read_regular(path)


@pytest.mark.parametrize("content", ["[" * 100_000, "9" * 5000, "{", "", "\0"])
def test_damaged_json_is_named(tmp_path, content):
    path = tmp_path / "timings.json"
    path.write_text(content)
    with pytest.raises(RunError, match=r"timings\.json"):
        read_json(path, lambda values: values)
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "nothing.json", lambda values: values)


def test_a_folder_that_is_a_link_is_not_ones_own(tmp_path):
    assert own_folder(tmp_path / "figures") == tmp_path / "figures"
    (tmp_path / "figures").symlink_to(tmp_path)
    with pytest.raises(RunError, match="figures"):
        own_folder(tmp_path / "figures")


def test_nothing_is_written_through_links(tmp_path):
    precious, path = tmp_path / "precious", tmp_path / "curves.png"
    precious.write_text("mine")
    path.symlink_to(precious)
    (tmp_path / f".curves.png-{os.getpid()}").symlink_to(precious)
    write_whole(path, b"new")
    assert precious.read_text() == "mine"
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()


def test_a_full_disk_is_told_of_with_the_file_s_name(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    path = tmp_path / "evaluation.json"
    path.write_text("before")
    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match=r"No space left .*/evaluation\.json"):
        write_whole(path, "after")
    assert [entry.name for entry in tmp_path.iterdir()] == ["evaluation.json"]
    assert path.read_text() == "before"


def test_what_is_written_is_on_the_disk_before_it_has_its_name(tmp_path, monkeypatch):
    calls = recorded(monkeypatch)
    write_whole(tmp_path / "evaluation.json", "new")
    new = f".evaluation.json-{os.getpid()}"
    assert calls == [("fsync", new), ("rename", new), ("fsync", tmp_path.name)]
    calls.clear()
    with making(tmp_path / "runs/copy") as folder:
        (folder / "inside").mkdir()
        (folder / "inside/file").write_text("")
    new = f".copy-{os.getpid()}"
    assert sorted(calls[:3]) == [("fsync", new), ("fsync", "file"), ("fsync", "inside")]
    assert calls[3:] == [("rename", new), ("fsync", "runs"), ("fsync", tmp_path.name)]


def test_a_folder_that_is_not_filled_leaves_nothing(tmp_path):
    def fill():
        with making(tmp_path / "copy") as folder:
            (folder / "file").write_text("")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fill()
    assert not list(tmp_path.iterdir())


def test_a_killed_process_s_part_goes_and_a_living_one_s_stays(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    parts = [tmp_path / f".table.md-{n}" for n in (gone.pid, os.getppid())]
    for part in parts:
        part.write_text("half")
    write_whole(tmp_path / "table.md", "whole")
    assert sorted(tmp_path.iterdir()) == [parts[1], tmp_path / "table.md"]


def test_leftovers_of_killed_processes_are_removed_and_nothing_else(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    (home / "photo").write_text("precious")
    folder = tmp_path / "run"
    folder.mkdir()
    for name in (".evaluation.json-12", ".curves.png-7", "notes-12", ".venv-3", ".lock"):
        (folder / name).write_text("")
    (folder / ".00000008-99").mkdir()
    (folder / ".00000008-99/state.json").write_text("")
    (folder / ".00000006-99").symlink_to(home)
    remove_leftovers(folder)
    assert {path.name for path in folder.iterdir()} == {"notes-12", ".venv-3", ".lock"}
    assert (home / "photo").read_text() == "precious"
    remove_leftovers(tmp_path / "nowhere")


def test_a_folder_is_renamed_before_it_is_removed(tmp_path, monkeypatch):
    path = tmp_path / "00000008"
    path.mkdir()
    (path / "state.json").write_text(json.dumps({}))
    monkeypatch.setattr("shutil.rmtree", lambda folder: None)  # killed here
    remove(path)
    assert not path.exists()
    assert [entry.name for entry in tmp_path.iterdir()] == [f".00000008-{os.getpid()}"]
