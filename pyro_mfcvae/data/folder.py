"""A folder of pictures, with labels from its sub-folders or from a CSV beside them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from pyro_mfcvae.data.arrays import RESERVED, Shaped
from pyro_mfcvae.data.formats import FOLDER, FORMATS, Format, check_claim
from pyro_mfcvae.data.tables import read_csv
from pyro_mfcvae.errors import DataError, DataWarning

_SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")
_FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")  # others run programs
_PIECE = 2**24  # bytes
_SIXTEEN_BITS = ("I", "I;16", "I;16B", "I;16L")


def read_folder(
    path: Path, size: int | None = None, skip_broken: bool = False
) -> Mapping[str, Shaped]:
    """The pictures of a folder and its sub-folders, by the names of their files.

    They are turned as their camera says, and laid on white where they are transparent. They are
    grey if all of them are, else red, green and blue; grey of 16 bits if all of them are.

    Args:
        path: of the folder.
        size: height and width; pictures are cut around their centre to a square, and resized.
        skip_broken: leave out what cannot be read.

    Raises:
        DataError: if there are no pictures, one cannot be read, or sizes differ.
    """
    pictures = dict(_read_pictures(path, size, skip_broken))
    return {**_named(path, pictures), **_labels(path, list(pictures))}


def _read_pieces(
    path: Path, features: Sequence[str], size: int | None = None, skip_broken: bool = False
) -> Iterator[Mapping[str, Shaped]]:
    """As :func:`read_folder`, without labels and a few pictures at a time."""
    pictures: dict[Path, np.ndarray] = {}
    for name, picture in _read_pictures(path, size, skip_broken):
        if (len(pictures) + 1) * picture.nbytes > _PIECE and pictures:
            yield _named(path, pictures)
            pictures = {}
        pictures[name] = picture
    yield _named(path, pictures)


def _read_pictures(
    path: Path, size: int | None, skip_broken: bool
) -> Iterator[tuple[Path, np.ndarray]]:
    """Names and pictures, in the order of names; in the end it warns of those that are left out."""
    broken: list[str] = []
    is_empty = True
    for file in sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES):
        try:
            picture = _read_picture(file, size)
        except MemoryError:
            raise
        except Exception as error:  # Pillow raises almost anything
            if not skip_broken:
                raise DataError(
                    f"{file}: cannot be read as a picture ({error}); take it away, or leave out "
                    "all such pictures (--skip-broken, or the option skip_broken)"
                ) from error
            broken.append(file.name)
            continue
        is_empty = False
        yield file.relative_to(path), picture
    if broken:
        told = f"{path}: {len(broken)} broken pictures are left out: {', '.join(broken[:5])}"
        warnings.warn(told, DataWarning, stacklevel=2)
    if is_empty:
        raise DataError(f"{path}: there are no pictures ({', '.join(_SUFFIXES)})")


def _named(path: Path, pictures: Mapping[Path, np.ndarray]) -> dict[str, Shaped]:
    names = np.array([name.as_posix() for name in pictures], dtype=object)
    return {"x": _stack(path, pictures), "row_names": names}


def _read_picture(file: Path, size: int | None) -> np.ndarray:
    """Grey (height, width), uint8 or uint16, or coloured (height, width, 3), uint8."""
    if not file.is_file():
        raise ValueError("it is no file")
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(file, formats=_FORMATS) as opened:
            check_claim("picture", 3 * math.prod(opened.size), file.stat().st_size, file)
            image = ImageOps.exif_transpose(opened)
            if image.mode in _SIXTEEN_BITS:
                values = np.asarray(image)
                if values.min() < 0 or values.max() > np.iinfo(np.uint16).max:
                    raise ValueError("its values take more than 16 bits")
                image = Image.fromarray(values.astype(np.float32))  # which can be resized
            elif image.has_transparency_data:
                shown = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", shown.size, "white"), shown)
                image = image.convert("L" if opened.mode == "LA" else "RGB")
            elif image.mode != "L":
                image = image.convert("L" if image.mode == "1" else "RGB")
            if size is not None:
                image = ImageOps.fit(image, (size, size), Image.Resampling.BILINEAR)
            values = np.array(image)
    return values if values.dtype == np.uint8 else np.rint(values).astype(np.uint16)


def _stack(path: Path, pictures: Mapping[Path, np.ndarray]) -> np.ndarray:
    """All pictures as one array (N, height, width) or (N, height, width, 3)."""
    (first, one), *_ = pictures.items()
    for name, picture in pictures.items():
        if picture.shape[:2] != one.shape[:2]:
            sizes = [f"{p.shape[1]} x {p.shape[0]}" for p in (one, picture)]
            raise DataError(
                f"{path}: pictures must have one size, got {sizes[0]} of {first} and {sizes[1]} of "
                f"{name}; bring them together with --set data.options.size=32"
            )
    if len({picture.dtype for picture in pictures.values()}) > 1:
        pictures = {
            name: picture if picture.dtype == np.uint8 else (picture >> 8).astype(np.uint8)
            for name, picture in pictures.items()
        }
    if any(picture.ndim == 3 for picture in pictures.values()):
        shape = (*one.shape[:2], 3)
        return np.stack(
            [p if p.ndim == 3 else np.broadcast_to(p[..., None], shape) for p in pictures.values()]
        )
    return np.stack(list(pictures.values()))


def _labels(path: Path, names: list[Path]) -> dict[str, np.ndarray]:
    """Labels from the first sub-folders, if all pictures are in one, and from the folder's CSV."""
    labels = {}
    if all(len(name.parts) > 1 for name in names):
        labels["folder"] = np.array([name.parts[0] for name in names], dtype=object)
    tables = sorted(path.glob("*.csv"))
    if len(tables) > 1:
        found = ", ".join(table.name for table in tables)
        raise DataError(f"{path}: labels come from one CSV, got {found}")
    for file in tables:
        if not file.is_file():
            raise DataError(f"{file}: must be a file of labels; take it away")
        table = read_csv(file)
        key, *factors = table.columns
        places = {str(name): i for i, name in enumerate(table[key].to_list())}
        rows = [places.get(name.as_posix(), places.get(name.name)) for name in names]
        if all(row is None for row in rows) or set(factors) & {*RESERVED}:
            raise DataError(
                f"{file}: its first column, {key!r}, must have names of pictures such as "
                f"{names[0].as_posix()!r}, and no other may be called {' or '.join(RESERVED)}"
            )
        for factor in factors:
            values = table[factor].to_list()
            column = [None if row is None else values[row] for row in rows]
            labels[factor] = np.array(column, dtype=object)
    return labels


FORMATS.add(
    Format(
        "pictures",
        (FOLDER,),
        "of pictures; its sub-folders are labels",
        read_folder,
        pieces=_read_pieces,
    )
)
