"""The commands that intervene on facets, on a run of a few seconds."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from models import observations, small_model, tiny_config

from pyro_mfcvae import evaluation
from pyro_mfcvae.cli import main
from pyro_mfcvae.data import as_float
from pyro_mfcvae.figures import Seen, get_figure
from pyro_mfcvae.figures.registry import expand_figures, file_name
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train

N = 19  # held-out observations, of 6 and 5 clusters


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(tiny_config(), folder)
    return folder


@pytest.fixture(autouse=True)
def _own_copy(trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(trained, "run")


def _intervene(*arguments: str):
    return CliRunner().invoke(main, ["intervene", *arguments], prog_name="mfcvae")


def _files():
    return {str(path) for path in Path().rglob("*") if path.is_file()}


def _arrays(name: str, *arguments: str) -> dict[str, np.ndarray]:
    result = _intervene(name, "run", *arguments, "--out", "f.png", "--arrays", "f.npz")
    assert result.exit_code == 0, result.output
    assert result.output.split() == ["f.npz", "f.png"]
    assert Path("f.png").read_bytes().startswith(b"\x89PNG")
    with np.load("f.npz") as stored:
        return dict(stored)


@pytest.fixture
def opened():
    run = Run("run")
    return run.model(), as_float(run.dataset().split("test")[0])


def test_swap(opened):
    model, x = opened
    arrays = _arrays("swap", "--facet", "0", "--inputs", "3,18", "--donors", "0,7,5")
    expected = evaluation.swap_facets(model, x[[3, 18]], x[[0, 7, 5]], 0)
    np.testing.assert_allclose(arrays["pictures"], expected, rtol=1e-5)
    np.testing.assert_array_equal(arrays["x"], x[[3, 18]])
    np.testing.assert_array_equal(arrays["donors"], x[[0, 7, 5]])
    assert arrays["donor_indices"].tolist() == [0, 7, 5]
    clusters = evaluation.predict(model, x).clusters[1]
    used = sorted(set(clusters.tolist()))
    arrays = _arrays("swap", "--clusters", ",".join(map(str, used)), "--n", "4")
    assert clusters[arrays["donor_indices"]].tolist() == used
    assert arrays["indices"].tolist() == [0, 6, 12, 18]


def test_swap_pairs(opened):
    model, x = opened
    arrays = _arrays("swap", "--pairs", "--inputs", "3,18", "--donors", "0,7")
    expected = evaluation.swap_pairs(model, x[[3, 18]], x[[0, 7]], 1)
    np.testing.assert_allclose(arrays["pictures"], expected, rtol=1e-5)
    arrays = _arrays("swap", "--pairs", "--facet", "0", "--n", "50")
    first, second = arrays["indices"].T
    assert len(first) == N // 2
    clusters = evaluation.predict(model, x).clusters[0]
    assert len(set(clusters)) > 1
    assert (clusters[first] != clusters[second]).all()


def test_generate(opened):
    model, _ = opened
    options = ("--n", "3", "--temperature", "0.3", "--seed", "5")
    arrays = _arrays("generate", "--facet", "1", "--clusters", "4,0", *options)
    expected = evaluation.sample_clusters(model, 1, [4, 0], 3, 0.3, 5)
    np.testing.assert_allclose(arrays["pictures_1"], expected, rtol=1e-5)
    arrays = _arrays("generate", "--clusters", "all")
    for j, clusters in enumerate(look(Run("run")).predictions.clusters):
        assert sorted(arrays[f"clusters_{j}"]) == sorted(set(clusters.tolist()))
        assert arrays[f"pictures_{j}"].shape[1:] == (10, 3, 8, 8)


def test_traverse(opened):
    model, x = opened
    options = ("--facet", "1", "--dimension", "1", "--inputs", "4,2", "--offsets", "-0.5,1")
    arrays = _arrays("traverse", *options)
    expected = evaluation.traverse(model, x[[4, 2]], 1, 1, [-0.5, 1])
    np.testing.assert_allclose(arrays["pictures"], expected, rtol=1e-5)
    arrays = _arrays("traverse", "--facet", "0", "--inputs", "4", "--n", "2")
    dimensions, expected = evaluation.traverse_dimensions(model, x[[4]], 0, 2)
    assert arrays["dimensions"].tolist() == dimensions
    np.testing.assert_allclose(arrays["pictures"], expected[:, 0], rtol=1e-5)
    assert arrays["offsets"].tolist() == [-3, -2, -1, 0, 1, 2, 3]


def test_interpolate(opened):
    model, x = opened
    options = ("--facet", "0", "--inputs", "4,2", "--ends", "1,0", "--steps", "3")
    arrays = _arrays("interpolate", *options)
    expected = evaluation.interpolate(model, x[[4, 2]], x[[1, 0]], 3, [0])
    np.testing.assert_allclose(arrays["pictures"], expected, rtol=1e-5)
    arrays = _arrays("interpolate", "--n", "2")
    assert arrays["facets"].tolist() == [0, 1]
    assert arrays["start_indices"].tolist() == [0, 18]
    assert arrays["end_indices"].tolist() == [9, 8]


def test_means(opened):
    model, _ = opened
    options = ("--facet", "0", "--facet", "1", "--clusters", "5,2", "--clusters", "1")
    arrays = _arrays("means", *options)
    expected = evaluation.cluster_means(model, [0, 1], [[5, 2], [1]])
    np.testing.assert_allclose(arrays["pictures"], expected, rtol=1e-5)
    arrays = _arrays("means", "--facet", "1,0", "--clusters", "all", "--n", "1")
    counts = [np.bincount(c) for c in look(Run("run")).predictions.clusters]
    assert arrays["pictures"].shape[:2] == ((counts[1] > 0).sum(), 1)
    assert arrays["clusters_0"].tolist() == [counts[0].argmax()]
    assert list(counts[1][arrays["clusters_1"]]) == sorted(counts[1][counts[1] > 0])[::-1]


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["swap"], "swapped"),
        (["swap", "--pairs", "--facet", "0"], "swapped-pairs-facet-0"),
        (["generate", "--facet", "1"], "generated-facet-1"),
        (["traverse"], "traversed"),
        (["interpolate", "--facet", "0,1"], "interpolated-facet-0-1"),
        (["means"], "means"),
    ],
)
def test_figures_go_into_the_run_and_nothing_else_does(arguments, name):
    shutil.rmtree("run/figures", ignore_errors=True)
    before = _files()
    command, *options = arguments
    result = _intervene(command, "run", *options)
    assert result.exit_code == 0, result.output
    assert result.output.strip() == f"run/figures/{name}.png"
    assert _files() - before == {f"run/figures/{name}.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("swap --facet 2", "a facet from 0 to 1, got 2"),
        ("swap --facet 0,1", "expected one --facet, got 0, 1"),
        ("swap --facet deep", "whole numbers separated by commas, .*; got 'deep'"),
        ("swap --inputs 0,19", "observations from 0 to 18, at least one, got 0, 19"),
        ("swap --inputs -1", "observations from 0 to 18, at least one, got -1"),
        ("swap --inputs 1,,2", "got '1,,2'"),
        ("swap --clusters 77", r"that have held-out members \([\d, ]+\), got 77"),
        ("swap --clusters 1 --donors 1", "got both"),
        ("swap --pairs --clusters 1", "partners from --donors"),
        ("swap --pairs --inputs 1,2 --donors 1,2,3", "got 3 for 2"),
        ("swap --n 0", "--n"),
        ("generate --clusters 9 --facet 1", r"0\.\.4, got 9\.\.9"),
        ("generate --clusters 1", "one facet that the clusters belong to, got facets 0 an"),
        ("generate --facet 0,3", "a facet from 0 to 1, got 3"),
        ("generate --temperature -1", "--temperature"),
        ("generate --temperature nan", "a temperature from 0 on, got nan"),
        ("traverse --facet 1 --dimension 2", "facet 1 from 0 to 1, got 2"),
        ("traverse --inputs 1,2", "one observation, or a dimension to move, got 2"),
        ("traverse --offsets 1,b", "finite numbers separated by commas, .*; got '1,b'"),
        ("traverse --offsets 1,nan", "finite numbers separated by commas"),
        ("interpolate --facet 0,5", "a facet from 0 to 1, got 5"),
        ("interpolate --inputs 3 --ends 30", "from 0 to 18, at least one, got 30"),
        ("interpolate --steps 1", "--steps"),
        ("means --facet 0,0", "different facets"),
        ("means --facet 0,1,0", "one or two facets .*, got 3 and 0"),
        ("means --clusters 1 --clusters all", "got 1 and 2"),
        ("means --clusters 8", "clusters of facet 1 from 0 to 4, got"),
        ("means --facet 7 --clusters all", "a facet from 0 to 1, got 7"),
        ("means --out f.pdf", r"a name that ends in \.png, got 'f.pdf'"),
        ("means --out f", r"a name that ends in \.png, got 'f'"),
        ("means --arrays f.npy", r"a name that ends in \.npz, got 'f.npy'"),
        ("means --out nowhere/f.png", "there is no folder nowhere"),
        ("means --out run/config.json/f.png", "there is no folder run/config.json"),
        ("means --out folder.png", "folder.png is a folder"),
        ("means --data-dir x", "reads no files"),
    ],
)
def test_one_clear_message_and_nothing_is_written(arguments, message):
    Path("folder.png").mkdir()
    before = _files()
    command, *options = arguments.split()
    result = _intervene(command, "run", *options)
    assert result.exit_code == 2, result.output
    output = " ".join(result.output.split())
    assert re.search(message, output), output
    assert "should not happen" not in output
    assert _files() == before


def test_a_folder_that_is_no_run():
    result = _intervene("means", "nowhere")
    assert result.exit_code == 1
    assert "no run folder" in result.output


@pytest.mark.parametrize("failing", ["f.png", "f.npz"])
def test_a_file_that_cannot_be_finished_leaves_no_trace(failing, monkeypatch):
    Path("f.png").write_text("before")
    replace = Path.replace

    def broken(self, target):
        if Path(target).name == failing:
            raise OSError(28, "No space left on device", str(target))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", broken)
    before = _files()
    result = _intervene("means", "run", "--out", "f.png", "--arrays", "f.npz")
    assert result.exit_code == 2
    assert f"{failing} cannot be written: " in result.output
    assert _files() - before <= {"f.npz"}
    assert Path("f.png").read_text() == "before"
    assert not list(Path().glob(".f*"))


def _compute(name: str, seen: Seen, *facets: int, **options):
    return get_figure(name).compute(seen, *facets, **options)


def _held_out(n_facets: int, n: int) -> Seen:
    return Seen(
        model=small_model(n_facets), temperature=1.0, x=observations(n), labels={}, class_names={}
    )


def _names(seen: Seen) -> list[str]:
    """Of the figures of observations, without those of clusters."""
    return [
        file_name(kind.name, facets)
        for kind, facets in expand_figures(seen)
        if kind.name in ("swaps", "traversal", "means", "interpolation")
        and not kind.fits(seen, *facets)
    ]


@pytest.mark.parametrize(("n_facets", "pairs"), [(1, []), (2, ["0-1"]), (3, ["0-1", "0-2", "1-2"])])
def test_any_number_of_facets_is_drawn(n_facets, pairs):
    each = [f"{what}-facet-{j}" for what in ("traversal", "means") for j in range(n_facets)]
    swapped = [f"swaps-facet-{j}" for j in range(n_facets)] if n_facets > 1 else []
    expected = [*each, *swapped, *(f"means-facets-{pair}" for pair in pairs), "interpolation"]
    assert sorted(_names(_held_out(n_facets, 5))) == sorted(expected)


def test_a_single_observation_has_no_partner():
    alone = _held_out(2, 1)
    for name, facets in (("interpolation", ()), ("swapped-pairs", (0,))):
        with pytest.raises(ValueError, match="a pair needs 2 held-out observations, there is only"):
            _compute(name, alone, *facets)
    names = _names(alone)
    assert "interpolation" not in names
    assert "traversal-facet-1" in names
    pairs = _compute("swapped-pairs", alone, 0, inputs=[0], donors=[0])
    assert len(pairs.arrays["pictures"]) == 1
    assert alone.choose(None, 8).tolist() == [0]


def test_means_are_of_one_facet_or_a_pair():
    seen = _held_out(3, 5)
    assert sorted(seen.most_used(0)) == sorted(set(seen.predictions.clusters[0].tolist()))
    assert _compute("means", seen, 2, 0).arrays["pictures"].ndim == 5
    with pytest.raises(ValueError, match="one or two facets"):
        _compute("means", seen)


def test_titles_say_what_moves_and_what_is_fixed():
    seen = look(Run("run"))
    n_used = [len(set(c.tolist())) for c in seen.predictions.clusters]
    titles = [
        result.title
        for result in (
            _compute("swaps", seen, 1),
            _compute("swapped-pairs", seen, 0),
            _compute("traversal", seen, 0),
            _compute("traversal", seen, 1, dimension=0),
            _compute("interpolation", seen),
            _compute("interpolation", seen, 1),
            _compute("samples", seen, 1, clusters=[2, 3], temperature=0.25),
            _compute("means", seen, 0, n=1),
            _compute("means", seen, 1, 0, clusters=[[2]]),
        )
    ]
    assert titles == [
        "facet 1 from the donors, other facets from the inputs",
        "pairs with facet 0 exchanged, other facets unchanged",
        "facet 0: all 3 dimensions moved by standard deviations of its prior, for held-out "
        "observation 9, other facets unchanged",
        "facet 1: dimension 0 moved by standard deviations of its prior, for held-out "
        "observations, other facets unchanged",
        "facets 0 and 1 on a straight line from one input to the other",
        "facet 1 on a straight line from one input to the other, facet 0 as in the first",
        "samples of facet 1: 2 clusters, other facets from their priors, unused clusters included, "
        "temperature 0.25",
        f"means of facet 0, the 1 most used of {n_used[0]} clusters in use, other facets at the "
        "means of their priors, unused clusters included",
        f"means of rows: facet 1, 1 clusters; columns: facet 0, all {n_used[0]} clusters in use",
    ]
