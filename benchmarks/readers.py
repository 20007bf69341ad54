"""Every kind of file that the library reads: small valid ones, and what reads them."""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.mutants import Files
from pyro_mfcvae.config import Component, Config, config_to_json, override
from pyro_mfcvae.data import Dataset, load_dataset
from pyro_mfcvae.data.inspection import inspect_data
from pyro_mfcvae.data.rows import read_rows
from pyro_mfcvae.errors import ConfigError, DataError, RunError
from pyro_mfcvae.presets import get_preset

_N = 20
_NAMES = ("height", "width")
_SETTINGS = (
    'data.options={"size": 8, "factors": {"wall_hue": [5], "object_hue": [6], "scale": [0],'
    ' "floor_hue": [0, 3, 6], "shape": [0, 2], "orientation": [0, 5, 11]}}',
    "model.encoder.options.backbone=8",
    "model.decoder.options.backbone=8",
    "model.decoder.options.rungs=8",
    "model.facets.0.n_clusters=3",
    "model.facets.1.n_clusters=4",
    "training.batch_size=8",
    "training.epochs_per_step=[1, 1]",
    "training.n_fade_in_batches=0",
    "training.device=cpu",
    "training.n_threads=1",
)
_THEIRS = {
    "model_type": "fc_vlae",
    "dataset": "fast_mnist",
    "z_j_dim_list": [3, 2],
    "n_clusters_j_list": [5, 4],
    "cov_type_p_z_c": "diag",
    "init_type_p_z_c": "gmm",
    "fix_pi_p_c": False,
    "activation": "elu",
    "enc_backbone_dims": [8, 12],
    "enc_backbone_n_hidden": [1, 1],
    "enc_rung_dims": [-1, -1],
    "enc_rung_n_hidden": [-1, -1],
    "dec_rung_dims": [9, 12],
    "dec_rung_n_hidden": [1, 1],
    "dec_backbone_dims": [7, 9],
    "dec_backbone_n_hidden": [1, 1],
    "do_progressive_training": True,
    "n_epochs_per_progressive_step": [201, 201],
    "n_batches_fade_in": 15000,
    "init_lr": 5e-4,
    "batch_size": 512,
    "seed": 3,
}
_THEIR_SHAPES = {
    "_pi_p_c_j_list": [(5,), (4,)],
    "mu_p_z_j_c_j_list": [(3, 5), (2, 4)],
    "_sigma_square_p_z_j_c_j_list": [(3, 5), (2, 4)],
}
_THEIR_LAYERS = {  # (outputs, inputs)
    "fc_mu_q_z_x_list.0": (3, 8),
    "fc_mu_q_z_x_list.1": (2, 12),
    "fc_log_sigma_square_q_z_x_list.0": (3, 8),
    "fc_log_sigma_square_q_z_x_list.1": (2, 12),
    "encoder.fc_backbone.0.0": (8, 784),
    "encoder.fc_backbone.1.0": (12, 8),
    "decoder.fc_rung.0.0": (9, 3),
    "decoder.fc_backbone.0.0": (7, 9),
    "decoder.fc_backbone.1.0": (12, 2),
    "decoder.fc_backbone.1.3": (9, 12),
    "layer_x_hat_z": (784, 7),
}


@dataclass(frozen=True)
class Reader:
    """A kind of file.

    Attributes:
        make: writes what it needs into a folder that is not there, and returns valid files.
        read: reads what was made, or a mutant of it, in a folder. It raises a documented error, or
            returns whether all parts could be read.
    """

    make: Callable[[Path], list[Files]]
    read: Callable[[Path], bool]


class _Parts:
    """Parts that are read one after the other, though one before them is refused."""

    all_valid = True

    @contextmanager
    def each(self) -> Iterator[None]:
        try:
            yield
        except (ConfigError, DataError, RunError):
            self.all_valid = False


def _files(name: str, *contents: bytes) -> list[Files]:
    return [{name: content} for content in contents]


def _values(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(_N, len(_NAMES)))


def _read_data(name: str, path: Path, memory: str | None = None) -> bool:
    """All that is done with data: a training's, an inspection's and an assignment's reading."""
    options = {"path": str(path / name)}
    settings = Component(name="file", options=options)
    parts = _Parts()
    inspected = inspect_data(settings)
    parts.all_valid = inspected.dataset is not None
    for way in ("stream", "load") if memory is None else (memory,):
        with parts.each():
            dataset = load_dataset(Component(name="file", options={**options, "memory": way}))
            dataset.split("train")[0][:2]
            dataset.x[:]
            _ = dataset.fingerprint, dataset.observation
    with parts.each():
        names = (
            _NAMES if "." in name and name.rpartition(".")[2] in ("csv", "tsv", "parquet") else ()
        )
        event = (3, 8, 8) if name == "photos" else (len(_NAMES),)
        for _ in read_rows(settings, event, names).pieces(7):
            pass
    return parts.all_valid


def _make_npz(folder: Path) -> list[Files]:
    files = []
    for seed in range(2):
        file = io.BytesIO()
        n = _N * (1 + seed)
        labels = {"kind": np.array(["a", "b"] * (n // 2)), "size": np.arange(n) % 3}
        more = {"feature_names": np.array(_NAMES), "x_test": _values(9)} if seed else {}
        np.savez_compressed(file, x=_values(seed), **labels, **more)
        files.append(file.getvalue())
    return _files("my.npz", *files)


def _make_npy(folder: Path) -> list[Files]:
    files = []
    for array in (_values(0), _values(1).astype("f4"), np.asfortranarray(_values(2))):
        file = io.BytesIO()
        np.save(file, array)
        files.append(file.getvalue())
    return _files("my.npy", *files)


def _frame(seed: int) -> Any:
    import pandas as pd

    values = _values(seed).round(3)
    names = [f"row {i}" for i in range(_N)]
    columns = {"height": values[:, 0], "width": values[:, 1], "kind": ["a", "b"] * (_N // 2)}
    return pd.DataFrame({**columns, "name": names})


def _make_text(suffix: str, separator: str, folder: Path) -> list[Files]:
    texts = [_frame(seed).to_csv(index=False, sep=separator).encode() for seed in range(2)]
    return _files(f"my.{suffix}", *texts)


def _make_parquet(folder: Path) -> list[Files]:
    return _files("my.parquet", *(_frame(seed).to_parquet() for seed in range(2)))


def _make_h5(folder: Path) -> list[Files]:
    import h5py

    files = []
    for options in ({}, {"chunks": (5, 2), "compression": "gzip"}):
        file = io.BytesIO()
        with h5py.File(file, "w") as opened:
            opened.create_dataset("x", data=_values(len(options)), **options)
            opened["kind"] = np.array(["a", "b"] * (_N // 2), dtype=object)
            opened["labels"], opened["label_names"] = np.arange(_N) % 3, np.array([b"size"])
            opened["feature_names"] = np.array(_NAMES, dtype=object)
        files.append(file.getvalue())
    return _files("my.h5", *files)


def _make_h5ad(folder: Path) -> list[Files]:
    import h5py
    from scipy.sparse import csr_matrix

    files = []
    for is_sparse in (False, True):
        file = io.BytesIO()
        with h5py.File(file, "w") as opened:
            x = np.maximum(_values(3), 0).astype("f4")
            if is_sparse:
                matrix, group = csr_matrix(x), opened.create_group("X")
                group.attrs.update({"encoding-type": "csr_matrix", "shape": x.shape})
                for part in ("data", "indices", "indptr"):
                    group[part] = getattr(matrix, part)
            else:
                opened["X"] = x
            for part, names in (("obs", [f"cell {i}" for i in range(_N)]), ("var", _NAMES)):
                group = opened.create_group(part)
                group.attrs["_index"], group["index"] = "index", np.array(names, dtype=object)
            obs = opened["obs"]
            obs.attrs["column-order"] = ["type", "alive"]
            obs["type/codes"] = np.array([0, 1, -1, 1] * (_N // 4), "i1")
            obs["type/categories"] = np.array(["B", "T"], dtype=object)
            obs["alive/values"] = np.array([True, False] * (_N // 2))
            obs["alive/mask"] = np.arange(_N) == 0
        files.append(file.getvalue())
    return _files("my.h5ad", *files)


def _make_pictures(folder: Path) -> list[Files]:
    from PIL import Image

    made: dict[str, bytes] = {}
    random = np.random.default_rng(0)
    names = [f"photos/{'ab'[i % 2]}/{i}{suffix}" for i in range(3) for suffix in _PICTURES]
    for name in names:
        file = io.BytesIO()
        Image.fromarray(random.integers(0, 256, (8, 8)).astype("u1")).save(
            file, _PICTURES[f".{name.rpartition('.')[2]}"]
        )
        made[name] = file.getvalue()
    lines = [f"{name.removeprefix('photos/')},{i % 2}" for i, name in enumerate(names)]
    made["photos/labels.csv"] = "\n".join(["file,size", *lines, ""]).encode()
    return [made]


_PICTURES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".gif": "GIF",
    ".tif": "TIFF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".pgm": "PPM",
}


def _config(seed: int = 0) -> Config:
    return override(get_preset("shapes").config, [*_SETTINGS, f"seed={seed}"])


@cache
def _run_data() -> Dataset:
    return load_dataset(_config().data)


def _make_runs(folder: Path) -> list[Files]:
    from pyro_mfcvae.runs.measure import evaluate_run
    from pyro_mfcvae.runs.train import train

    files = []
    for seed in range(2):
        run = train(_config(seed), folder / str(seed), dataset=_run_data())[0]
        evaluate_run(run)
        run.name_clusters(0, {0: "light", 1: "heavy"})
        found = [p for p in run.path.rglob("*") if p.is_file() and p.name != ".lock"]
        newest = str(run.checkpoint().path)
        kept = [p for p in found if "checkpoints" not in p.parts or str(p).startswith(newest)]
        made = {str(p.relative_to(run.path)): p.read_bytes() for p in kept}
        files.append(made | {"columns.json": json.dumps(["a", "b"]).encode()})
    return files


def _read_run(path: Path) -> bool:
    """All files of a run; a training that goes on is prepared and takes no step."""
    from pyro_mfcvae.runs.run import Run
    from pyro_mfcvae.training.begin import prepare
    from pyro_mfcvae.training.checkpoints import restore

    run, parts = Run(path), _Parts()
    for read in (
        run.metrics,
        run.training_seconds,
        run.evaluation,
        run.comparison,
        run.environment,
        run.feature_names,
        run.cluster_names,
        run.newest,
    ):
        with parts.each():
            read()
    with parts.each():
        checkpoint = run.checkpoint()
        checkpoint.check_settings(run.config)
        _, state = prepare(run.config, _run_data())
        restore(state, checkpoint)
    return parts.all_valid


def _make_estimators(folder: Path) -> list[Files]:
    from pyro_mfcvae import FacetClustering

    folder.mkdir()
    files = []
    for x in (_frame(0).drop(columns="name"), np.tile(_values(1), (2, 1))):
        estimator = FacetClustering(n_clusters=(3, 2), max_steps=2, random_state=0, n_init=1)
        estimator.fit(x).save(folder / "my.safetensors")
        files.append((folder / "my.safetensors").read_bytes())
    return _files("my.safetensors", *files)


def _read_estimator(path: Path) -> bool:
    from pyro_mfcvae import FacetClustering

    estimator = FacetClustering.load(path / "my.safetensors")
    x: Any = _values(0)
    if estimator.n_features_in_ == 3:
        x = _frame(0).drop(columns="name")
    estimator.predict(x)
    estimator._repr_html_()
    return True


def _make_specs(folder: Path) -> list[Files]:
    grid = """preset: shapes
set:
  training.epochs_per_step: [1, 1]
seeds: [0, 1]
grid:
  training.learning_rate: [0.0005, 0.002]
  model.facets.1.n_clusters: [10, 30]
objective: {measure: elbo}
"""
    drawn = """preset: shapes
seeds: 3
random:
  n_trials: 4
  seed: 0
  space:
    training.learning_rate: {log_uniform: [1.0e-4, 1.0e-2]}
    model.facets.1.n_clusters: {integer: [10, 60]}
    training.batch_size: {choice: [64, 128]}
objective: {measure: nmi, facet: 1, factor: floor_hue, direction: max}
"""
    return _files("my.yaml", grid.encode(), drawn.replace(", direction: max", "").encode())


def _read_spec(path: Path) -> bool:
    from pyro_mfcvae.studies.sweep.arms import make_arms
    from pyro_mfcvae.studies.sweep.spec import read_spec

    return bool(make_arms(read_spec(path / "my.yaml")))


def _make_configs(folder: Path) -> list[Files]:
    names = ("shapes", "mnist", "vade-mnist", "ugvae-mnist", "vlac-mnist", "gmvae-mnist")
    from pyro_mfcvae.presets import PRESETS

    configs = [_config(), *(get_preset(name).config for name in names if name in PRESETS)]
    return _files("my.json", *(config_to_json(config).encode() for config in configs))


def _read_config(path: Path) -> bool:
    """Settings that a training would begin with, on data that are there."""
    from pyro_mfcvae.runs.run import read_config

    config = read_config(path / "my.json")
    override(config, ["seed=1"])
    json.loads(config_to_json(config))
    return True


def _make_theirs(folder: Path) -> list[Files]:
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.rand(shape, generator=generator)

    tensors = {
        f"{n}.{j}": draw(*s) for n, shapes in _THEIR_SHAPES.items() for j, s in enumerate(shapes)
    }
    for name, (n_out, n_in) in _THEIR_LAYERS.items():
        tensors |= {f"{name}.weight": draw(n_out, n_in), f"{name}.bias": draw(n_out)}
    file = io.BytesIO()
    torch.save({"state_dict": tensors, "args": _THEIRS}, file)
    old = io.BytesIO()
    content = {"state_dict": tensors, "args": argparse.Namespace(**_THEIRS)}
    torch.save(content, old, _use_new_zipfile_serialization=False)
    settings = json.dumps(_THEIRS).encode()
    return [{"my.pt": f.getvalue(), "my.yaml": settings} for f in (file, old)]


def _read_theirs(path: Path) -> bool:
    """With the settings in the file, and with those beside it."""
    from pyro_mfcvae.official import import_run

    parts = _Parts()
    for settings in (None, path / "my.yaml"):
        with parts.each():
            import_run(path / "my.pt", settings, path / f"imported-{settings is None}")
    return parts.all_valid


def _data(name: str, make: Callable[[Path], list[Files]], memory: str | None = "load") -> Reader:
    return Reader(make, partial(_read_data, name, memory=memory))


READERS: dict[str, Reader] = {
    "npz": _data("my.npz", _make_npz),
    "npy": _data("my.npy", _make_npy, None),
    "csv": _data("my.csv", partial(_make_text, "csv", ",")),
    "tsv": _data("my.tsv", partial(_make_text, "tsv", "\t")),
    "h5": _data("my.h5", _make_h5, None),
    "h5ad": _data("my.h5ad", _make_h5ad),
    "parquet": _data("my.parquet", _make_parquet),
    "pictures": _data("photos", _make_pictures),
    "run": Reader(_make_runs, _read_run),
    "estimator": Reader(_make_estimators, _read_estimator),
    "sweep": Reader(_make_specs, _read_spec),
    "config": Reader(_make_configs, _read_config),
    "official": Reader(_make_theirs, _read_theirs),
}
"""Readers by the name of what they read."""
