"""Runs and estimators shared as folders, and through the Hub, for which a folder stands in."""

from __future__ import annotations

import inspect
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from click.testing import CliRunner
from models import tiny_config

from pyro_mfcvae import FacetClustering, VaDEClustering
from pyro_mfcvae.cli import main
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.evaluation.measures import MAIN_ACCURACY
from pyro_mfcvae.pretrained import open_pretrained
from pyro_mfcvae.runs.measure import evaluate_run
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train

X = np.random.default_rng(0).normal([5, 0, -3], [2, 1, 0.1], size=(60, 3))


@pytest.fixture(autouse=True)
def _own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shared") / "shapes"
    run, _, dataset = train(tiny_config(**{"training.epochs_per_step": "[1]"}), folder)
    evaluate_run(run, dataset)
    return run


@pytest.fixture(scope="module")
def estimator():
    few = {"max_steps": 20, "n_init": 1, "random_state": 0}
    return FacetClustering((3, 2), **few).fit(X)


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A folder in place of the Hub: what is sent is copied there, what is fetched comes from it."""
    api = pytest.importorskip("huggingface_hub").HfApi
    sent = tmp_path / "hub"

    def stands_in(name):
        signature = inspect.signature(getattr(api, name))

        def method(*args, **kwargs):
            act = {"create_repo": create, "upload_folder": upload, "snapshot_download": download}
            given = signature.bind(*args, **kwargs).arguments
            return act[name](**{k: v for k, v in given.items() if k != "self"})

        monkeypatch.setattr(api, name, method)

    def create(repo_id, private, exist_ok):
        (sent / repo_id).mkdir(parents=True, exist_ok=exist_ok)
        (sent / repo_id / "private").write_text(str(private))
        return f"https://hub/{repo_id}"

    def upload(repo_id, folder_path, commit_message):
        shutil.copytree(folder_path, sent / repo_id, dirs_exist_ok=True)

    def download(repo_id, revision, local_dir, allow_patterns):
        if not (sent / repo_id).is_dir():
            raise FileNotFoundError("Repository Not Found")
        from huggingface_hub.utils import filter_repo_objects

        files = [p.relative_to(sent / repo_id) for p in (sent / repo_id).rglob("*") if p.is_file()]
        for file in filter_repo_objects(map(str, files), allow_patterns=allow_patterns):
            target = Path(local_dir, file)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(sent / repo_id / file, target, follow_symlinks=False)

    for name in ("create_repo", "upload_folder", "snapshot_download"):
        stands_in(name)
    return sent


def assert_same_model(a, b):
    ours, theirs = a.state_dict(), b.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_run_goes_through_a_folder(run):
    folder = run.save_pretrained("copy")
    opened = Run.from_pretrained(folder)
    assert opened.path == folder
    assert_same_model(opened.model(), run.model())
    again = Run.from_pretrained(folder, "again")
    assert again.path == Path("again")
    assert_same_model(again.model(), run.model())
    with pytest.raises(ConfigError, match="copy exists"):
        run.save_pretrained("copy")


def test_the_model_card_has_the_evaluation(run):
    text = (run.save_pretrained("copy", "me/<shapes>") / "README.md").read_text()
    _, head, body = text.split("---\n", 2)
    told = yaml.safe_load(head)
    assert told["library_name"] == "pyro_mfcvae"
    (index,) = told["model-index"]
    metrics = {m["name"]: m["value"] for m in index["results"][0]["metrics"]}
    found = run.evaluation()
    assert metrics["ELBO, held out, nats"] == found.value("elbo")
    accuracy = found.value(MAIN_ACCURACY, "test", 1, "floor_hue")
    (name,) = [name for name in metrics if "facet 1, floor_hue" in name]
    assert metrics[name] == accuracy
    assert "# me/&lt;shapes>" in body
    assert f"{100 * accuracy:.1f}" in body
    run.export("plain").path.joinpath("evaluation.json").unlink()
    bare = Run("plain").save_pretrained("bare") / "README.md"
    assert "has not been evaluated" in bare.read_text()


def test_the_hub_reads_the_card(run):
    cards = pytest.importorskip("huggingface_hub")
    data = cards.ModelCard.load(run.save_pretrained("copy") / "README.md").data
    assert {result.metric_type for result in data.eval_results} == {"elbo", MAIN_ACCURACY}


def test_a_run_goes_through_the_hub(run, hub):
    assert run.push_to_hub("me/shapes") == "https://hub/me/shapes"
    assert (hub / "me/shapes/private").read_text() == "True"
    assert "Run.from_pretrained('me/shapes')" in (hub / "me/shapes/README.md").read_text()
    (hub / "me/shapes/run.py").write_text("raise SystemExit")
    fetched = Run.from_pretrained("me/shapes", "fetched")
    assert_same_model(fetched.model(), run.model())
    assert fetched.evaluation() == run.evaluation()
    assert not (fetched.path / "run.py").exists()
    with pytest.raises(RunError, match=r"neither/here.*Repository Not Found"):
        Run.from_pretrained("neither/here")


def test_the_command_line_sends_and_opens(run, hub):
    def mfcvae(*words):
        result = CliRunner().invoke(main, list(map(str, words)), prog_name="mfcvae")
        assert result.exit_code == 0, result.output
        return result.output

    assert mfcvae("export", run.path, "--hub", "me/shapes") == "https://hub/me/shapes\n"
    assert "is ready" in mfcvae("pretrained", "me/shapes", "--out", "opened")
    assert_same_model(Run("opened").model(), run.model())
    assert_same_model(open_pretrained("me/shapes", "once-more").model(), run.model())
    assert mfcvae("export", run.path, "folder") == "folder\n"
    assert Path("folder/README.md").is_file()


def test_links_of_strangers_are_refused(run, hub):
    run.push_to_hub("me/shapes")
    Path("secret.json").write_text("{}")
    config = hub / "me/shapes/config.json"
    config.unlink()
    config.symlink_to(Path("secret.json").resolve())
    with pytest.raises(RunError, match="regular file"):
        Run.from_pretrained("me/shapes", "fetched")
    assert not Path("fetched").exists()


def test_an_estimator_goes_through_folder_and_hub(estimator, hub):
    folder = estimator.save_pretrained("rows")
    np.testing.assert_array_equal(
        FacetClustering.from_pretrained(folder).predict(X), estimator.predict(X)
    )
    estimator.push_to_hub("me/rows")
    (hub / "me/rows/other.txt").write_text("not fetched")
    fetched = FacetClustering.from_pretrained("me/rows")
    np.testing.assert_array_equal(fetched.predict_proba(X), estimator.predict_proba(X))
    with pytest.raises(ValueError, match=r"FacetClustering\.load"):
        VaDEClustering.from_pretrained("me/rows")
    with pytest.raises(ConfigError, match="rows exists"):
        estimator.save_pretrained("rows")
    card = (hub / "me/rows/README.md").read_text()
    assert yaml.safe_load(card.split("---\n")[1])["tags"][-1] == "mfcvae"
    assert "FacetClustering.from_pretrained('me/rows')" in card
    assert "`x0`, `x1`, `x2`" in card


def test_what_a_folder_of_an_estimator_lacks_is_named(estimator):
    Path("empty").mkdir()
    with pytest.raises(RunError, match=r"empty has no estimator\.safetensors"):
        FacetClustering.from_pretrained("empty")
    estimator.save("file")
    Path("empty/estimator.safetensors").symlink_to(Path("file").resolve())
    with pytest.raises(RunError, match="regular file"):
        FacetClustering.from_pretrained("empty")


def test_the_hub_needs_its_package(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "huggingface_hub", None)
    with pytest.raises(ConfigError, match=r"pyro_mfcvae\[hub\]"):
        run.push_to_hub("me/shapes")
    with pytest.raises(ConfigError, match=r"pyro_mfcvae\[hub\]"):
        Run.from_pretrained("me/shapes")
