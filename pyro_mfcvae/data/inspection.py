"""What a training would make of data, before anything is trained."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

from pyro_mfcvae.config import Component
from pyro_mfcvae.data.files import AS_WRITTEN, options_of
from pyro_mfcvae.data.formats import Column, find_format
from pyro_mfcvae.data.frames import plan_columns
from pyro_mfcvae.data.observations import Dataset
from pyro_mfcvae.data.registry import load_dataset
from pyro_mfcvae.errors import ColumnsWarning, DataError, DataWarning


@dataclass(frozen=True)
class Inspection:
    """What would be done with data, and why.

    Attributes:
        columns: of a table; of other data, the observations and their factors.
        dataset: the data; None if they cannot be used.
        problem: why they cannot be used; empty if they can.
        notes: what a training would warn of besides.
    """

    columns: tuple[Column, ...]
    dataset: Dataset | None
    problem: str
    notes: tuple[str, ...]


def inspect_data(settings: Component) -> Inspection:
    """What a training would make of the data that settings name.

    Raises:
        ConfigError: if a name or an option is unknown.
        DataError: if there is no such file, or it is damaged.
    """
    columns: list[Column] = []
    if "path" in settings.options:
        path = Path(settings.options["path"]).expanduser()
        if (known := find_format(path)).frame is not None:
            given = {name: settings.options.get(name) for name in AS_WRITTEN}
            frame = known.frame(path, **options_of(known, str(path), **given))
            named = (settings.options.get(use) for use in ("labels", "categories"))
            columns = plan_columns(frame, *named)
    dataset, problem = None, ""
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", DataWarning)
        try:
            dataset = load_dataset(settings)
        except DataError as error:
            problem = str(error)
    if dataset is not None and not columns:
        kind = f"{dataset.x.dtype} {tuple(dataset.x.shape)}".removeprefix("torch.")
        columns = [Column("x", kind, "observations", dataset.observation.kind)]
        columns += [
            Column(name, f"{int(values.max()) + 1} classes", "label", "judges only")
            for name, values in dataset.labels.items()
        ]
    kinds = [(each.category, str(each.message)) for each in told]
    notes = tuple(
        text
        for kind, text in kinds
        if issubclass(kind, DataWarning) and not issubclass(kind, ColumnsWarning)
    )
    return Inspection(tuple(columns), dataset, problem, notes)
