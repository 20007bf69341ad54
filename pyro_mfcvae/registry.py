"""Parts that settings and commands know by name."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, TypeVar

from typing_extensions import override

from pyro_mfcvae.errors import ConfigError, did_you_mean, shown

T = TypeVar("T")
P = TypeVar("P")

Taken = list[tuple["Registry[Any]", str, Any]]


class Registry(dict[str, T]):
    """{name: part}. To ask for a part that is not there is a ConfigError that tells what is.

    A name belongs to the module that registers it: run again, such as a cell of a notebook, that
    module may replace its part, and no other module may.

    Args:
        what: one such part in words, such as ``"guide"``.
        otherwise: how to name a part that is not registered, for the error.
    """

    all: list[Registry[Any]] = []  # noqa: RUF012  (where :func:`take_back` looks)

    def __init__(self, what: str, otherwise: str = "") -> None:
        super().__init__()
        self.what = what
        self.otherwise = otherwise
        self._homes: dict[str, str] = {}
        Registry.all.append(self)

    def register(self, name: str) -> Callable[[P], P]:
        """Decorator: make a class or function known by name.

        Raises:
            ConfigError: if the name is taken.
        """

        def register(part: P) -> P:
            self.put(name, part, _caller())
            return part

        return register

    def add(self, part: T, *others: T) -> T:
        """Make objects known by the name that each has as ``name``, and return the first.

        Raises:
            ConfigError: if a name is taken.
        """
        for named in (part, *others):
            self.put(named.name, named, _caller())  # type: ignore[attr-defined]
        return part

    @override
    def __setitem__(self, name: str, part: T) -> None:
        self.put(name, part, _caller())

    def put(self, name: str, part: Any, home: str) -> None:
        """Make a part known by name, on behalf of the module called ``home``.

        Raises:
            ConfigError: if the name is taken by another part of another module.
        """
        if self.get(name) is part:
            return
        if name in self and self._homes.get(name) != home:
            raise ConfigError(f"the {self.what} {name!r} is there already; choose another name")
        super().__setitem__(name, part)
        self._homes[name] = home

    def describe(self, name: str) -> str:
        """One line on a part: its description, or the first one of its docstring."""
        part: Any = self[name]
        text = getattr(part, "description", None) or part.__doc__ or ""
        return str(text).strip().partition("\n")[0]

    def unknown(self, name: str) -> ConfigError:
        """The error for a name that nobody registered."""
        return unknown(self.what, name, sorted(self), self.otherwise)

    def __missing__(self, name: str) -> NoReturn:
        raise self.unknown(name)


def take_back(home: str) -> Taken:
    """Take out of all registries what a module registered, and return it."""
    taken = [
        (registry, name, part)
        for registry in Registry.all
        for name, part in registry.items()
        if registry._homes.get(name) == home
    ]
    for registry, name, _ in taken:
        del registry[name]
    return taken


def unknown(what: str, name: object, known: Iterable[str], otherwise: str = "") -> ConfigError:
    """The error for a name that is none of the known ones, nor what could be given otherwise."""
    known = list(known)
    told = f", or {otherwise}" if otherwise else ""
    meant = did_you_mean(name, known)
    listed = f"choose one of {', '.join(known)}{told}{meant}"
    return ConfigError(f"unknown {what} {shown(name)}; {listed}")


def _caller() -> str:
    """The module that calls a function of this one."""
    return str(sys._getframe(2).f_globals["__name__"])
