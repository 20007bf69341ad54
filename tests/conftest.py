"""Fixtures shared by all tests."""

from __future__ import annotations

import os
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # before torch is imported: it reads this once
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pyro
import pytest
import torch

pytest.register_assert_rewrite("browser", "model_cases", "prior_contract")

ROOT = Path(__file__).resolve().parent.parent
SHARED = Path(os.environ.get("MFCVAE_SHARED", ROOT.parent / "shared"))


@pytest.hookimpl(tryfirst=True)  # before xdist looks at its options
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Use all cores, up to eight, where xdist is there and the command does not say how many."""
    is_worker = "PYTEST_XDIST_WORKER" in os.environ
    if is_worker or not config.pluginmanager.hasplugin("xdist"):
        return
    option = config.option
    if option.numprocesses is None and not option.tx and option.dist == "no":
        option.numprocesses, option.dist = "auto", "loadfile"
        option.maxprocesses = option.maxprocesses or 8


@pytest.fixture(autouse=True, scope="session")
def _few_searches():
    """The partitions of the tests' rows are plain, and most are fitted for other reasons."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pyro_mfcvae.training.start.subspaces._N_SEARCHES", 5)
        yield


@pytest.fixture(autouse=True, scope="session")
def _no_waiting_for_disks():
    """Files of tests need not survive power cuts, and waiting for disks takes long."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(autouse=True)
def _clean_state():
    """Every test starts from the same seed and leaves Pyro's global store empty."""
    torch.manual_seed(0)
    pyro.clear_param_store()
    yield
    assert not list(pyro.get_param_store().keys())


@pytest.fixture(scope="session")
def golden() -> Path:
    """Folder with outputs of the first authors' implementation."""
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"outputs of the first authors' code are not at {folder} (set MFCVAE_SHARED)")
    return folder


@pytest.fixture(scope="session")
def mnist_folder() -> Path:
    """Folder of downloaded data that holds MNIST."""
    folder = SHARED / "data"
    if not (folder / "MNIST/raw").is_dir():
        pytest.skip(f"MNIST is not in {folder} (set MFCVAE_SHARED)")
    return folder
