"""Importing: what is public, and that nothing happens."""

from __future__ import annotations

import re
import runpy
import subprocess
import sys
from types import SimpleNamespace

import pytest
import yaml
from conftest import ROOT, pytest_cmdline_main

import pyro_mfcvae


def test_public_names():
    for name in pyro_mfcvae.__all__:
        assert getattr(pyro_mfcvae, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        pyro_mfcvae.nothing  # noqa: B018


def test_one_version_stands_everywhere():
    version = pyro_mfcvae.__version__
    headings = re.findall(r"^## \[(.+?)\]", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert headings[:2] == ["Unreleased", version]
    assert yaml.safe_load((ROOT / "CITATION.cff").read_text())["version"] == version


@pytest.fixture(scope="module")
def packaging():
    """The names of setup.py, and what it gives setuptools."""
    given = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("setuptools.setup", lambda **keywords: given.update(keywords))
        return runpy.run_path(str(ROOT / "setup.py")), given


def test_the_readme_leads_somewhere_from_an_index_too(packaging):
    names, given = packaging
    readme = (ROOT / "README.md").read_text()
    linked = r"\]\((.*?)\)|src=\"(.*?)\""
    for repository in ("", "https://example.org/mine"):
        text = names["described"](readme, repository)
        links = {link for both in re.findall(linked, text) for link in both if link}
        assert all(link.startswith("https://") for link in links)
        if repository:
            start = f"{repository}/blob/v{pyro_mfcvae.__version__}/docs/start.md"
            picture = f"{repository}/raw/v{pyro_mfcvae.__version__}/examples/results/"
            assert start in links
            assert any(link.startswith(picture) for link in links)
        else:
            assert "[" not in re.sub(r"```.*?```|`.*?`|\[[^]]*\]\(https", "", text, flags=re.DOTALL)
    repository = yaml.safe_load((ROOT / "CITATION.cff").read_text()).get("repository-code", "")
    assert given["long_description"] == names["described"](readme, repository)
    assert given["project_urls"] == ({"Source": repository} if repository else {})


def test_the_extra_all_has_every_other_one(packaging):
    _, given = packaging
    extras = given["extras_require"]
    for name in {*extras} - {"all", "test"}:
        assert {*extras[name]} <= {*extras["all"]}, name


def _python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_importing_brings_in_no_heavy_library():
    heavy = "['torch', 'pyro', 'sklearn', 'torchvision', 'matplotlib', 'scipy', 'h5py']"
    loaded = f"import sys; print([m for m in {heavy} if m in sys.modules])"
    assert _python(f"import pyro_mfcvae, pyro_mfcvae.cli; {loaded}") == "[]"
    loaded_by_models = _python(f"from pyro_mfcvae import MFCVAE; {loaded}")
    assert loaded_by_models == "['torch', 'pyro']"


def test_importing_changes_no_global_state():
    code = (
        "import torch, pyro, torch.distributions as D; "
        "state = lambda: (torch.get_default_dtype(), torch.initial_seed(), torch.get_num_threads(),"
        " D.Distribution._validate_args, pyro.poutine.runtime._PYRO_STACK.copy(),"
        " list(pyro.get_param_store().keys())); "
        "before = state(); import pyro_mfcvae.runs.train; print(before == state())"
    )
    assert _python(code) == "True"


@pytest.mark.parametrize("module", ["torch.nn", "pyro.infer", "numpy", "sklearn", "pandas.core"])
@pytest.mark.parametrize("category", [DeprecationWarning, FutureWarning])
def test_what_a_package_deprecates_is_an_error(module, category):
    code = "import warnings; warnings.warn('old', category)"
    with pytest.raises(category, match="old"):
        exec(code, {"__name__": module, "category": category})


@pytest.mark.parametrize("has_xdist", [True, False])
@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "auto"), ({"numprocesses": 0}, 0), ({"tx": ["popen"]}, None), ({"dist": "load"}, None)],
)
def test_tests_use_all_cores_where_nothing_else_is_asked_for(
    monkeypatch, has_xdist, given, expected
):
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    plugins = SimpleNamespace(hasplugin=lambda name: has_xdist and name == "xdist")
    usual = {"numprocesses": None, "maxprocesses": None, "tx": [], "dist": "no"}
    option = SimpleNamespace(**(usual | given if has_xdist else {}))
    pytest_cmdline_main(SimpleNamespace(option=option, pluginmanager=plugins))
    assert vars(option).get("numprocesses") == (expected if has_xdist else None)
