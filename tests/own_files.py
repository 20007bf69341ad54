"""Recipes, tiny settings and a fresh start, for tests of files of one's own."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from click.testing import CliRunner, Result
from conftest import ROOT

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import Config, config_to_dict, override, with_facets
from pyro_mfcvae.data import data_settings
from pyro_mfcvae.plugins import files
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.registry import take_back

SETTINGS = {
    "model.encoder.options.backbone": "8",
    "model.decoder.options.backbone": "8",
    "model.decoder.options.rungs": "8",
    "training.batch_size": "20",
    "training.epochs_per_step": "[1,2]",
    "training.n_fade_in_batches": "3",
    "training.log_every": "3",
    "training.checkpoint_every": "1",
    "training.device": "cpu",
    "training.n_threads": "1",
}
TINY = [word for item in SETTINGS.items() for word in ("--set", "=".join(item))]
TINY += ["--data", "mine.npz", "--facets", "2:3,2:2"]
_PARTS = ("likelihood", "encoder", "decoder")


def recipe(title: str) -> str:
    """The Python of a recipe in CONTRIBUTING.md, by its heading."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    (section,) = re.findall(rf"^### {title}$(.*?)(?=^### |\Z)", page, re.DOTALL | re.MULTILINE)
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return code


def write_data(folder: Path) -> None:
    """Sixty observations of three kinds, in mine.npz."""
    generator = np.random.default_rng(0)
    kind = generator.integers(3, size=60)
    x = kind[:, None] + 0.1 * generator.normal(size=(60, 4))
    np.savez(folder / "mine.npz", x=x.astype(np.float32), kind=kind)


@contextmanager
def nothing_loaded() -> Iterator[None]:
    """As when a process starts: no file has been loaded, and none will have been afterwards."""
    forget_all()
    yield
    forget_all()


def forget_all() -> None:
    """Unload all files."""
    files._LOADED.clear()
    for name in [name for name in sys.modules if name.startswith(files._PREFIX)]:
        del sys.modules[name]
        take_back(name)


def mfcvae(*arguments: str) -> Result:
    """The command line, in this process."""
    return CliRunner().invoke(main, arguments, prog_name="mfcvae")


def tiny_settings() -> Config:
    """Those of TINY."""
    config = with_facets(get_preset("shapes").config, "2:3,2:2")
    config = override(config, [f"{path}={value}" for path, value in SETTINGS.items()])
    data = data_settings("mine.npz")
    options = json.dumps({"name": data.name, "options": dict(data.options)})
    return override(config, [f"data={options}"])


def write_sweep(**spec):
    """TINY as a sweep, in sweep.json."""
    values = config_to_dict(tiny_settings())
    spec["set"] = {part: values[part] for part in ("data", "training")}
    spec["set"] |= {f"model.{part}": values["model"][part] for part in ("facets", *_PARTS)}
    Path("sweep.json").write_text(json.dumps(spec))
    return spec


def sha256(path: Path | str) -> str:
    """Of a file."""
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()
