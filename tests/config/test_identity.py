"""Which settings make a run the same run."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pyro_mfcvae.config import Component, ModelSource, config_to_dict, digest, identity, override
from pyro_mfcvae.config.options import leaves
from pyro_mfcvae.presets import get_preset

CONFIG = get_preset("mnist").config
SAME = {
    "version",
    "preset",
    "sampling_temperature",
    "training.device",
    "training.n_threads",
    "training.step",
    "training.cuda_graph",
    "training.log_every",
    "training.checkpoint_every",
    "training.evaluate_every",
    "training.track",
}


def test_every_other_setting_is_part_of_it():
    assert identity(CONFIG).keys() == dict(leaves(config_to_dict(CONFIG))).keys() - SAME
    assert identity(CONFIG)["model.facets.1.n_clusters"] == 25


@pytest.mark.parametrize(
    "assignment",
    [
        "training.device=cuda",
        "training.n_threads=3",
        "training.step=traced",
        "training.log_every=7",
        "training.evaluate_every=0",
        "training.track=tensorboard",
        "preset=other",
        "data.options.data_dir=x",
        "sampling_temperature=0.3",
    ],
)
def test_the_same_run_elsewhere(assignment):
    other = override(CONFIG, [assignment])
    assert identity(other) == identity(CONFIG)
    assert digest(other) == digest(CONFIG)


@pytest.mark.parametrize(
    "assignment",
    [
        "training.learning_rate=0.1",
        "training.precision=bf16",
        "data.options.n_train=5",
        "guide.name=vade-",
        "model.facets.1.covariance=full",
    ],
)
def test_another_run(assignment):
    other = override(CONFIG, [assignment])
    before = identity(CONFIG)
    changed = [path for path, value in identity(other).items() if before.get(path) != value]
    assert changed == [assignment.partition("=")[0]]
    assert digest(other) != digest(CONFIG)


def test_seeds_are_other_runs_of_one_digest():
    other = replace(CONFIG, seed=1)
    assert identity(other) != identity(CONFIG)
    assert digest(other) == digest(CONFIG)


def test_files_may_move_and_not_change():
    def own(path: str, sha256: str = "0" * 64, data: str = "a/mine.npz") -> str:
        source = ModelSource(path=path, sha256=sha256)
        config = replace(CONFIG, data=Component(name="file", options={"path": data}))
        return digest(replace(config, model=replace(CONFIG.model, source=source)))

    assert own("a/own.py") == own("b/own.py") == own("a/own.py", data="b/mine.npz")
    assert len({own("own.py"), own("own.py", "1" * 64), own("own.py", data="a/other.npz")}) == 3


def test_names_of_folders_stay_what_they_are():
    """So that finished runs of studies are found again, also where settings are added."""
    assert digest(get_preset("shapes").config) == "3b4da9d1"
