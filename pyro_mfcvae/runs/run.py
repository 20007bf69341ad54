"""Run folders: everything about one training, in one place on disk."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import torch
from typing_extensions import override

from pyro_mfcvae.config import Config, config_from_json, config_to_json
from pyro_mfcvae.data import Dataset, as_it_is, in_folder, load_dataset
from pyro_mfcvae.errors import ConfigError, NotSavedWarning, RunError, explain_os
from pyro_mfcvae.evaluation.onnx import to_onnx
from pyro_mfcvae.evaluation.results import Comparison, Evaluation
from pyro_mfcvae.files import (
    aside,
    flush,
    flush_all,
    open_regular,
    own_folder,
    read_json,
    read_regular,
    remove_leftovers,
    validated,
    write_whole,
)
from pyro_mfcvae.hub import Shared, fetching
from pyro_mfcvae.models import FacetModel
from pyro_mfcvae.naming import Names
from pyro_mfcvae.plugins import build_model, guide_class, model_class
from pyro_mfcvae.presets import PRESETS
from pyro_mfcvae.runs.card import model_card
from pyro_mfcvae.runs.columns import Columns, read_columns, written_columns
from pyro_mfcvae.runs.names import read_names, write_names
from pyro_mfcvae.training.callbacks import read_metrics, read_timings
from pyro_mfcvae.training.checkpoints import (
    Checkpoint,
    load_model,
    newest_checkpoint,
    save_model_only,
)

Result = TypeVar("Result")

_SHARED = ("*.json", "metrics.jsonl", "checkpoints/*")
_PACKAGES = ("pyro_mfcvae", "pyro-ppl", "torch", "numpy", "scikit-learn")


class Run(Shared):
    """A run folder, opened.

    Args:
        path: of the folder.

    Raises:
        RunError: if it is no run folder, or its settings cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        try:
            self.config: Config = read_config(self.path / "config.json")
        except FileNotFoundError:
            raise RunError(f"{self.path} is no run folder: it has no config.json") from None

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @classmethod
    def create(
        cls,
        config: Config,
        path: Path | str | None = None,
        name: str | None = None,
        fill: Callable[[Path], object] = lambda folder: None,
        columns: Columns | None = None,
    ) -> Run:
        """Make a new run folder, which has its name only once it is complete.

        Args:
            config: the run's settings.
            path: of the folder; None makes ``runs/NAME-001``, or counts on.
            name: for that; None takes the preset's, or the data's if they are other data.
            fill: writes what else belongs into the folder that it is given.
            columns: of its data, where they have names.

        Raises:
            ConfigError: if the given folder exists, or none can be made there.
        """
        cls.check_path(path)
        named = _named(config, name) if path is None else Path(path)
        new = aside(named)
        try:
            named.parent.mkdir(parents=True, exist_ok=True)
            if path is not None:  # else another process may be making a run of this name
                remove_leftovers(named.parent, re.escape(named.name))
            shutil.rmtree(new, ignore_errors=True)
            new.mkdir()
        except OSError as error:
            raise ConfigError(f"no run folder can be made: {explain_os(error)}") from None
        try:
            write_whole(new / "config.json", config_to_json(config))
            write_whole(new / "environment.json", json.dumps(_environment(), indent=2) + "\n")
            if columns:
                write_whole(new / "columns.json", written_columns(columns) + "\n")
            fill(new)
            flush_all(new)
            while True:
                folder = named if path is not None else _next_number(named)
                try:
                    run = cls(new.rename(folder))
                    flush(folder.parent)
                    return run
                except OSError:  # another run may have taken the number in this moment
                    if path is not None or not folder.exists():
                        raise
        except BaseException:
            shutil.rmtree(new, ignore_errors=True)
            raise

    @staticmethod
    def number(config: Config) -> Path:
        """A new and empty folder ``runs/NAME-001``, or counting on, for what becomes a run."""
        named = _named(config)
        named.parent.mkdir(parents=True, exist_ok=True)
        while True:
            with suppress(FileExistsError):  # another process may have taken the number
                folder = _next_number(named)
                folder.mkdir()
                return folder

    def change(self, config: Config) -> None:
        """Take over other settings, of the same run in another place."""
        if config != self.config:
            write_whole(self.path / "config.json", config_to_json(config))
            self.config = config

    @staticmethod
    def check_path(path: Path | str | None) -> None:
        """Raise a ConfigError if a given run folder exists, or none can be made there."""
        if path is not None and Path(path).exists():
            raise ConfigError(f"{path} exists already; choose a new folder")
        folder = Path("runs" if path is None else path).absolute()
        above = next(place for place in (folder, *folder.parents) if place.exists())
        if not (above.is_dir() and os.access(above, os.W_OK)):
            raise ConfigError(f"no run folder can be made: {above} is no folder to write in")

    @property
    def metrics_path(self) -> Path:
        """Log points, one JSON object per line."""
        return self.path / "metrics.jsonl"

    @property
    def timings_path(self) -> Path:
        """How long each stretch of training took."""
        return self.path / "timings.json"

    @property
    def names_path(self) -> Path:
        """Names of facets and clusters; missing where none were given."""
        return self.path / "names.json"

    @property
    def checkpoints(self) -> Path:
        """Folder of the checkpoints."""
        return self.path / "checkpoints"

    @property
    def figures(self) -> Path:
        """Folder of the figures.

        Raises:
            RunError: if it is a link.
        """
        return own_folder(self.path / "figures")

    def metrics(self) -> list[dict[str, Any]]:
        """All log points, in order; errors are those of :func:`read_metrics`."""
        return read_metrics(self.metrics_path)

    def training_seconds(self) -> float | None:
        """Seconds of training so far; None if a part was not recorded, as of a killed process.

        Raises:
            RunError: if the file with the timings is damaged.
        """
        stretches, step = read_timings(self.timings_path), 0
        for stretch in stretches:
            if stretch.first_step != step:
                return None
            step = stretch.last_step
        return sum(s.seconds for s in stretches) if step and step == self.step() else None

    def checkpoint(self) -> Checkpoint:
        """The newest whole checkpoint.

        Raises:
            RunError: if there is none, or the settings have changed since it was written.
        """
        checkpoint = newest_checkpoint(self.checkpoints)
        checkpoint.check_settings(self.config)
        return checkpoint

    def model(self, checkpoint: Checkpoint | None = None) -> FacetModel:
        """The model at a checkpoint, on the CPU, in evaluation mode.

        Args:
            checkpoint: of this run; None takes the newest whole one.

        Raises:
            RunError: if there is no such checkpoint, it belongs to another model, or the model or
                the guide is from a file that :func:`~pyro_mfcvae.plugins.load_model_file` or
                :func:`~pyro_mfcvae.plugins.load_guide_file` was not given.
        """
        if checkpoint is None:
            return self.newest()[0]
        try:
            model_class(self.config.model)
            guide_class(self.config.guide)
        except ConfigError as error:
            raise RunError(f"{self.path} cannot be opened: {error}") from None
        dtype = getattr(torch, self.config.training.dtype)
        try:
            with torch.random.fork_rng(devices=[]):
                model = build_model(self.config.model, checkpoint.observation, self.config.guide)
            load_model(model.to(dtype=dtype), checkpoint)
        except (RuntimeError, ValueError) as error:
            raise RunError(
                f"checkpoint {checkpoint.path} does not fit config.json: {error}"
            ) from None
        return model.eval()

    def newest(self) -> tuple[FacetModel, Checkpoint]:
        """The model at the newest whole checkpoint, as of :meth:`model`, and the checkpoint."""
        checkpoint = self.checkpoint()
        try:
            return self.model(checkpoint), checkpoint
        except RunError:
            if checkpoint.path.exists():
                raise
            return self.newest()  # training has gone on, and removed it

    def dataset(self, data_dir: Path | str | None = None) -> Dataset:
        """The data that the run was trained on and is judged by, loaded again.

        Args:
            data_dir: folder of the data's files, in place of the one in the settings, where
                nothing is downloaded to.

        Raises:
            ConfigError: if a folder is given and the data set reads no files.
            DataError: if the data cannot be read.
        """
        data = self.config.data
        return load_dataset(as_it_is(data) if data_dir is None else in_folder(data, data_dir))

    def fade(self) -> tuple[float, ...]:
        """Fade weights of the last step before the newest whole checkpoint."""
        return self.checkpoint().fade

    def step(self) -> int:
        """Steps done at the newest whole checkpoint."""
        return self.checkpoint().step

    def n_steps(self, n_observations: int) -> int:
        """Steps of the whole run with so many training observations."""
        training = self.config.training
        return training.n_epochs * -(-n_observations // training.batch_size)

    @classmethod
    def from_pretrained(
        cls,
        name: Path | str,
        out: Path | str | None = None,
        *,
        revision: str | None = None,
        token: str | None = None,
    ) -> Run:
        """Open a run that was shared: a folder, or a repository of the Hugging Face Hub.

        It evaluates, draws and predicts like any run, and cannot be trained further. The files may
        come from a stranger: none of them is executed, and all are read as ``SECURITY.md`` says.

        Args:
            name: a folder, or ``"OWNER/NAME"``.
            out: a new run folder for what was fetched; None numbers one under ``runs``, and opens
                a folder where it is.
            revision: branch, tag or commit.
            token: of an account that may read the repository.

        Raises:
            ConfigError: if ``out`` exists, or ``huggingface_hub`` is not installed.
            RunError: if it is no run, or cannot be fetched.
        """
        if out is None and Path(name).is_dir():
            return cls(name)
        cls.check_path(out)
        with fetching(name, _SHARED, revision, token) as folder:
            return cls(folder).export(out)

    @override
    def save_pretrained(
        self, folder: Path | str, title: str | None = None, *, half: bool = False
    ) -> Path:
        """Write a copy as of :meth:`export`, with a model card made of the latest evaluation.

        Args:
            folder: a new one.
            title: name in the model card; None takes the folder's.
            half: store floating-point tensors with 16 bits.
        """
        title = Path(folder).resolve().name if title is None else title
        return self._copy(folder, half, title).path

    def export(self, path: Path | str | None, half: bool = False) -> Run:
        """Copy what is needed to use the model, and nothing that is needed to train it further.

        The copy has the newest whole checkpoint without its optimiser, settings, log, evaluation
        and environment, all without folders and trackers of this machine: of a file of data, or
        with a model or a guide, only the name stays.

        Args:
            path: of the copy, which must not exist; None numbers one under ``runs``.
            half: store floating-point tensors with 16 bits.

        Raises:
            ConfigError: if the path exists.
            RunError: if there is no checkpoint, or a number is too large for 16 bits.
        """
        return self._copy(path, half)

    def _copy(self, path: Path | str | None, half: bool, title: str | None = None) -> Run:
        """A copy as of :meth:`export`; with a title it has a model card from the first."""
        model, checkpoint = self.newest()
        if half:
            model = _halved(model)
        data = self.config.data
        options = {name: value for name, value in data.options.items() if name != "data_dir"}
        if "path" in options:
            options["path"] = Path(options["path"]).name
        config = replace(self.config.without_folders(), data=replace(data, options=options))
        config = replace(config, training=replace(config.training, track=()))

        def fill(folder: Path) -> None:
            step, fade = checkpoint.step, checkpoint.fade
            save_model_only(model, folder / "checkpoints", step, fade, checkpoint.data)
            for name in ("metrics.jsonl", "evaluation.json", "columns.json", "names.json"):
                with suppress(FileNotFoundError), open_regular(self.path / name) as file:
                    write_whole(folder / name, file.read())
            environment = self.environment()
            environment.pop("command", None)
            write_whole(folder / "environment.json", json.dumps(environment, indent=2) + "\n")
            if title is not None:
                card = model_card(title, config, model, self.evaluation(), version("pyro_mfcvae"))
                write_whole(folder / "README.md", card)

        return Run.create(config, path, fill=fill)

    def to_onnx(self, path: Path | str) -> Path:
        """Write the model at the newest whole checkpoint as ONNX.

        The file takes observations as the model does: pictures with values from 0 to 1, rows in
        the units of the run's data, categories as their numbers. See
        :func:`~pyro_mfcvae.evaluation.onnx.to_onnx`.

        Raises:
            ConfigError: if a package is missing, or ONNX cannot express the model.
            RunError: as for :meth:`newest`.
        """
        return to_onnx(self.newest()[0], path, columns=self.feature_names())

    def environment(self) -> dict[str, Any]:
        """Command, versions and machine of the beginning; empty if they were not recorded.

        Raises:
            RunError: if the file is damaged.
        """
        read = partial(validated, dict[str, Any])
        return self._results("environment.json", read, "; remove it") or {}

    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns that the model takes, in their order; none where they have none.

        Raises:
            RunError: if the file is damaged.
        """
        return tuple(self._columns())

    def categories(self) -> dict[str, list[str]]:
        """{column: its categories}, which the model takes as numbers from 0, in their order.

        Raises:
            RunError: if the file is damaged.
        """
        return {name: texts for name, texts in self._columns().items() if texts is not None}

    def _columns(self) -> Columns:
        remedy = "; it has the names of the columns, in the order of the training: put them back"
        return self._results("columns.json", read_columns, remedy) or {}

    def evaluation(self) -> Evaluation | None:
        """The results of the latest evaluation, if there was one.

        Raises:
            RunError: if the file is damaged, or of a model with other facets.
        """
        results = self._results("evaluation.json", Evaluation.from_dict)
        n_facets = len(self.config.model.facets)
        if results is not None and len(results.facets) != n_facets:
            raise RunError(
                f"{self.path / 'evaluation.json'} has {len(results.facets)} facets, config.json "
                f"{n_facets}; remove it and measure again"
            )
        return results and replace(results, facet_names=self.facet_names())

    def write_evaluation(self, results: Evaluation) -> None:
        """Replace ``evaluation.json``; warns if it cannot be written."""
        self._write_results("evaluation.json", results.to_dict())

    def cluster_names(self) -> tuple[Names, ...]:
        """Names that a person gave to clusters, of each facet.

        Raises:
            RunError: if the file is damaged, or its names are of other clusters.
        """
        return read_names(self.names_path, self._n_clusters).clusters

    def facet_names(self) -> Names:
        """Names that a person gave to facets; errors as of :meth:`cluster_names`."""
        return read_names(self.names_path, self._n_clusters).facets

    def name_clusters(self, facet: int, names: Names) -> None:
        """Name clusters of a facet, which tables and figures then have; empty names are removed.

        Raises:
            ValueError: if a cluster does not exist, or cannot be called so.
        """
        known = read_names(self.names_path, self._n_clusters)
        if not 0 <= facet < len(known.clusters):
            raise ValueError(f"expected a facet from 0 to {len(known.clusters) - 1}, got {facet}")
        clusters = [dict(own) for own in known.clusters]
        clusters[facet] |= names
        write_names(self.names_path, replace(known, clusters=tuple(clusters)), self._n_clusters)

    def name_facets(self, names: Names) -> None:
        """Name facets, which tables, figures and files then have; empty names are removed.

        Raises:
            ValueError: if a facet does not exist, or cannot be called so.
        """
        known = read_names(self.names_path, self._n_clusters)
        named = replace(known, facets={**known.facets, **names})
        write_names(self.names_path, named, self._n_clusters)

    @property
    def _n_clusters(self) -> list[int]:
        return [facet.n_clusters for facet in self.config.model.facets]

    def comparison(self) -> Comparison | None:
        """The results of the latest comparison of guides, if there was one.

        Raises:
            RunError: if the file is damaged.
        """
        return self._results("comparison.json", Comparison.from_dict)

    def write_comparison(self, results: Comparison) -> None:
        """Replace ``comparison.json``; warns if it cannot be written."""
        self._write_results("comparison.json", results.to_dict())

    def _results(
        self,
        name: str,
        read: Callable[[Any], Result],
        remedy: str = "; remove it and measure again",
    ) -> Result | None:
        try:
            return read_json(self.path / name, read, remedy)
        except FileNotFoundError:
            return None

    def _write_results(self, name: str, results: dict[str, Any]) -> None:
        try:
            write_whole(self.path / name, json.dumps(results, indent=2) + "\n")
        except OSError as error:
            warnings.warn(
                f"the results are not saved: {explain_os(error)}", NotSavedWarning, stacklevel=4
            )


def read_config(path: Path) -> Config:
    """The settings in a file, or of the run in a folder.

    Raises:
        FileNotFoundError: if there is no such file.
        RunError: if they cannot be used.
    """
    settings = path / "config.json" if path.is_dir() else path
    try:
        return config_from_json(read_regular(settings).decode())
    except (ValueError, RecursionError) as error:
        raise RunError(f"{settings} cannot be used: {error}") from None


def _halved(model: FacetModel) -> FacetModel:
    finite = {name: bool(value.isfinite().all()) for name, value in model.state_dict().items()}
    model = model.half()
    lost = [
        name
        for name, value in model.state_dict().items()
        if finite[name] and not bool(value.isfinite().all())
    ]
    if lost:
        raise RunError(
            f"{', '.join(lost)}: numbers too large for 16 bits; export without half precision"
        )
    return model


def run_name(config: Config) -> str:
    """The preset's name, or that of the data where these are not the preset's."""
    preset = PRESETS.get(config.preset or "")
    if preset is not None and preset.config.data.name == config.data.name:
        return preset.name
    return Path(str(config.data.options.get("path", config.data.name))).stem


def _named(config: Config, name: str | None = None) -> Path:
    """``runs/NAME``."""
    return Path("runs", re.sub(r"[^\w.-]+", "-", name or run_name(config)))


def _next_number(named: Path) -> Path:
    """``runs/NAME-001``, or the number after the highest that there is."""
    taken = [
        int(match[1])
        for entry in named.parent.iterdir()
        if (match := re.fullmatch(rf"{re.escape(named.name)}-(\d+)", entry.name))
    ]
    return named.with_name(f"{named.name}-{max(taken, default=0) + 1:03d}")


def commit() -> str | None:
    """The commit that the library is at, where it runs from a clone."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
    folder = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def _n_processes() -> int:
    distributed = torch.distributed
    together = distributed.is_available() and distributed.is_initialized()
    return distributed.get_world_size() if together else 1


def _environment() -> dict[str, Any]:
    return {
        "command": sys.argv,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commit": commit(),
        "n_cpus": os.cpu_count(),
        "n_processes": _n_processes(),
        "cuda_device": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "packages": {name: version(name) for name in _PACKAGES},
    }
