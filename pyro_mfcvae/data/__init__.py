"""Observations and labels: rendered scenes, published data sets, the user's own files."""

from pyro_mfcvae.data import (  # noqa: F401  (they register)
    arcs,
    aspects,
    celeba,
    colored_mnist,
    files,
    mixed,
    shapes,
    shapes3d,
    vision,
)
from pyro_mfcvae.data.memory import dataset_of
from pyro_mfcvae.data.observations import Dataset, as_float, select, spread
from pyro_mfcvae.data.registry import (
    DATASETS,
    as_it_is,
    data_settings,
    in_folder,
    load_dataset,
    reads_files,
    register_dataset,
)

__all__ = [
    "DATASETS",
    "Dataset",
    "as_float",
    "as_it_is",
    "data_settings",
    "dataset_of",
    "in_folder",
    "load_dataset",
    "reads_files",
    "register_dataset",
    "select",
    "spread",
]
