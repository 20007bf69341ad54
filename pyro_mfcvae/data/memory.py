"""Data in memory: arrays, data frames, and data sets of torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset as TorchDataset

from pyro_mfcvae.data.arrays import Shaped, layout_of
from pyro_mfcvae.data.files import dataset_from_arrays
from pyro_mfcvae.data.frames import arrays_of_frame, as_frame, numbers_of
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.errors import DataError


def observations_of(x: object, event: tuple[int, ...] | None = None) -> Tensor:
    """Observations (N, *event) from a tensor, an array or a data frame, read as from a file.

    A tensor that has the shape of observations, where that is known, stays as it is. Of a data
    frame the columns of numbers and booleans count.

    Raises:
        DataError: if these are no such observations.
    """
    if isinstance(x, Tensor) and x.shape[1:] == event:
        return x
    frame = as_frame(x)
    if frame is not None:
        x = numbers_of(frame)
    array = x.detach().cpu().numpy() if isinstance(x, Tensor) else np.asarray(x)
    layout = layout_of(array.shape, array.dtype, "x")
    if event is not None and array.shape[1:] == event:
        layout = replace(layout, event=event, channels_last=False)
    if event not in (None, layout.event):
        raise DataError(f"x must have observations of shape {event}, got shape {array.shape}")
    return layout.tensor(array)


def dataset_of(
    data: ArrayLike | TorchDataset[Any] | object,
    labels: Sequence[str] | Mapping[str, ArrayLike] | None = None,
    test_fraction: float = 0.2,
    split_seed: int = 0,
    name: str = "data",
    categories: Sequence[str] = (),
) -> Dataset:
    """A data set to train on, read by the rules for files.

    Args:
        data: rows (N, features) or pictures; a data frame of pandas, polars or the like, whose text
            is labels or categories; or a data set of torch, whose items are observations or pairs
            of an observation and its ``label``.
        labels: names of the columns of a data frame that are labels, or else {factor: labels (N,)}.
        test_fraction: share that is held out.
        split_seed: seed of the split.
        name: of the data set.
        categories: names of the columns of a data frame whose text is trained on.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(100, 4))
        >>> dataset = dataset_of(x, labels={"kind": np.arange(100) % 2})
        >>> dataset.observation.shape, len(dataset.train), len(dataset.test)
        ((4,), 80, 20)

    Raises:
        DataError: if these are no observations or labels.
    """
    frame = as_frame(data)
    if frame is not None and not isinstance(labels, Mapping):
        arrays = arrays_of_frame(frame, labels, name, categories)
        return dataset_from_arrays(arrays, name, name, test_fraction, split_seed, labels=labels)
    if categories:
        raise DataError("categories are columns of a data frame, whose labels are named as well")
    arrays = _arrays_of_items(data) if isinstance(data, TorchDataset) else {"x": np.asarray(data)}
    if isinstance(labels, Mapping):
        arrays |= {factor: np.asarray(values) for factor, values in labels.items()}
    return dataset_from_arrays(arrays, name, name, test_fraction, split_seed)


def _arrays_of_items(data: TorchDataset[Any]) -> dict[str, Shaped]:
    items = [data[i] for i in range(len(data))]  # type: ignore[arg-type]  # as torch asks for
    if not items:
        raise DataError("the data set has no items")
    if not isinstance(items[0], tuple | list):
        return {"x": np.stack([np.asarray(item) for item in items])}
    return {
        "x": np.stack([np.asarray(item[0]) for item in items]),
        "label": np.stack([np.asarray(item[1]) for item in items]),
    }
