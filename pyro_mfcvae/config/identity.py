"""Which settings make a run the same run: all but those that say that they change no result."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import PurePath
from typing import Any, get_type_hints

from pyro_mfcvae.config.options import leaves
from pyro_mfcvae.config.parts import SAME_RUN
from pyro_mfcvae.config.run import Config, config_to_dict


def identity(config: Config, defaults: bool = True) -> dict[str, Any]:
    """All settings that change what comes out of a run, by their dotted paths.

    Left out are those with the type ``SameRun``, and the folder of the data's files: a file may
    move, and the data have a fingerprint of their own.

    Args:
        config: the settings of a run.
        defaults: whether settings at their default are in it, too.
    """
    same = set(_same_run(config))
    settings = leaves(config_to_dict(config, defaults))
    return dict(
        _without_folder(path, value)
        for path, value in settings
        if path not in same and not (path.startswith("data.") and path.endswith(".data_dir"))
    )


def digest(config: Config) -> str:
    """Eight hexadecimal digits that tell a run's settings from others, whatever its seed.

    A setting that is new to the library leaves the digest as it was, as long as it has its default.
    """
    settings = {path: v for path, v in identity(config, defaults=False).items() if path != "seed"}
    text = json.dumps(settings, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()


def _same_run(part: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of the settings in this part that say that they change no result."""
    if isinstance(part, tuple):
        members = {str(i): member for i, member in enumerate(part)}
    elif is_dataclass(part):
        members = vars(part)
        yield from (f"{path}{name}" for name in marked_same_run(part.__class__))
    else:
        return
    for name, member in members.items():
        yield from _same_run(member, f"{path}{name}.")


@functools.cache
def marked_same_run(part: type) -> tuple[str, ...]:
    """The settings of a class that say that they change no result."""
    hints = get_type_hints(part, include_extras=True)
    return tuple(n for n, hint in hints.items() if SAME_RUN in getattr(hint, "__metadata__", ()))


def _without_folder(path: str, value: Any) -> tuple[str, Any]:
    is_file = path.startswith("data.") and path.endswith(".path")
    return path, PurePath(value).name if is_file and isinstance(value, str) else value
