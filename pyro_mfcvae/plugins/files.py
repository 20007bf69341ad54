"""Code of one's own, from Python files.

Settings record a file's path and checksum. A file is imported only where a person, or the process
that they started, names it; never because settings do.
"""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from typing_extensions import override

from pyro_mfcvae.config import ModelSource
from pyro_mfcvae.errors import ConfigError, OtherModelWarning

Registries = Mapping[str, dict[str, Any]]
Files = Mapping[tuple[str, str], ModelSource]

_PREFIX = "mfcvae_file_"  # of modules' names


@dataclass(frozen=True, eq=False)
class Kind:
    """What a class in a file is for.

    Attributes:
        name: such as ``"guide"``.
        base: what the class inherits.
        made_of: arguments that it is made of.
        has_options: whether it may need further ones.
        table: of the classes that are known.
        key: a class's name and its file -> what it is known as there.
    """

    name: str
    base: type
    made_of: tuple[str, ...]
    has_options: bool
    table: dict[str, Any]
    key: Callable[[str, ModelSource], str]

    def has(self, value: object) -> bool:
        """Whether a value is such a class."""
        return inspect.isclass(value) and issubclass(value, self.base) and value is not self.base


@dataclass(frozen=True, eq=False)
class _Loaded:
    source: ModelSource
    table: dict[str, Any]
    key: str


_LOADED: dict[tuple[str, str], _Loaded] = {}


def load(text: str, kind: Kind, registries: Registries) -> ModelSource:
    """Import a file, and make one of its classes known.

    A file is imported once, and anew after a change, which replaces everything that it registered
    before.

    Args:
        text: ``path/to/file.py:Name``.
        kind: of the class.
        registries: {what: table} of everything that the file may register.

    Returns:
        the file and its checksum.

    Raises:
        ConfigError: if there is no such file or class, the file cannot be imported, a name is
            taken, or the class cannot be made as settings make one.
    """
    path, name = _parsed(text, kind)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; expected path/to/file.py:Name") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from None
    source = ModelSource(path=str(path), sha256=hashlib.sha256(content).hexdigest())
    with _undone_on_failure(registries):
        found = _class_in(_imported(source, content, registries), name, kind)
        key = kind.key(name, source)
        if kind.table.setdefault(key, found) is not found:
            raise ConfigError(
                f"{path}: there is another {kind.name} called {name}; choose another name"
            )
        _LOADED[kind.name, f"{path}:{name}"] = _Loaded(source, kind.table, key)
    return source


def loaded_files() -> dict[tuple[str, str], ModelSource]:
    """{(kind, ``path/to/file.py:Name``): the file} of all that was loaded in this process."""
    return {which: loaded.source for which, loaded in _LOADED.items()}


def given_files(kind: str, name: str) -> list[ModelSource]:
    """The files that classes of this kind and name were loaded from."""
    return [
        source
        for (what, text), source in loaded_files().items()
        if what == kind and text.endswith(f":{name}")
    ]


def is_file(text: str) -> bool:
    """Whether a person means a file rather than a registered name."""
    return ":" in text or "/" in text or text.endswith(".py")


def recorded(kind: str, name: str, source: ModelSource) -> str:
    """What settings say of a class from a file, in words."""
    return f"this run's {kind} is {name} of {source.file} (sha256 {source.sha256[:8]}…)"


def not_given(kind: str, name: str, source: ModelSource) -> ConfigError:
    """The error for a class whose file was not loaded."""
    return ConfigError(
        f"{recorded(kind, name, source)}; nothing is executed that a run folder names: pass "
        f"--{kind} path/to/{source.file}:{name}, or in Python give it to load_{kind}_file first"
    )


def warn_of_another(kind: str, name: str, source: ModelSource, checksums: Iterable[str]) -> None:
    """Warn that a class is taken from another file than the settings record."""
    given = ", ".join(f"sha256 {checksum[:8]}…" for checksum in checksums)
    warnings.warn(
        f"{recorded(kind, name, source)}, but the given file is another one or has changed "
        f"({given}); it is used",
        OtherModelWarning,
        stacklevel=1,  # one place, so that it is told once
    )


class _Content(SourceFileLoader):
    """Runs what was read, and neither asks nor writes ``__pycache__``, which may be older."""

    def __init__(self, fullname: str, path: str, content: bytes) -> None:
        super().__init__(fullname, path)
        self.content = content

    @override
    def get_code(self, fullname: str) -> CodeType:
        return self.source_to_code(self.content, self.path)


def _parsed(text: str, kind: Kind) -> tuple[Path, str]:
    file, _, name = text.rpartition(":")
    if not file.endswith(".py") or not name.isidentifier():
        raise ConfigError(
            f"expected a Python file and the name of a {kind.name} in it, as "
            f"path/to/file.py:Name, got {text!r}"
        )
    return Path(file).expanduser().resolve(), name


def _module_name(checksum: str) -> str:
    """Of files that hold the same."""
    return f"{_PREFIX}{checksum[:16]}"


def _imported(source: ModelSource, content: bytes, registries: Registries) -> ModuleType:
    """The file as a module; what it held before, if that was imported, is forgotten."""
    _forget_earlier(source, registries)
    name = _module_name(source.sha256)
    if name in sys.modules:
        return sys.modules[name]
    loader = _Content(name, source.path, content)
    spec = importlib.util.spec_from_file_location(name, source.path, loader=loader)
    module = importlib.util.module_from_spec(spec)
    before = {what: dict(table) for what, table in registries.items()}
    sys.modules[name] = module  # dataclasses look there for the names of their file
    try:
        loader.exec_module(module)
    except (Exception, SystemExit) as error:  # whatever a person's code may raise
        told = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{source.path} cannot be imported: {told}") from error
    _check_names(before, registries, source.path)
    return module


def _forget_earlier(source: ModelSource, registries: Registries) -> None:
    """Take what an earlier state of a file registered out of all registries.

    Where a copy of that state was loaded from another file, which is still there, it is the copy's
    from now on.
    """
    earlier = {
        old.sha256
        for old in loaded_files().values()
        if old.path == source.path and old.sha256 != source.sha256
    }
    for which, loaded in list(_LOADED.items()):
        path, checksum = loaded.source.path, loaded.source.sha256
        if checksum in earlier and (path == source.path or not Path(path).is_file()):
            del _LOADED[which]
            known = [left.key for left in _LOADED.values() if left.table is loaded.table]
            if loaded.key not in known:
                loaded.table.pop(loaded.key, None)
    for checksum in earlier:
        name = _module_name(checksum)
        copies = [left.path for left in loaded_files().values() if left.sha256 == checksum]
        if copies:
            sys.modules[name].__file__ = copies[0]
            continue
        for table in registries.values():
            for key in [key for key, part in table.items() if part.__module__ == name]:
                del table[key]
        sys.modules.pop(name, None)


@contextmanager
def _undone_on_failure(registries: Registries) -> Iterator[None]:
    """Leave registries and modules as they were if a file cannot be used."""
    tables = [(table, dict(table)) for table in [*registries.values(), _LOADED]]
    modules = {name: module for name, module in sys.modules.items() if name.startswith(_PREFIX)}
    try:
        yield
    except BaseException:
        for table, before in tables:
            table.clear()
            table.update(before)
        for name in [name for name in sys.modules if name.startswith(_PREFIX)]:
            del sys.modules[name]
        sys.modules.update(modules)
        raise


def _check_names(
    before: Mapping[str, Mapping[str, Any]], registries: Registries, path: str
) -> None:
    """Raise a ConfigError if a file has taken a name that stood for something else."""
    for what, table in before.items():
        for name, part in table.items():
            home = getattr(sys.modules.get(part.__module__), "__file__", None)
            if registries[what].get(name) is not part and home != path:
                raise ConfigError(
                    f"{path} registers the {what} {name!r}, a name that is taken; choose another"
                )


def _class_in(module: ModuleType, name: str, kind: Kind) -> type:
    """The class called name in a file that has been imported."""
    path, names, base = module.__file__, vars(module), kind.base.__name__
    if name not in names:
        own = [
            key
            for key, value in names.items()
            if kind.has(value) and value.__module__ == module.__name__
        ]
        told = f"its {kind.name}s are {', '.join(own)}" if own else f"it has no subclass of {base}"
        raise ConfigError(f"{path} has no {name}; {told}")
    found = names[name]
    if not kind.has(found):
        raise ConfigError(f"{name} of {path} must be a subclass of {base}, got {found!r}")
    if missing := sorted(found.__abstractmethods__):
        raise ConfigError(f"{name} of {path} must define {', '.join(missing)}")
    signature = inspect.signature(found)
    try:
        (signature.bind_partial if kind.has_options else signature.bind)(*kind.made_of)
    except TypeError as error:
        raise ConfigError(
            f"{name} of {path} must be made of {', '.join(kind.made_of)}, as {base} is: {error}"
        ) from None
    return found
