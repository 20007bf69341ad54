"""Where a run comes from: its settings, command, versions and machine."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import Any

from pyro_mfcvae.config import Config, config_to_dict
from pyro_mfcvae.config.options import leaves
from pyro_mfcvae.presets import PRESETS
from pyro_mfcvae.report.facts import Facts
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.tables import Table, make_table
from pyro_mfcvae.training.callbacks import read_timings


def settings_table(config: Config) -> Table:
    """Every setting by its dotted path, beside the preset's where that differs."""
    own = settings_as_text(config_to_dict(config))
    preset = PRESETS.get(config.preset or "")
    theirs = settings_as_text(config_to_dict(preset.config)) if preset else own
    if own == theirs:
        caption = "Settings by their dotted paths"
        if preset:
            caption += f"; all are those of the preset {preset.name}"
        return make_table(caption, ["setting", "value"], own.items(), is_text=True)
    rows = [
        [
            name,
            own.get(name, "–"),
            "" if own.get(name) == theirs.get(name) else theirs.get(name, "–"),
        ]
        for name in dict.fromkeys([*own, *theirs])
    ]
    caption = (
        f"Settings by their dotted paths, beside those of the preset {config.preset} that differ"
    )
    return make_table(caption, ["setting", "value", "in the preset"], rows, is_text=True)


def origin_table(facts: Facts) -> Table:
    """Where the run comes from: command, seed, data, versions, machine."""
    rows: list[list[str]] = [
        ["folder", str(facts.run.path.resolve())],
        ["seed", str(facts.run.config.seed)],
        ["data", facts.run.config.data.name],
        ["fingerprint of the data", facts.data or "not recorded"],
    ]
    recorded = dict(facts.environment)
    if "command" in recorded:
        rows.insert(0, ["command", command(recorded.pop("command"))])
    rows.append(["training time", _training_time(facts.run)])
    for name, value in settings_as_text(recorded).items():
        rows.append([name.removeprefix("packages.").replace("_", " "), value])
    return make_table("Origin of this run", ["", "value"], rows, is_text=True)


def _training_time(run: Run) -> str:
    seconds = run.training_seconds()
    if seconds is None:
        return "not recorded"
    stretches = read_timings(run.timings_path)
    on = ", ".join(dict.fromkeys(f"{s.device}, {s.n_threads} threads" for s in stretches))
    return f"{seconds:.0f} s, {1000 * seconds / run.step():.1f} ms a step, on {on}"


def command(arguments: Any) -> str:
    """A command as it was typed."""
    if not isinstance(arguments, list) or not arguments:
        return str(arguments)
    words = [str(argument) for argument in arguments]
    return shlex.join([PurePath(words[0]).name, *words[1:]])


def settings_as_text(values: Any) -> dict[str, str]:
    """Plain settings by their dotted paths, as text."""
    return {path: _as_text(value) for path, value in leaves(values)}


def _as_text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_as_text, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "–" if value is None else str(value)


def how_to_repeat(facts: Facts) -> str:
    """Python that trains a run again from its settings."""
    files = _own_files(facts)
    names = ", ".join(["Run", *(f"load_{kind}_file" for kind in files)])
    loaded = "".join(f"load_{kind}_file({text!r})\n" for kind, text in files.items())
    return (
        f"from pyro_mfcvae import {names}\n"
        f"from pyro_mfcvae.runs.train import train\n\n{loaded}"
        f"run, state, dataset = train(Run({str(facts.run.path)!r}).config)"
    )


def how_to_measure(facts: Facts) -> str:
    """Commands that measure and draw a run again."""
    own = [word for kind, text in _own_files(facts).items() for word in (f"--{kind}", text)]
    return "\n".join(
        shlex.join(["mfcvae", name, str(facts.run.path), *own])
        for name in ("evaluate", "figures", "report")
    )


def _own_files(facts: Facts) -> dict[str, str]:
    """How files of one's own model and guide are named, if any; where they lie by now is open."""
    config = facts.run.config
    return {
        kind: part.source.named(part.name)
        for kind, part in (("model", config.model), ("guide", config.guide))
        if part.source is not None
    }
