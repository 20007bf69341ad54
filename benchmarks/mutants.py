"""Mutants of valid files: of their bytes, and of what their format makes of these."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePosixPath
from random import Random
from typing import Any

Files = Mapping[str, bytes]  # by their path in the mutant's folder
Mutation = Callable[[bytes, Random], bytes]

_DEEP = "@deep@"  # is replaced by lists in lists: JSON's writer cannot write them
_ODD: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    -1,
    1,
    3,
    0.5,
    100_000,
    2**31,
    2**32 - 1,
    2**63,
    2**70,
    -(2**63),
    1e30,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    -float("inf"),
    "",
    "0",
    "x" * 100_000,
    "\0",
    "\ud800",
    "\x1b[2J",
    "=1+1",
    "../bait.py",
    "bait.py:MFCVAE",
    "bait:MFCVAE",
    "/dev/zero",
    "ä",
    "nan",
    [],
    {},
    [[]],
    [0] * 1000,
    [None],
    [1, "a"],
    {"": 0},
    {"a": {"a": {}}},
    {"name": "x"},
    _DEEP,
)
_SIZES = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1)


def mutate(originals: Sequence[Files], random: Random) -> tuple[dict[str, bytes], str]:
    """One file of an original, mutated once or a few times, and what was done."""
    files = dict(random.choice(originals))
    name = random.choice(sorted(files))
    other = random.choice(originals).get(name, files[name])
    done = []
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        own = STRUCTURED.get(PurePosixPath(name).suffix, ())
        kind = random.choice(own if own and random.random() < 0.6 else _BYTES)
        if kind is splice:
            files[name] = splice(files[name], random, other)
        else:
            try:
                files[name] = kind(files[name], random)
            except Exception:  # an earlier mutation left nothing of the format
                continue
        done.append(kind.__name__)
    sealed = PurePosixPath(name).parent / "state.json"
    if str(sealed) in files and random.random() < 0.9:
        files[str(sealed)] = _sealed(files, sealed)
    return files, f"{name}: {', '.join(done)}"


def flip(data: bytes, random: Random) -> bytes:
    """A few bits are others."""
    new = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 8)) if new else 0):
        new[random.randrange(len(new))] ^= 1 << random.randrange(8)
    return bytes(new)


def truncate(data: bytes, random: Random) -> bytes:
    """The end is missing."""
    return data[: random.randrange(len(data) + 1)]


def remove(data: bytes, random: Random) -> bytes:
    """A part in the middle is missing."""
    start = random.randrange(len(data) + 1)
    return data[:start] + data[start + random.randrange(1, 64) :]


def repeat(data: bytes, random: Random) -> bytes:
    """A part comes twice, or very often."""
    start = random.randrange(len(data) + 1)
    part = data[start : start + random.randrange(1, 64)]
    return data[:start] + part * random.choice((2, 2, 1000)) + data[start:]


def splice(data: bytes, random: Random, other: bytes | None = None) -> bytes:
    """The beginning of one valid file and the end of another."""
    other = data if other is None else other
    start = random.randrange(len(data) + 1)
    return data[:start] + other[random.choice((start, random.randrange(len(other) + 1))) :]


def claim(data: bytes, random: Random) -> bytes:
    """A number, which may be a size, is an extreme one."""
    width = random.choice((1, 2, 4, 8))
    size = random.choice(_SIZES) % 256**width
    start = random.randrange(min(len(data), random.choice((64, 1024, 2**30))) + 1)
    return data[:start] + size.to_bytes(width, "little") + data[start + width :]


def _json(data: bytes, random: Random) -> bytes:
    return _odd_somewhere(data, random).encode(errors="surrogatepass")


def _json_lines(data: bytes, random: Random) -> bytes:
    lines = data.splitlines(keepends=True)
    i = random.randrange(len(lines))
    lines[i] = _json(lines[i], random) + b"\n"
    return b"".join(lines)


def _yaml(data: bytes, random: Random) -> bytes:
    import yaml

    if random.random() < 0.5:
        odd = (
            "!!python/object/apply:os.system [ls]",
            "&a [*a]",
            "? [a]",
            "- x",
            "<<: *b",
            "9" * 400,
        )
        lines = data.decode().split("\n")
        i = random.randrange(len(lines))
        lines[i] = lines[i].partition(":")[0] + ": " + random.choice(odd)
        return "\n".join(lines).encode()
    return _odd_somewhere(json.dumps(yaml.safe_load(data)), random).encode(errors="surrogatepass")


def _odd_somewhere(text: bytes | str, random: Random) -> str:
    """JSON in which one value, on any level, is odd, missing or renamed."""
    values = json.loads(text)
    places = _places(values)
    if not places:
        return _text(random.choice(_ODD))
    where, key = random.choice(places)
    how = random.random()
    if how < 0.15:
        del where[key]
    elif how < 0.25 and isinstance(where, dict):
        where[random.choice(("", "x", "name", "x" * 1000))] = where.pop(key)
    elif how < 0.3:
        where[key] = random.choice(places)[0]
    else:
        where[key] = random.choice(_ODD)
    try:
        return _text(values)
    except ValueError:  # it holds itself
        return _text(random.choice(_ODD))


def _text(values: Any) -> str:
    n = 100_000
    return json.dumps(values).replace(f'"{_DEEP}"', "[" * n + "]" * n)


def _places(values: Any) -> list[tuple[Any, Any]]:
    items = values.items() if isinstance(values, dict) else ()
    items = enumerate(values) if isinstance(values, list) else items
    return [p for key, value in items for p in [(values, key), *_places(value)]]


def _cells(data: bytes, random: Random) -> bytes:
    """A table of text in which cells, or names of columns, are odd."""
    lines = data.decode(errors="replace").split("\n")
    separator = "\t" if "\t" in lines[0] else ","
    odd = (
        "",
        "nan",
        "inf",
        "1e999",
        '"',
        "x" * 70_000,
        "1,5",
        "=1+1",
        "\0",
        "\r",
        "1_000",
        "9" * 400,
        "2020-01-01",
        "true",
        "é",
        "x",
        "x_test",
        "row_names",
        "0x10",
        "1" * 25,
        "\x1b[2J",
    )
    for _ in range(random.choice((1, 3))):
        i = random.choice((0, random.randrange(len(lines))))
        cells = lines[i].split(separator)
        cells[random.randrange(len(cells))] = random.choice(odd)
        lines[i] = separator.join(cells)
    return "\n".join(lines).encode()


def _odd_array(random: Random, n: int = 20) -> Any:
    import numpy as np

    kinds = (
        "?",
        "i1",
        "i8",
        "u8",
        "f2",
        "f4",
        ">f8",
        "f8",
        "c8",
        "U3",
        "S3",
        "M8[s]",
        "f4,i2",
        "V4",
    )
    shapes = (
        (),
        (0,),
        (n,),
        (n, 0),
        (n, 3),
        (n, 1, 1),
        (n, 4, 4),
        (n, 4, 4, 3),
        (n, 2, 2, 2, 2),
        (1,),
        (1, 3),
        (0, 3),
        (n + 1, 3),
    )
    array = np.zeros(random.choice(shapes), random.choice(kinds))
    if array.dtype.kind in "iuf" and array.size:
        array.flat[0] = 1
        array.flat[-1] = random.choice((0, 100, np.inf if array.dtype.kind == "f" else 3))
    return array


def _header_npy(data: bytes, random: Random) -> bytes:
    """A single array with other words in its header, or another array."""
    import numpy as np

    if random.random() < 0.4:
        file = io.BytesIO()
        np.save(file, _odd_array(random))
        return file.getvalue()
    n = int.from_bytes(data[8:10], "little")
    header = data[10 : 10 + n].decode("latin-1")
    words = ("(", ")", "20", "3", "<f4", "<f8", "False", "'shape'", "'descr'", "{", ",")
    odd = (
        "-1",
        "10**9",
        "99999999999",
        "9" * 5000,
        "|O",
        "<M8[s]",
        "|V0",
        "[('a','<f4')]",
        "(" * 500,
        "None",
        "True",
        "1.5",
        "",
        "__import__('os')",
        "<U999999999",
        "0",
    )
    header = header.replace(random.choice(words), random.choice(odd), 1).encode("latin-1")
    size = len(header) % 2**16
    return data[:8] + size.to_bytes(2, "little") + header + data[10 + n :]


def _zip(data: bytes, random: Random) -> bytes:
    """An archive with a member that is mutated and has the checksum that fits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    name = random.choice(sorted(members))
    is_array = name.endswith(".npy")
    how = random.random()
    if is_array and how < 0.1:
        odd = ("x.npy", "x_test.npy", "labels.npy", "label_names.npy", "../x.npy", "é.npy", ".npy")
        members[random.choice(odd)] = members.pop(name)
    elif how < 0.2:
        del members[name]
    elif how < 0.25:
        members[name] = b"\0" * 10**8
    else:
        kinds = (_header_npy, _header_npy, *_BYTES) if is_array else _BYTES
        members[name] = random.choice(kinds)(members[name], random)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", random.choice((0, 8))) as archive:
        for name, member in members.items():
            archive.writestr(name, member)
    return file.getvalue()


def _hdf5(data: bytes, random: Random) -> bytes:
    """A file of HDF5 with another array, attribute or link at a place."""
    import h5py
    import numpy as np

    file = io.BytesIO(data)
    with h5py.File(file, "r+") as opened:
        names: list[str] = []
        opened.visit(names.append)
        name = random.choice(names)
        how = random.random()
        attributes = opened[name].attrs
        if how < 0.3 and len(attributes):
            odd = (
                0,
                -1,
                "index",
                "x" * 1000,
                np.zeros(3),
                [2**40, 2**40],
                [20],
                "é",
                ["a", "b"],
                "..",
            )
            attributes[random.choice(sorted(attributes))] = random.choice(odd)
            return _closed(opened, file)
        del opened[name]
        if how < 0.4:
            opened[name] = h5py.SoftLink(random.choice(("/", "/x", "/nowhere", f"/{name}")))
        elif how < 0.5:
            opened[name] = h5py.ExternalLink("bait.h5", "/x")
        elif how < 0.55:
            opened.create_group(name)
        elif how < 0.65:
            shape = random.choice(((2**40,), (2**20, 2**20), (2**33, 3)))
            opened.create_dataset(name, shape, random.choice("BfdQ"), chunks=True)
        elif how < 0.7:
            opened[name] = np.array([["a", "b"]] * 10, dtype=object)
        elif how < 0.75:
            opened[name] = h5py.Empty("f4")
        elif how < 0.95:
            array = _odd_array(random)
            opened[name] = array.astype("S3") if array.dtype.kind in "UM" else array
        return _closed(opened, file)


def _closed(opened: Any, file: io.BytesIO) -> bytes:
    opened.close()
    return file.getvalue()


def _parquet(data: bytes, random: Random) -> bytes:
    """A table with a column of another type."""
    import numpy as np
    import pandas as pd

    frame = pd.read_parquet(io.BytesIO(data))
    n = len(frame)
    odd: tuple[Any, ...] = (
        [[1, 2]] * n,
        [{"a": 1}] * n,
        [b"\xff"] * n,
        [None] * n,
        [np.inf] * n,
        [-np.inf, 1] * (n // 2),
        pd.date_range("2020", periods=n),
        pd.to_timedelta(range(n)),
        [""] * n,
        [2**63 + 5] * n,
        range(n),
        pd.Categorical(["a", "b"] * (n // 2)),
        [True] * n,
        [1e300, -1e300] * (n // 2),
        ["1", "x"] * (n // 2),
    )
    name = random.choice((*frame.columns, "x", "labels", ""))
    frame[name] = random.choice(odd)
    if random.random() < 0.3:
        frame = frame.set_index(random.choice(list(frame.columns)))
    file = io.BytesIO()
    frame.iloc[: random.choice((0, 1, 2, n))].to_parquet(file)
    return file.getvalue()


def _png(data: bytes, random: Random) -> bytes:
    """A picture with a mutated part that has the checksum that fits."""
    parts, start = [], 8
    while start < len(data):
        (n,) = struct.unpack(">I", data[start : start + 4])
        parts.append((data[start + 4 : start + 8], data[start + 8 : start + 8 + n]))
        start += 12 + n
    i = random.randrange(len(parts))
    kind, content = parts[i]
    if kind == b"IHDR":
        width = random.choice((0, 1, 8, 9, 2**14, 2**31 - 1, 2**32 - 1)).to_bytes(4, "big")
        content = random.choice((width + content[4:], content[:4] + width + content[8:], content))
        content = (
            content[:8] + bytes((random.choice((1, 8, 16)), random.randrange(8))) + content[10:]
        )
    else:
        content = random.choice(_BYTES)(content, random)
    parts[i] = kind, content
    if random.random() < 0.2:
        bomb = zlib.compress(b"x" * 10**7)
        parts.insert(1, (random.choice((b"zTXt", b"iCCP", b"eXIf")), b"a\0\0" + bomb))
    whole = [
        len(c).to_bytes(4, "big") + k + c + zlib.crc32(k + c).to_bytes(4, "big") for k, c in parts
    ]
    return data[:8] + b"".join(whole)


def _safetensors(data: bytes, random: Random) -> bytes:
    """Tensors with another header, or with other JSON in it."""
    n = int.from_bytes(data[:8], "little")
    header, rest = json.loads(data[8 : 8 + n]), data[8 + n :]
    own = header.get("__metadata__", {})
    key = next(iter(own), None)
    if key is not None and random.random() < 0.7:
        own[key] = _odd_somewhere(own[key], random)
        text = json.dumps(header)
    else:
        text = _odd_somewhere(json.dumps(header), random)
    new = text.encode(errors="surrogatepass")
    return len(new).to_bytes(8, "little") + new + rest


def _torch(data: bytes, random: Random) -> bytes:
    """A state dict or settings of the first authors with an odd value."""
    import torch

    content = torch.load(io.BytesIO(data), weights_only=False)
    tensors, settings = content["state_dict"], content["args"]
    how = random.random()
    name = random.choice(sorted(tensors if how < 0.5 else settings))
    odd: tuple[Any, ...] = (
        torch.zeros(0),
        torch.tensor(1.0),
        torch.zeros(3, dtype=torch.long),
        torch.zeros(2, 2).to_sparse(),
        torch.zeros(1).expand(2**20, 2**14),
        torch.zeros(5, 3, dtype=torch.float16),
        torch.zeros(2, dtype=torch.cfloat),
        torch.full((3, 5), torch.nan),
        torch.zeros(2, device="meta"),
        3,
        "x",
        None,
        [1],
    )
    if how < 0.1:
        del tensors[name]
    elif how < 0.5:
        tensors[name] = random.choice(odd)
    elif how < 0.55:
        del settings[name]
    elif how < 0.9:
        settings[name] = random.choice([value for value in _ODD if value is not _DEEP])
    elif how < 0.95:
        content = random.choice((tensors, settings, [content], {"state_dict": settings}, Random(0)))
    else:
        content["args"] = random.choice((None, [], 3, object))
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def _sealed(files: Files, path: PurePosixPath) -> bytes:
    """A checkpoint's record with checksums that fit, as whoever means harm would write it."""
    try:
        record = json.loads(files[str(path)])
        record.pop("checksum", None)
        for name in record["checksums"]:
            held = files[str(path.parent / name)]
            record["checksums"][name] = hashlib.sha256(held).hexdigest()
        text = json.dumps(record, sort_keys=True)
        record["checksum"] = hashlib.sha256(text.encode()).hexdigest()
        return json.dumps(record).encode()
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return files[str(path)]


_BYTES: tuple[Mutation, ...] = (flip, truncate, remove, repeat, splice, claim)
STRUCTURED: dict[str, tuple[Mutation, ...]] = {
    ".json": (_json,),
    ".jsonl": (_json_lines,),
    ".yaml": (_yaml,),
    ".csv": (_cells,),
    ".tsv": (_cells,),
    ".npy": (_header_npy,),
    ".npz": (_zip,),
    ".h5": (_hdf5,),
    ".h5ad": (_hdf5,),
    ".parquet": (_parquet,),
    ".png": (_png,),
    ".safetensors": (_safetensors,),
    ".pt": (_torch, _torch, _zip),
}
"""Mutations that know a format, by its suffix; they raise anything where it is none."""
