"""What is timed: a preset's model and settings, on its data or on noise of their shape."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pyro_mfcvae.config import Component, Config, config_to_dict, override
from pyro_mfcvae.data import Dataset, load_dataset
from pyro_mfcvae.data.folders import data_folder
from pyro_mfcvae.data.shapes import factor_grid
from pyro_mfcvae.data.shapes3d import FILE
from pyro_mfcvae.data.vision import MNIST, SVHN, DigitFiles
from pyro_mfcvae.inference.noise import derive_seed
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.plugins import build_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.presets.auto import auto_config
from pyro_mfcvae.training import TrainingState, new_state

TABLE = "table"
"""What takes a preset's place: settings from the data, for rows of ten real numbers."""

_N_DIGITS = {"mnist": (60_000, 10_000), "svhn": (73_257, 26_032)}
_LONG = 10**6  # epochs: no timed state comes to the end of its run


@dataclass(frozen=True, eq=False)
class Workload:
    """Settings, data and device of what is timed.

    Attributes:
        config: settings of a real run.
        dataset: observations, or noise of their shape.
        x: its training observations, (N, *event), on the training device.
        made_up: whether it is noise, because files are missing.
    """

    config: Config
    dataset: Dataset
    x: Tensor
    made_up: bool

    @property
    def device(self) -> torch.device:
        """To train on."""
        return self.x.device

    @property
    def dtype(self) -> torch.dtype:
        """Of parameters and activations."""
        return getattr(torch, self.config.training.dtype)

    @property
    def steps_per_epoch(self) -> int:
        """Steps of one epoch of a real run."""
        return -(-len(self.dataset.train) // self.config.training.batch_size)

    def batch(self) -> Tensor:
        """The first observations as a batch, (B, *event), as the model sees them."""
        x = self.x[: self.config.training.batch_size]
        return x.to(self.dtype) / 255 if x.dtype == torch.uint8 else x.to(self.dtype)

    def model(self) -> FacetModel:
        """A new model, always the same, on the device and in training mode."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed(self.config.seed, "weights"))
            model = build_model(self.config.model, self.dataset.observation, self.config.guide)
        return model.to(self.device, self.dtype).train()

    def state(self, guide: str | None = None, n: int | None = None) -> TrainingState:
        """A new state before its first step.

        Args:
            guide: name; None takes that of the settings.
            n: training observations, repeated as needed; None takes those there are.
        """
        x = self.x if n is None else self.x[torch.arange(n, device=self.device) % len(self.x)]
        config = longer(self.config)
        if guide is not None:
            config = replace(config, guide=replace(config.guide, name=guide))
        return new_state(replace(self, config=config).model(), x, config)

    def with_config(self, config: Config) -> Workload:
        """The same data under other settings."""
        return replace(self, config=config)


def workload(config: Config, device: torch.device) -> Workload:
    """Settings with their data, or with noise of their shape where files are missing.

    Nothing is downloaded: a step takes as long on noise.

    Raises:
        ConfigError, DataError: if the data set is unknown, or its files are damaged.
    """
    if config.data.name == TABLE:
        dataset = table()
        return Workload(config, dataset, dataset.x[dataset.train].to(device), made_up=False)
    shape = missing_shape(config.data)
    made_up = shape is not None
    dataset = load_dataset(config.data) if shape is None else noise(config.data.name, *shape)
    return Workload(config, dataset, dataset.x[dataset.train].to(device), made_up)


def missing_shape(data: Component) -> tuple[tuple[int, ...], int, int] | None:
    """Shape of a picture and numbers in both parts of a published data set without files here.

    Returns:
        None if its files are here, or it has none.
    """
    options = data.options
    folder = data_folder(options.get("data_dir"))
    if data.name == "shapes3d":
        if any((place / FILE).is_file() for place in (folder, folder / "Shapes3D")):
            return None
        n = math.prod(map(len, factor_grid(options.get("factors") or {}).values()))
        n_test = round(n * options.get("test_fraction", 0.2))
        size = options.get("size", 32)
        return (3, size, size), n - n_test, n_test
    digits: Mapping[str, tuple[str, DigitFiles, tuple[int, ...]]] = {
        "mnist": ("mnist", MNIST, MNIST.shape),
        "colored-mnist": ("mnist", MNIST, (3, *MNIST.shape[1:])),
        "svhn": ("svhn", SVHN, SVHN.shape),
    }
    if data.name not in digits:
        return None
    source, files, shape = digits[data.name]
    names = (*files.train_names, *files.test_names)
    if all((folder / files.folder / name).is_file() for name in names):
        return None
    asked = (options.get("n_train"), options.get("n_test"))
    n_train, n_test = (n or every for n, every in zip(asked, _N_DIGITS[source], strict=True))
    return shape, n_train, n_test


def noise(name: str, shape: tuple[int, ...], n_train: int, n_test: int) -> Dataset:
    """Noise in the shape of a data set: pictures, uint8 (N, *shape), in ten classes by turns."""
    generator = torch.Generator().manual_seed(0)
    n = n_train + n_test
    x = torch.randint(0, 256, (n, *shape), dtype=torch.uint8, generator=generator)
    rows = torch.arange(n)
    return Dataset(name, x, rows[:n_train], rows[n_train:], {"class": rows % 10})


def table() -> Dataset:
    """4,000 rows around five centres, of mean 0 and standard deviation 1 in ten columns."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.arange(4000)
    x = torch.randn(5, 10, generator=generator)[rows % 5]
    x = x + 0.5 * torch.randn(len(rows), 10, generator=generator)
    return Dataset(TABLE, (x - x.mean(0)) / x.std(0), rows[:3600], rows[3600:], {})


def settings(name: str) -> Config:
    """Those of a preset, or of :data:`TABLE`.

    Raises:
        ConfigError: if there is no such preset.
    """
    if name != TABLE:
        return get_preset(name).config
    none = [f"model.facets.{j}.weight_concentration=null" for j in range(2)]
    return override(auto_config(table(), (5, 4)).config, none)  # by hand pi has no prior


def longer(config: Config) -> Config:
    """The same settings for a run that does not end."""
    *stages, _ = config.training.epochs_per_step
    return replace(config, training=replace(config.training, epochs_per_step=(*stages, _LONG)))


def describe(load: Workload) -> dict[str, object]:
    """Settings and data of a workload, for the record; no folders of this machine."""
    settings = config_to_dict(load.config)
    options = settings["data"]["options"]
    for name in ("data_dir", "path"):
        options.pop(name, None)
    return {
        "data": "made up, because files are missing" if load.made_up else "as the settings say",
        "n_train": len(load.dataset.train),
        "observation": list(load.dataset.observation.shape),
        "n_steps": load.config.training.n_epochs * load.steps_per_epoch,
        "settings": settings,
    }
