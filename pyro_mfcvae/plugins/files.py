"""Code of a person's own: ``path/to/file.py:Name`` and ``package.module:Name``.

Settings record a file's path and checksum. Code is imported only where a person, or the process
that they started, names it; never because settings do.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from typing_extensions import override

from pyro_mfcvae.config import ModelSource
from pyro_mfcvae.errors import ConfigError
from pyro_mfcvae.registry import Registry, Taken, take_back

Files = Mapping[tuple[str, str], ModelSource]

_PREFIX = "mfcvae_file_"  # of modules' names


@dataclass(frozen=True, eq=False)
class Kind:
    """What a class in a file is for."""

    name: str  # such as ``"guide"``
    base: type  # what the class inherits
    made_of: tuple[str, ...]  # arguments that it is made of
    has_options: bool  # whether it may need further ones
    registry: Registry[Any]  # of the classes that need no file
    is_named: bool  # whether a loaded class is known there, too, by its own name

    def has(self, value: object) -> bool:
        """Whether a value is such a class."""
        return inspect.isclass(value) and issubclass(value, self.base) and value is not self.base


@dataclass(frozen=True, eq=False)
class Loaded:
    """A class that was loaded."""

    source: ModelSource  # its file
    part: type  # the class


_LOADED: dict[tuple[str, str], Loaded] = {}


def load(text: str, kind: Kind) -> Loaded:
    """Import a file or module, and make one of its classes known.

    A file is imported once, and anew after a change, which replaces everything that it registered
    before. If that fails, everything stays as it was. Files that hold the same are one module.

    Args:
        text: ``path/to/file.py:Name`` or ``package.module:Name``.
        kind: of the class.

    Raises:
        ConfigError: if there is no such file or class, the file cannot be imported, a name is
            taken, or the class cannot be made as settings make one.
    """
    place, _, name = text.rpartition(":")
    if not name.isidentifier() or not (place.endswith(".py") or _is_module(place)):
        raise ConfigError(
            f"expected a Python file or module and the name of a {kind.name} in it, as "
            f"path/to/file.py:Name or package.module:Name, got {text!r}"
        )
    if not place.endswith(".py"):
        module, source = _import_module(place)
        return _make_known(module, source, name, kind)
    path = Path(place).expanduser().resolve()
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; expected path/to/file.py:Name") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    source = ModelSource(path=str(path), sha256=hashlib.sha256(content).hexdigest())
    here, former = _module_name(source.sha256), _former_module(source)
    is_new = here not in sys.modules
    before = _forget(former) if former else None
    try:
        module = _execute(here, source, content) if is_new else sys.modules[here]
        loaded = _make_known(module, source, name, kind)
    except BaseException:
        if is_new:
            _forget(here)
        if former and before:
            sys.modules[former] = before[0]
            for registry, key, part in before[1]:
                registry.put(key, part, former)
        raise
    for which, other in list(_LOADED.items()):
        changed = other.source.path == source.path and other.source != source
        if changed or _module_name(other.source.sha256) == former:
            del _LOADED[which]
    return loaded


def loaded_files() -> dict[tuple[str, str], ModelSource]:
    """{(kind, what it was loaded as): the file} of all that was loaded in this process."""
    return {which: loaded.source for which, loaded in _LOADED.items()}


def loaded_parts(kind: str, name: str) -> list[Loaded]:
    """The classes of this kind and name that were loaded."""
    return [
        loaded
        for (what, text), loaded in _LOADED.items()
        if what == kind and text.endswith(f":{name}")
    ]


def is_file(text: str) -> bool:
    """Whether a person means a file or module rather than a registered name."""
    return ":" in text or "/" in text or text.endswith(".py")


class _Content(SourceFileLoader):
    """Runs what was read, and neither asks nor writes ``__pycache__``, which may be older."""

    def __init__(self, fullname: str, path: str, content: bytes) -> None:
        super().__init__(fullname, path)
        self.content = content

    @override
    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.content, self.path)


def _is_module(place: str) -> bool:
    return all(part.isidentifier() for part in place.split("."))


def _module_name(sha256: str) -> str:
    """Of the files with this checksum."""
    return f"{_PREFIX}{sha256[:16]}"


def _former_module(source: ModelSource) -> str | None:
    """The module of what a file held before, unless another file that is still there holds it."""
    held = {loaded.source.path: loaded.source.sha256 for loaded in _LOADED.values()}
    former = held.pop(source.path, source.sha256)
    if former == source.sha256 or any(
        sha256 == former and Path(path).is_file() for path, sha256 in held.items()
    ):
        return None
    return _module_name(former)


def _forget(name: str) -> tuple[ModuleType, Taken]:
    """Take out a module and what it registered."""
    return sys.modules.pop(name), take_back(name)


def _execute(name: str, source: ModelSource, content: bytes) -> ModuleType:
    """The file as a new module."""
    loader = _Content(name, source.path, content)
    spec = importlib.util.spec_from_file_location(name, source.path, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look there for the names of their file
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a person's code may raise
        raise _not_imported(source.path, error) from error
    return module


def _import_module(place: str) -> tuple[ModuleType, ModelSource]:
    """A module that Python finds by its name, and what its file holds."""
    try:
        module = importlib.import_module(place)
        content = Path(str(module.__file__)).read_bytes()
    except (Exception, SystemExit) as error:
        raise _not_imported(place, error) from error
    return module, ModelSource(path=place, sha256=hashlib.sha256(content).hexdigest())


def _not_imported(place: str, error: BaseException) -> ConfigError:
    told = " ".join(f"{type(error).__name__}: {error}".split())
    return ConfigError(f"{place} cannot be imported: {told}")


def _make_known(module: ModuleType, source: ModelSource, name: str, kind: Kind) -> Loaded:
    """Keep a class of a module that was imported."""
    part = _find_class(module, source.path, name, kind)
    if kind.is_named:
        kind.registry.put(name, part, module.__name__)
    loaded = _LOADED[kind.name, f"{source.path}:{name}"] = Loaded(source, part)
    return loaded


def _find_class(module: ModuleType, place: str, name: str, kind: Kind) -> type:
    """The class of a module, such as settings can make one of."""
    names, base = vars(module), kind.base.__name__
    if name not in names:
        own = [
            key
            for key, value in names.items()
            if kind.has(value) and value.__module__ == module.__name__
        ]
        told = f"its {kind.name}s are {', '.join(own)}" if own else f"it has no subclass of {base}"
        raise ConfigError(f"{place} has no {name}; {told}")
    found = names[name]
    if not kind.has(found):
        raise ConfigError(f"{name} of {place} must be a subclass of {base}, got {found!r}")
    if missing := sorted(found.__abstractmethods__):
        raise ConfigError(f"{name} of {place} must define {', '.join(missing)}")
    signature = inspect.signature(found)
    try:
        (signature.bind_partial if kind.has_options else signature.bind)(*kind.made_of)
    except TypeError as error:
        raise ConfigError(
            f"{name} of {place} must be made of {', '.join(kind.made_of)}, as {base} is: {error}"
        ) from None
    return found
