"""Two data sets as one, half and half: domains to be aligned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NotRequired

import numpy as np
import torch
from pydantic import ConfigDict
from torch import Tensor
from typing_extensions import TypedDict

from pyro_mfcvae.config import Component
from pyro_mfcvae.config.observation import MISSING
from pyro_mfcvae.config.parts import Whole
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.pictures import Size, resize
from pyro_mfcvae.data.registry import (
    as_it_is,
    in_folder,
    load_dataset,
    reads_files,
    register_dataset,
)
from pyro_mfcvae.data.streamed import StreamedObservations
from pyro_mfcvae.errors import DataError


class SourcePart(TypedDict):
    """One of the two: a data set's name and options, and whether to take 255 - x instead of x."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # as pydantic asks for

    name: str
    options: NotRequired[dict[str, Any]]
    inverted: NotRequired[bool]


@register_dataset("mixed")
def mixed(
    first: SourcePart,
    second: SourcePart,
    size: Size | None = None,
    balanced: bool = True,
    cut_seed: Whole = 0,
    data_dir: str | None = None,
    download: bool = True,
) -> Dataset:
    """Two data sets as one, so that a model can be trained to tell or to align them.

    Grey pictures become coloured where the others are. Batches are half and half, as those of
    UG-VAE (Peis et al., "Unsupervised Learning of Global Factors in Deep Generative Models", 2020,
    Section 4.2), or with ``training.strata="apart"`` each of one of the two.

    Args:
        first: ``{name, options, inverted}`` of the data set that is domain 0. Options and inverted
            (pictures of uint8 become 255 - x) may be left out.
        second: likewise, domain 1.
        size: height and width to which all pictures are resized bilinearly; None leaves them as
            they are.
        balanced: cut the larger training part to the length of the smaller one, likewise the
            held-out parts, and make the domains strata. False takes all observations, and leaves
            batches to chance.
        cut_seed: of the choice of observations that are kept.
        data_dir: folder of the files of both, instead of those in their options.
        download: what is missing there; False leaves folders that are given as they are.

    Returns:
        observations of both, with the label ``domain`` and every factor that both have; classes of
        the same name are one class. The label is for judging only.

    Raises:
        ConfigError: if a name or an option is wrong.
        DataError: if a data set cannot be used, or the observations cannot be made alike.
    """
    parts = [_load(part, data_dir, download) for part in (first, second)]
    inverted = [part.get("inverted", False) for part in (first, second)]
    names = _domain_names(parts, inverted)
    train, test = [part.train for part in parts], [part.test for part in parts]
    if balanced:
        train, test = _equally_many(train, cut_seed), _equally_many(test, cut_seed)
    rows = [torch.cat(both) for both in zip(train, test, strict=True)]
    xs = [part.x[some] for part, some in zip(parts, rows, strict=True)]
    xs = [
        _negative(x, name) if turned else x
        for x, name, turned in zip(xs, names, inverted, strict=True)
    ]
    x = torch.cat(_alike(xs, size, names))
    domain = torch.arange(2).repeat_interleave(torch.tensor([len(some) for some in rows]))
    labels, class_names = _shared_labels(parts, rows)
    is_train = torch.cat(
        [torch.arange(len(some)) < len(kept) for some, kept in zip(rows, train, strict=True)]
    )
    return Dataset(
        "mixed",
        x,
        torch.nonzero(is_train).flatten(),
        torch.nonzero(~is_train).flatten(),
        {"domain": domain, **labels},
        {"domain": names, **class_names},
        strata=domain if balanced else None,
    )


def _load(part: SourcePart, data_dir: str | None, download: bool) -> Dataset:
    settings = Component(name=part["name"], options=dict(part.get("options", {})))
    if data_dir is not None and reads_files(settings.name):
        settings = in_folder(settings, data_dir)
    dataset = load_dataset(settings if download else as_it_is(settings))
    if isinstance(dataset.x, StreamedObservations):
        raise DataError(
            f"{dataset.name}: data sets are mixed in memory, got one that is read from its file as "
            "it is needed; load it with the option memory='load'"
        )
    return dataset


def _domain_names(parts: Sequence[Dataset], inverted: Sequence[bool]) -> tuple[str, ...]:
    names = [
        f"{part.name} inverted" if turned else part.name
        for part, turned in zip(parts, inverted, strict=True)
    ]
    if names[0] == names[1]:
        names = [f"{name} {i}" for i, name in enumerate(names)]
    return tuple(names)


def _equally_many(parts: Sequence[Tensor], seed: int) -> list[Tensor]:
    """As many rows of each as the shortest has, drawn at random and in their order."""
    n = min(map(len, parts))
    draws = (np.random.default_rng(seed).permutation(len(rows))[:n] for rows in parts)
    return [rows[np.sort(drawn)] for rows, drawn in zip(parts, draws, strict=True)]


def _negative(x: Tensor, name: str) -> Tensor:
    if x.dtype != torch.uint8:
        raise DataError(f"{name}: only uint8 observations can be inverted (255 - x), got {x.dtype}")
    return 255 - x


def _alike(xs: Sequence[Tensor], size: int | None, names: Sequence[str]) -> list[Tensor]:
    """Observations of one shape and type."""
    found = " and ".join(
        f"{x.dtype} {tuple(x.shape[1:])} of {name}" for x, name in zip(xs, names, strict=True)
    )
    if xs[0].dtype != xs[1].dtype:
        raise DataError(f"expected observations that are all uint8 or all float32, got {found}")
    if size is not None:
        if any(x.ndim != 4 for x in xs):
            raise DataError(f"only pictures can be resized, got {found}; leave size out")
        xs = [resize(x, size) for x in xs]
    n_channels = {x.shape[1] for x in xs if x.ndim == 4}
    if n_channels == {1, 3}:
        xs = [x.expand(-1, 3, -1, -1) for x in xs]
    if xs[0].shape[1:] != xs[1].shape[1:]:
        raise DataError(
            f"the observations cannot be made alike, got {found}; pictures, grey or with three "
            "channels, can, if size gives all of them one height and width"
        )
    return list(xs)


def _shared_labels(
    parts: Sequence[Dataset], rows: Sequence[Tensor]
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Labels of the factors that both have, with one class for each name, and the names."""
    labels, names = {}, {}
    for factor in parts[0].labels:
        if factor not in parts[1].labels or factor == "domain":  # of something mixed before
            continue
        own = [_class_names(part, factor) for part in parts]
        names[factor] = tuple(dict.fromkeys(own[0] + own[1]))
        places = [
            torch.tensor([*(names[factor].index(name) for name in each), MISSING]) for each in own
        ]  # the last of which is that of what is missing, -1
        labels[factor] = torch.cat(
            [
                place[part.labels[factor][some]]
                for place, part, some in zip(places, parts, rows, strict=True)
            ]
        )
    return labels, names


def _class_names(part: Dataset, factor: str) -> tuple[str, ...]:
    n_classes = int(part.labels[factor].max()) + 1
    return part.class_names.get(factor, tuple(map(str, range(n_classes))))
