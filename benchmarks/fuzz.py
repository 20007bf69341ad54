"""What becomes of damaged and hostile files: a documented error or a valid result.

    python -m benchmarks.fuzz --mutants 10000 --out fuzz.json

Valid files of every kind that the library reads are mutated and read, each kind in a process of its
own. Anything but a documented error or a valid result is a finding: another exception, a crash,
more than 10 seconds, more memory than the file justifies, code run, or a file touched outside of
the mutant's folder.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random
from typing import Any

from benchmarks.mutants import Files, mutate
from benchmarks.readers import READERS, Reader
from pyro_mfcvae.errors import ConfigError, DataError, RunError
from pyro_mfcvae.runs.run import commit

SECONDS = 10
_MEMORY = 256 * 2**20  # bytes beside four times the mutant's: 100 MB of zeros may be claimed
_SPACE = 4 * 2**30  # bytes of addresses
_DOCUMENTED = (ConfigError, DataError, RunError)
_PACKAGES = ("torch", "numpy", "h5py", "pandas", "pyarrow", "pillow", "pyyaml", "safetensors")
_IMPORTED = ["pyro_mfcvae", "benchmarks.readers", __name__]
_FORKS = multiprocessing.get_context("forkserver")
_CHANGING = ("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod")
_RUNNING = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "socket.connect")


def fuzz(reader: Reader, n_mutants: int, seed: int, folder: Path) -> dict[str, Any]:
    """Read mutants of one kind of file.

    Args:
        reader: of this kind.
        n_mutants: how many.
        seed: of the mutants; each has its own by its number.
        folder: a new one, in which the mutants that are findings are left.

    Returns:
        how many mutants ended in which way, and the findings: {what: [kind and number of mutants]}.
    """
    _FORKS.set_forkserver_preload(_IMPORTED)
    folder.mkdir()
    (folder / "bait.py").write_text("raise SystemExit('this was run')\n")
    originals = reader.make(folder / "originals")
    ended, findings = Counter[str](), dict[str, list[str]]()
    done = 0
    while done < n_mutants:
        mine, theirs = _FORKS.Pipe()
        arguments = (theirs, reader, originals, range(done, n_mutants), seed, folder)
        process = _FORKS.Process(target=_read_all, args=arguments)
        process.start()
        theirs.close()
        how = "crash"
        if not mine.recv():
            raise RuntimeError(f"an original of {folder.name} cannot be read")
        try:
            while done < n_mutants:
                if not mine.poll(SECONDS):
                    how = "hang"
                    break
                how, is_fine, mutation = mine.recv()
                ended[how if is_fine else "finding"] += 1
                if not is_fine:
                    findings.setdefault(how, []).append(f"{done} {mutation}")
                done += 1
        except EOFError:
            pass
        process.kill()
        process.join()
        if done < n_mutants:
            ended["finding"] += 1
            findings.setdefault(how, []).append(str(done))
            done += 1
    return {"n_mutants": n_mutants, "ended": dict(sorted(ended.items())), "findings": findings}


def _read_all(
    pipe: Connection,
    reader: Reader,
    originals: Sequence[Files],
    numbers: range,
    seed: int,
    folder: Path,
) -> None:
    sys.dont_write_bytecode = True
    os.environ["OMP_NUM_THREADS"] = "1"
    os.chdir(folder)
    warnings.simplefilter("ignore")
    mutant = folder / f"mutant-{numbers.start}"
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(mutant / "cache")  # which a training makes
    touched: list[str] = []
    sys.addaudithook(lambda event, given: _watch(event, given, mutant, touched))
    for files in originals:
        _write(mutant, files)
        if not reader.read(mutant):
            pipe.send(False)
            return
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _SPACE,) * 2)
    pipe.send(True)
    for number in numbers:
        files, mutation = mutate(originals, Random(f"{seed} {number}"))
        _write(mutant, files)
        touched.clear()
        before = _peak()
        is_fine = False
        try:
            how, is_fine = ("valid" if reader.read(mutant) else "refused"), True
        except _DOCUMENTED:
            how, is_fine = "refused", True
        except BaseException as error:
            how = f"{type(error).__name__} in {_place(error)}"
            mutation += f": {ascii(error)[:200]}"
        if touched:
            how, is_fine = f"touched {touched[0]}", False
        if (grown := _peak() - before) > _MEMORY + 4 * sum(map(len, files.values())):
            how, is_fine = f"memory: {grown / 2**20:.0f} MB", False
        if not is_fine:
            shutil.copytree(mutant, folder / f"found-{number}")
        pipe.send((how, is_fine, mutation))


def _write(folder: Path, files: Files) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _watch(event: str, given: tuple[Any, ...], mutant: Path, touched: list[str]) -> None:
    """Note what is changed outside of the mutant's folder, or read beside it, or run."""
    is_own = event == "subprocess.Popen" and given[1][:1] == [
        "git"
    ]  # asks for the library's commit
    if event in _RUNNING and not is_own:
        touched.append(event)
    if event not in ("open", *_CHANGING) or not isinstance(given[0], str | bytes | Path):
        return
    path = Path(os.path.abspath(os.fsdecode(given[0])))
    is_nothing = path == Path(os.devnull) or (event == "os.mkdir" and path.exists())
    if path.is_relative_to(mutant) or is_nothing:
        return
    changes = event != "open" or bool((given[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
    if changes or path.is_relative_to(mutant.parent):
        touched.append(f"{event} {path.name}")


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _place(error: BaseException) -> str:
    """The innermost line of the library's own, which stays what it is when lines move."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if "pyro_mfcvae" in Path(frame.filename).parts] or frames
    where = Path(own[-1].filename)
    return f"{where.parent.name}/{where.name} {own[-1].name}"


def fuzz_all(names: Sequence[str], n_mutants: int, seed: int, folder: Path) -> Mapping[str, Any]:
    """Mutants of several kinds of files, one kind after the other."""
    return {name: fuzz(READERS[name], n_mutants, seed, folder / name) for name in names}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("readers", nargs="*", default=list(READERS), help="all by default")
    parser.add_argument("--mutants", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for mutants that are findings")
    parser.add_argument("--out", type=Path, required=True, help="a JSON file")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        folder = (asked.keep or Path(made)).absolute()
        folder.mkdir(exist_ok=True)
        found = fuzz_all(asked.readers, asked.mutants, asked.seed, folder)
    packages = {name: version(name) for name in _PACKAGES}
    told = {"seed": asked.seed, "commit": commit(), "packages": packages}
    told |= {"python": sys.version.split()[0]}
    asked.out.write_text(json.dumps({**told, "readers": found}, indent=1) + "\n")
    for name, result in found.items():
        print(name, result["ended"])
        for how, mutants in result["findings"].items():
            print(f"  {len(mutants)} {how}, such as {mutants[0]}")


if __name__ == "__main__":
    main()
