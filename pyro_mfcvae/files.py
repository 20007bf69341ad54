"""The files of a run: read where they are what they should be, written whole or not at all.

A run's folder may come from a stranger. What is no regular file (a link to somewhere else, a pipe
that never ends, a device) is not opened.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

from pyro_mfcvae.errors import RunError

T = TypeVar("T")

_MOST = 2**26  # bytes
_NAMES = r"\d{8,}|.+\.(html|jsonl?|md|npz|png)"  # of checkpoints and files that runs have


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading.

    Raises:
        FileNotFoundError: if nothing is there.
        RunError: if it is anything else, or cannot be read.
    """
    try:
        if stat.S_ISREG(path.lstat().st_mode):  # a device may do something when it is opened
            file = open(path, "rb", opener=_open_itself)  # noqa: SIM115  (the caller closes it)
            if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file
            file.close()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise RunError(f"{path} cannot be read ({error.strerror})") from None
    raise RunError(
        f"{path} must be a regular file, not a link, a folder, a pipe or a device; put the file "
        "itself there, or remove it"
    )


def _open_itself(path: str, flags: int) -> int:
    """Open a file, not what a link leads to, which may have taken its place since; never wait."""
    more = (getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK"))  # not on all systems
    return os.open(path, flags | sum(more))


def read_regular(path: Path) -> bytes:
    """What a file of settings or results holds; errors are those of :func:`open_regular`.

    Raises:
        RunError: if it is larger than such a file can be, too.
    """
    with open_regular(path) as file:
        content = file.read(_MOST + 1)
    if len(content) > _MOST:
        raise RunError(f"{path} is damaged (it has more than {_MOST:,} bytes); remove it")
    return content


def own_folder(path: Path) -> Path:
    """The path of a folder in a run's folder, which need not exist.

    Raises:
        RunError: if it is a link: nothing is read, written or deleted through one.
    """
    if path.is_symlink():
        raise RunError(f"{path} is a link; put the folder itself there")
    return path


def read_json(path: Path, check: Callable[[Any], T], remedy: str = "; remove it") -> T:
    """What a file of JSON holds.

    Args:
        path: of the file.
        check: returns what it is given, or what that stands for, or raises a ValueError.
        remedy: what to do about a damaged file.

    Raises:
        FileNotFoundError: if nothing is there.
        RunError: if it is no regular file, or holds something else.
    """
    content = read_regular(path)
    try:
        return check(json.loads(content))
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({error}){remedy}") from None


def validated(kind: type[T], values: Any) -> T:
    """Plain values as a type that pydantic knows.

    Raises:
        ValueError: if something is missing or of the wrong kind; it names the first such place.
    """
    try:
        return cast(T, _adapter(cast(Any, kind)).validate_python(values))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(map(str, problem["loc"]))
        raise ValueError(f"{where}: {problem['msg']}") from None


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def aside(path: Path) -> Path:
    """Where this process writes what is then renamed to the path, or puts what it removes."""
    return path.with_name(f".{path.name}-{os.getpid()}")


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let errors of the system name a file, which those of a full disk do not."""
    try:
        yield
    except OSError as error:
        if error.errno is not None:
            error.filename, error.filename2 = str(path), None
        raise


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a file aside and rename it into its place; nothing is left behind if that fails."""
    with replacing(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextmanager
def replacing(path: Path) -> Iterator[BufferedWriter]:
    """A file to write to, which is aside and renamed into its place once it is whole."""
    new = aside(path)
    try:
        with naming(path):
            new.unlink(missing_ok=True)
            with new.open("xb") as file:  # "x" writes through no link
                yield file
            new.replace(path)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, which is renamed first: nobody meets half of one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path if path.name.startswith(".") else path.replace(aside(path)))
    else:
        path.unlink()


def remove_leftovers(folder: Path, names: str = _NAMES) -> None:
    """Remove what processes that were killed have left aside in a folder.

    Args:
        folder: in which nobody else writes.
        names: pattern of what they were writing.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        if re.fullmatch(rf"\.({names})-\d+", path.name):
            remove(path)
