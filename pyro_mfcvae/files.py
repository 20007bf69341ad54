"""The files of a run: read where they are what they should be, written whole or not at all.

What is written stands aside until it is on the disk, and gets its name then: neither a kill nor a
power cut leaves half of it under that name.

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
        raise ValueError(": ".join(filter(None, (where, problem["msg"])))) from None


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
    """A file to write to, which is aside and renamed into its place once it is on the disk."""
    new = aside(path)
    try:
        with naming(path):
            remove_leftovers(path.parent, re.escape(path.name), is_shared=True)
            with new.open("xb") as file:  # "x" writes through no link
                yield file
                file.flush()
                os.fsync(file.fileno())
            new.replace(path)
            flush(path.parent)
    except BaseException:
        with suppress(OSError):
            new.unlink()
        raise


@contextmanager
def making(folder: Path) -> Iterator[Path]:
    """A folder to fill, which is aside and renamed into its place once it is on the disk.

    The folder that it is in is made, too, but none above that: a run's folder that was removed
    meanwhile does not come back as half of one.
    """
    new = aside(folder)
    try:
        with naming(folder):
            folder.parent.mkdir(exist_ok=True)
            remove_leftovers(folder.parent, re.escape(folder.name), is_shared=True)
            new.mkdir()
            yield new
            flush_all(new)
            new.rename(folder)
            flush(folder.parent)
            flush(folder.parent.parent)  # which may be new
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise


def flush(path: Path) -> None:
    """Wait until what a file holds, or which names are in a folder, is on the disk."""
    if os.name == "nt":  # opens no folder, and flushes no file that is open for reading
        return
    opened = os.open(path, os.O_RDONLY)
    try:
        with naming(path):
            os.fsync(opened)
    finally:
        os.close(opened)


def flush_all(folder: Path) -> None:
    """Wait until a folder and everything in it is on the disk."""
    for path in (*folder.rglob("*"), folder):
        flush(path)


def remove(path: Path) -> None:
    """Remove a file, a link or a folder, which is renamed first: nobody meets half of one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path if path.name.startswith(".") else path.replace(aside(path)))
    else:
        path.unlink()


def remove_leftovers(folder: Path, names: str = _NAMES, is_shared: bool = False) -> None:
    """Remove what processes that were killed have left aside in a folder.

    Args:
        folder: the folder.
        names: pattern of what they were writing.
        is_shared: whether others may be writing there: what bears the number of a process that
            lives on this machine stays.
    """
    for path in list(folder.iterdir()) if folder.is_dir() else []:
        found = re.fullmatch(rf"\.(?:{names})-(?P<process>\d+)", path.name)
        if found and not (is_shared and _lives(int(found["process"]))):
            remove(path)


def _lives(process: int) -> bool:
    """Whether it is another process of this machine."""
    if os.name == "nt" or process == os.getpid():  # where asking would end it
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # of another person
        return True
    return process > 0
