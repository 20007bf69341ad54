"""Every command for every model of the family, on data of a second."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from pyro_mfcvae import evaluation
from pyro_mfcvae.cli import main
from pyro_mfcvae.data import as_float
from pyro_mfcvae.explore import Explored
from pyro_mfcvae.figures import get_figure
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.testing.case import WITH_NETWORKS

LADDER = {
    "model.encoder": {"name": "ladder", "options": {"backbone": 8}},
    "model.decoder": {"name": "ladder", "options": {"backbone": 8, "rungs": 8}},
}
SHARED = {
    "model.encoder": {"name": "shared", "options": {"widths": [8]}},
    "model.decoder": {"name": "shared", "options": {"widths": [8]}},
    "model.facets.0.covariance": "diagonal",
}
WIDTHS = {"width": 8, "mixture_width": 8}
GROUPS = {"model.options": {"group_size": 16, **WIDTHS}}
NARROW = {"model.options": {"width": 8}}

# name -> model, guide, facets, further settings
MODELS = {
    "vlac-relaxed": ("vlac", "relaxed", "2:1,2:3", LADDER | NARROW),
    "vlac-amortized": ("vlac", "amortized", "2:2,2:3", LADDER | NARROW),
    "vlae": ("vlac", "vade", "2:1,2:1", LADDER),
    "gmvae": (
        "gmvae",
        "posterior-analytic",
        "2:3,2:1",
        SHARED | {"model.options": {"mixture_width": 8}},
    ),
    "ugvae": ("ugvae", "amortized", "2:3,2:1", SHARED | GROUPS),
    "autoregressive": (
        "mfcvae",
        "vade",
        "2:3,2:1",
        LADDER | {"model.options": {"posterior": "autoregressive"}},
    ),
}
BASE = {
    "model.likelihood": "bernoulli",
    "training.epochs_per_step": 2,
    "training.n_fade_in_batches": 0,
    "training.batch_size": 16,
    "training.log_every": 3,
    "training.evaluate_every": 1,
    "training.checkpoint_every": 1,
    "training.device": "cpu",
    "training.n_threads": 1,
}
N_TEST = 16
# Settings of the default preset have no effect where a model has no clusters.
pytestmark = pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.NoEffectWarning")
EVERY = pytest.mark.parametrize("name", MODELS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("models")
    kind = np.arange(80) % 3
    x = np.random.default_rng(0).uniform(0, 0.3, (80, 6, 6)).astype("float32")
    for picture, k in zip(x, kind, strict=True):
        picture[2 * k : 2 * k + 2] += 0.6
    np.savez(path / "data.npz", x=x, kind=kind)
    return path


@pytest.fixture(autouse=True)
def _inside(folder, monkeypatch, request):
    monkeypatch.chdir(folder)
    if "slow" not in request.keywords:
        monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", lambda *_: [])


def _mfcvae(*arguments: str):
    return CliRunner().invoke(main, [str(a) for a in arguments], prog_name="mfcvae")


def _works(*arguments: str) -> str:
    result = _mfcvae(*arguments)
    assert result.exit_code == 0, result.output
    return result.output


def _options(name: str, **changed: object) -> list[str]:
    model, guide, facets, settings = MODELS[name]
    options = ["--data", "data.npz", "--model", model, "--guide", guide, "--facets", facets]
    for path, value in (BASE | settings | changed).items():
        options += ["--set", f"{path}={json.dumps(value)}"]
    return options


def _trained(name: str) -> Run:
    """A trained run, which tests leave as it is but for what is measured and drawn."""
    if not Path(name).exists():
        _works("train", *_options(name), "--out", name)
    return Run(name)


def _n_clusters(run: Run) -> list[int]:
    return [facet.n_clusters for facet in run.config.model.facets]


@EVERY
def test_evaluate_knows_which_facets_have_clusters(name):
    run = _trained(name)
    assert f"one batch of {N_TEST}" not in _works("evaluate", name, "--probe", "--all")
    results = json.loads(Path(name, "evaluation.json").read_text())
    clustered = [n > 1 for n in _n_clusters(run)]
    for facet, has_clusters in zip(results["facets"], clustered, strict=True):
        assert list(facet["factors"]) == (["kind"] if has_clusters else [])
    nmi = results["redundancy"]["test"]
    for i, row in enumerate(nmi):
        assert [value is not None for value in row] == [clustered[i] and c for c in clustered]
    assert all("kind" in probed for probed in results["probe"]["facets"])
    matrices = run.evaluation().matrices()
    assert not np.isnan(matrices["probe_accuracy"]).any()
    if any(clustered):
        known = ~np.isnan(matrices["nmi"][:, 0])
        assert known.tolist() == clustered
    else:
        assert list(matrices) == ["probe_accuracy"]
    logged = [r["values"] for r in run.metrics() if r["split"] == "test"]
    assert len(logged) == 2
    for j, has_clusters in enumerate(clustered):
        assert (f"majority_accuracy_{j}_kind" in logged[0]) == has_clusters


@EVERY
def test_the_importance_weighted_bound_or_why_there_is_none(name):
    _trained(name)
    reasons = {
        "ugvae": "needs observations that are independent",
        "vlac-relaxed": "needs the clusters to be summed out",
        "vlac-amortized": "needs the clusters to be summed out",
    }
    if name not in reasons:
        assert "Importance-weighted bound" in _works("evaluate", name, "--bound", "4")
        return
    before = Path(name, "evaluation.json").read_text()
    result = _mfcvae("evaluate", name, "--bound", "4")
    assert result.exit_code == 2
    assert reasons[name] in result.output
    assert Path(name, "evaluation.json").read_text() == before


@EVERY
def test_compare(name):
    _trained(name)
    printed = _works("compare", name, "--samples", "2", "--n-draws", "2", "--n-observations", "5")
    assert max(map(len, printed.splitlines())) <= 100
    results = Run(name).comparison()
    rows = {(row.guide, row.n_samples): row for row in results.guides}
    own = MODELS[name][1]
    assert (own, 2) in rows
    if name.startswith("vlac"):
        assert {guide for guide, _ in rows} == {*WITH_NETWORKS}
        assert results.reference is None
        assert "needs the clusters first" in results.left_out["enumerate"]
        assert all(row.gap is None for row in rows.values())
        assert "–" in printed
    else:
        assert results.reference == "enumerate"
        for guide in ("vade", "expectation", "posterior"):
            assert rows[guide, 2].gap_mismatch < 1e-4  # rounding of float32
    if name in ("gmvae", "autoregressive"):
        for guide in WITH_NETWORKS:
            assert "was not trained: train with --guide" in results.left_out[guide]
        assert f"Left out: {', '.join(WITH_NETWORKS)}: its network q(c | x)" in " ".join(
            printed.split()
        )
    else:
        assert rows["relaxed", 2].is_bound == (name == "vlae")
        assert ("relaxed (no bound)" in printed) == (name != "vlae")
    assert results.n_observations == (N_TEST if name == "ugvae" else 5)
    if name == "ugvae":
        said = f"one batch of {N_TEST} held-out observations that share a latent"
        assert said in " ".join(printed.split())


@EVERY
def test_explore(name):
    explored = Explored(_trained(name))
    content, structure = explored.content(), explored.seen.model.structure
    assert [facet["has_clusters"] for facet in content["facets"]] == [
        facet.has_clusters for facet in structure.facets
    ]
    for j, facet in enumerate(content["facets"]):
        assert (facet["map"] is None) == structure.facets[j].is_shared == bool(facet["missing"])
        assert len(explored.traverse(3, j)["dimensions"]) == structure.facets[j].latent_dim
        assert "sheet" in explored.swap(0, 5, j)["decoded"]
        is_one_batch = "as a batch of its own" in explored.traverse(3, j)["note"]
        assert is_one_batch == (structure.group_size is not None)
    assert len(explored.all_pairs()) == (len(structure.clustered) == 2)
    header = explored.table([1, 2]).decode().splitlines()[0].split(",")
    clustered = [name for j in structure.clustered for name in (f"facet_{j}", f"facet_{j}_p")]
    assert header == ["row", *clustered, "kind"]
    json.dumps(content, allow_nan=False)


@EVERY
def test_resume(name):
    run = _trained(name)
    shutil.rmtree("again", ignore_errors=True)
    shutil.copytree(name, "again")
    *_, last = sorted(Path("again/checkpoints").iterdir(), key=lambda path: int(path.name))
    shutil.rmtree(last)
    _works("train", "--resume", "again")
    theirs, own = run.checkpoint().model_tensors(), Run("again").checkpoint().model_tensors()
    assert Run("again").step() == run.step()
    for key, value in theirs.items():
        torch.testing.assert_close(own[key], value, rtol=0, atol=0)


@EVERY
def test_runs_at_once(name):
    run = _trained(name)
    shutil.rmtree("many", ignore_errors=True)
    assert "seed-1" in _works("train", *_options(name), "--runs", "2", "--out", "many")
    theirs = run.checkpoint().model_tensors()
    for key, value in Run("many/seed-0").checkpoint().model_tensors().items():
        torch.testing.assert_close(value, theirs[key], rtol=1e-3, atol=1e-4)  # float32, 8 steps


@EVERY
@pytest.mark.parametrize("half", [False, True])
def test_export(name, half):
    run = _trained(name)
    shutil.rmtree("copy", ignore_errors=True)
    _works("export", name, "copy", *["--half"] * half)
    _works("evaluate", "copy")
    own, copied = run.evaluation().elbo["test"], Run("copy").evaluation().elbo["test"]
    for term, value in own.items():
        assert copied[term] == pytest.approx(value, rel=0.1 if half else 1e-5, abs=0.1 * half)


@pytest.mark.slow
@EVERY
def test_figures_interventions_and_report(name):
    run = _trained(name)
    _works("figures", name)
    drawn = {path.stem for path in run.figures.iterdir()}
    for j, n in enumerate(_n_clusters(run)):
        for kind in ("clusters", "samples", "means", "confusion"):
            assert (f"{kind}-facet-{j}" in drawn) == (n > 1)
        assert {f"traversal-facet-{j}", f"swaps-facet-{j}"} <= drawn
        assert (f"latents-facet-{j}" in drawn) == (name != "ugvae" or j == 0)
    assert ("weights" in drawn) == any(n > 1 for n in _n_clusters(run))
    for command in (
        "swap",
        "swap --facet 0",
        "swap --pairs",
        "swap --pairs --facet 0",
        "generate",
        "generate --facet 1",
        "traverse",
        "traverse --facet 0",
        "traverse --dimension 1",
        "interpolate",
        "interpolate --facet 1",
        "means",
        "means --facet 0,1",
        "means --facet 1",
    ):
        first, *options = command.split()
        _works("intervene", first, name, *options)
    _works("report", name)
    page = Path(name, "report.html").read_text()
    assert ("has one cluster only, a plain prior" in page) == (1 in _n_clusters(run))
    others = [other for other in ("gmvae", "vlae") if other != name]
    for other in others:
        _trained(other)
    _works("report", name, *others, "--out", "several.html")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("vlac-relaxed", ("--guide", "vade"), "guide 'vade' does not fit this model: its q"),
        ("ugvae", ("--guide", "oracle"), "unknown guide 'oracle'; choose one of amortized"),
        ("vlac-amortized", ("--facets", "2:20,2:20"), "would take 400 passes"),
    ],
)
def test_a_guide_that_does_not_fit_is_refused(name, options, message):
    result = _mfcvae("train", *_options(name), *options, "--out", "refused")
    assert result.exit_code == 2
    assert message in result.output
    assert not Path("refused").exists()


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("vlae", {"training.refit_mixtures": [1]}, "this model has none that can be fitted"),
        ("gmvae", {"training.epochs_per_step": [1, 1]}, "give training.epochs_per_step a single"),
        ("vlae", {"training.min_information": 0.1}, "about the KL of the clusters, and there is"),
        ("vlac-relaxed", {"training.warp": {"shift": 1, "facets": [1]}}, "see the same observ"),
        ("vlac-relaxed", {"training.pretraining": "stacked-denoising"}, "there are 2 facets"),
        ("ugvae", {"training.batch_size": 20}, "and model.options.group_size (16) must be"),
    ],
)
def test_settings_that_do_not_fit_a_model_are_refused(name, changed, message):
    result = _mfcvae("train", *_options(name, **changed), "--out", "refused")
    assert result.exit_code == 2
    assert message in result.output
    assert not Path("refused").exists()


@EVERY
def test_settings_that_fit_every_model(name):
    settings = {
        "training.precision": "bf16",
        "training.pretraining": {"name": "autoencoder", "options": {"epochs": 1}},
        "training.warp": {"shift": 1},
        "model.initialisation": "data-dependent",
        "model.mixture_initialisation": "gmm-complete",
        "training.kl_warm_up": [0, 1],
        "training.kl_start": 0.5,
        "training.epochs_per_step": 1,
    }
    shutil.rmtree("fitting", ignore_errors=True)
    _works("train", *_options(name, **settings), "--out", "fitting")
    assert np.isfinite(Run("fitting").evaluation().value("elbo"))


def _opened(name: str):
    run = _trained(name)
    return run.model(), as_float(run.dataset().split("test")[0])


def test_pictures_follow_a_facet_that_is_not_decoded():
    """GMVAE: each observation keeps its cluster, whose mean is decoded at the changed w."""
    model, x = _opened("gmvae")
    x, donors = x[:3], x[3:5]
    clusters = torch.from_numpy(evaluation.predict(model, x).clusters[0])

    def at(w: torch.Tensor, c: torch.Tensor) -> np.ndarray:
        mean = model.facets[0]([w]).loc[torch.arange(len(w)), c]
        return model.decode([mean, w]).mean.numpy()

    with torch.no_grad():
        w, given = model.encode(x)[1].mean, model.encode(donors)[1].mean
        swapped = evaluation.swap_facets(model, x, donors, 1)
        for m in range(2):
            np.testing.assert_allclose(swapped[:, m], at(given[[m] * 3], clusters), rtol=1e-5)
        moved = evaluation.traverse(model, x, 1, 0, [-2.0, 0.0])
        steps = torch.tensor([1.0, 0.0])
        np.testing.assert_allclose(moved[:, 0], at(w - 2 * steps, clusters), rtol=1e-5)
        np.testing.assert_allclose(moved[:, 1], at(w, clusters), rtol=1e-5)
        between = evaluation.interpolate(model, x[:1], donors[:1], 3, [1])
        middle = at((w[:1] + given[:1]) / 2, clusters[:1])
        np.testing.assert_allclose(between[:, 1], middle, rtol=1e-5)
        pairs = evaluation.swap_pairs(model, x[:2], donors, 1)
        np.testing.assert_allclose(pairs[:, 0], at(given, clusters[:2]), rtol=1e-5)
        own = evaluation.swap_facets(model, x, donors, 0)[:, 0]
        expected = model.decode([z.mean for z in model.encode(donors[:1])]).mean
        np.testing.assert_allclose(own, expected.expand(3, 1, 6, 6).numpy(), rtol=1e-5)
    title = get_figure("traversal").compute(look(Run("gmvae")), 1, dimension=0).title
    assert "all else at the mean of each observation's cluster, given that" in title


def test_every_donor_is_a_group_of_its_own():
    model, x = _opened("ugvae")
    rows, donors = x[:3], x[3:5]
    swapped = evaluation.swap_facets(model, rows, donors, 1)
    with torch.no_grad():
        z_0 = model.encode(rows)[0].mean
        for m in range(2):
            z_1 = model.summarise_group([donors[m : m + 1]]).mean
            expected = model.decode([z_0, z_1.expand(3, -1)]).mean
            np.testing.assert_allclose(swapped[:, m], expected.numpy(), rtol=1e-5)
    assert np.abs(swapped[:, 0] - swapped[:, 1]).max() > 1e-6
