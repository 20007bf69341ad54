"""Names of facets and clusters: which can stand in tables, and where runs keep and show them."""

from __future__ import annotations

import csv
import json
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from models import tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.errors import RunError
from pyro_mfcvae.figures import get_figure
from pyro_mfcvae.naming import check_facet_names, check_names, cluster_title, named_clusters
from pyro_mfcvae.report import write_report
from pyro_mfcvae.runs import train as experiment
from pyro_mfcvae.runs.complete import complete, is_drawn
from pyro_mfcvae.runs.draw import look
from pyro_mfcvae.runs.run import Run

SHORT = {"training.epochs_per_step": "[1,1]", "training.n_fade_in_batches": "1"}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Run:
    folder = tmp_path_factory.mktemp("naming") / "tiny"
    return experiment.train(tiny_config(**SHORT), folder)[0]


@pytest.fixture(autouse=True)
def _nameless(run):
    yield
    run.names_path.unlink(missing_ok=True)


def test_names_stand_for_numbers():
    labels = np.array([2, 0, 2])
    assert named_clusters(labels, {2: "light"}).tolist() == ["light", "0", "light"]
    assert named_clusters(labels, {}) is labels
    assert [cluster_title({2: "light"}, k) for k in (2, 0)] == ["light", "cluster 0"]
    assert check_names([{3: " b ", 0: "a"}, {}], [4, 1]) == ({0: "a", 3: "b"}, {})


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([{}], "2 facets"),
        ([{4: "a"}, {}], "cluster of facet 0 from 0 to 3"),
        ([{}, {0: " "}], "facet 1"),
        ([{0: "a" * 61}, {}], "60 letters"),
        ([{0: "a\nb"}, {}], "one line"),
        ([{0: "\x1b[2J"}, {}], "one line"),
        ([{0: "1"}, {}], "number of another"),
        ([{0: "a", 1: "a "}, {}], "called 'a'"),
    ],
)
def test_names_that_cannot_stand_in_a_table(names, message):
    with pytest.raises(ValueError, match=message):
        check_names(names, [4, 2])


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ({2: "a"}, "facet from 0 to 1"),
        ({0: "7"}, "number of another facet"),
        ({0: "a", 1: " a"}, "called 'a'"),
        ({0: "facet_1"}, "'facet_1'"),
        ({0: "a", 1: "a_p"}, "'a_p'"),
        ({0: "row"}, "'row'"),
    ],
)
def test_names_of_facets_that_cannot_be_told_apart(names, message):
    with pytest.raises(ValueError, match=message):
        check_facet_names(names, 2)


def test_a_run_keeps_names_of_facets(run, tmp_path):
    run.names_path.write_text('{"clusters": [{}, {"2": "round"}]}')  # as earlier versions wrote it
    run.name_facets({1: " shape ", 0: "hue"})
    run.name_facets({0: ""})
    assert (run.facet_names(), run.cluster_names()) == ({1: "shape"}, ({}, {2: "round"}))
    run.name_clusters(1, {2: ""})
    assert run.facet_names() == {1: "shape"}
    assert run.export(tmp_path / "copy").facet_names() == {1: "shape"}


def test_everything_of_a_run_has_the_names_of_facets(run, tmp_path):
    complete(run)
    run.name_facets({1: "round_things"})
    assert run.evaluation() == run.evaluation()
    page = write_report([run.path], tmp_path / "page.html").read_text()
    assert "facet_names" not in (run.path / "evaluation.json").read_text()
    words = re.sub("<pre.*?</pre>", "", page, flags=re.DOTALL)  # settings have numbers
    assert "Facet 1: round_things" in words
    assert "facet round_things, K = " in words
    assert "facets 0 and round_things share" in words
    assert "Facet round_things: " in words  # in a caption
    assert not re.search(r"\bfacet 1\b", words)
    seen = look(run)
    for name in ("clusters", "samples", "confusion", "latents", "means", "swaps", "traversal"):
        figure = get_figure(name)
        assert "facet round things" in figure.compute(seen, 1).title, name
    assert "facets 0 and round things" in get_figure("interpolation").compute(seen).title
    for name in ("agreement", "curves", "weights"):
        recorded = replace(seen, metrics=run.metrics(), results=run.evaluation())
        drawn = get_figure(name).draw(get_figure(name).compute(recorded))
        drawn.draw_without_rendering()
        found = drawn.findobj(lambda artist: hasattr(artist, "get_text"))
        assert any("facet round things" in text.get_text() for text in found), name


def test_columns_of_rows_have_the_names_of_facets(run, tmp_path):
    run.name_facets({1: "shape"})
    data = tmp_path / "mine.npz"
    np.savez(data, x=run.dataset().split("test")[0].numpy())
    result = CliRunner().invoke(main, ["assign", str(run.path), str(data)])
    heads = result.stdout.splitlines()[0].split(",")
    assert heads == ["row", "facet_0", "facet_0_p", "shape", "shape_p"]
    out = str(tmp_path / "out.csv")
    arguments = ["assign", str(run.path), str(data), "-o", out, "--json"]
    assert list(json.loads(CliRunner().invoke(main, arguments).stdout)["sizes"]) == heads[1::2]
    told = CliRunner().invoke(main, arguments[:-1]).output
    assert "facet shape" in told
    assert CliRunner().invoke(main, ["evaluate", str(run.path)]).output.count("shape: ") >= 1


def test_a_run_keeps_names(run, tmp_path):
    assert run.cluster_names() == ({}, {})
    run.name_clusters(1, {2: "round", 0: "flat"})
    run.name_clusters(1, {0: ""})
    run.name_clusters(0, {5: "red"})
    assert Run(run.path).cluster_names() == ({5: "red"}, {2: "round"})
    assert run.export(tmp_path / "copy").cluster_names() == run.cluster_names()
    with pytest.raises(ValueError, match="facet from 0 to 1"):
        run.name_clusters(2, {0: "a"})
    with pytest.raises(ValueError, match="from 0 to 5"):
        run.name_clusters(0, {6: "a"})


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"clusters": [{}]}',
        '{"clusters": [{"9": "a"}, {}]}',
        '{"clusters": [{}, {}], "x": []}',
        '{"facets": {"2": "a"}, "clusters": [{}, {}]}',
        '{"facets": ["a", "b"], "clusters": [{}, {}]}',
        '{"clusters": [{"0": ["a"]}, {}]}',
        '{"clusters": [{"0": "\\u001b[2J"}, {}]}',
    ],
)
def test_damaged_names_are_refused(run, content):
    run.names_path.write_text(content)
    with pytest.raises(RunError, match="names.json is damaged"):
        run.cluster_names()


def test_names_are_read_from_no_link(run, tmp_path):
    (tmp_path / "elsewhere.json").write_text('{"clusters": [{}, {}]}')
    run.names_path.symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(RunError, match="regular file"):
        run.cluster_names()


def test_figures_have_the_names(run):
    run.name_clusters(0, {k: f"{'abcdef'[k]} red_or green and long" for k in range(6)})
    seen = look(run)
    used = seen.most_used(0)
    first = f"{'abcdef'[used[0]]} red or"
    for name in ("clusters", "samples", "confusion", "weights", "latents", "means"):
        figure = get_figure(name)
        facets = () if name == "weights" else (0,)
        drawn = figure.draw(figure.compute(seen, *facets))
        drawn.draw_without_rendering()
        texts = [
            text.get_text() for text in drawn.findobj(lambda artist: hasattr(artist, "get_text"))
        ]
        assert any(text.startswith(first[:5]) for text in texts), name
    pairs = get_figure("means").compute(seen, 0, 1)
    assert pairs.labels[0] == f"{first[:7]}…"
    assert pairs.heads[0] == str(seen.most_used(1)[0])


def test_figures_from_before_the_names_are_drawn_again(run):
    run.figures.mkdir(exist_ok=True)
    (run.figures / "figures.json").write_text(json.dumps({"means-facet-0": None}))
    drawn = run.figures / "means-facet-0.png"
    drawn.write_bytes(b"")
    assert is_drawn(run)
    run.name_clusters(0, {0: "a"})
    os.utime(drawn, (1, 1))
    os.utime(run.checkpoint().path / "state.json", (1, 1))
    assert not is_drawn(run)
    os.utime(drawn)
    assert is_drawn(run)


def test_assigned_rows_have_the_names_and_no_formulas(run, tmp_path):
    run.name_clusters(0, {k: f"={'abcdef'[k]}" for k in range(6)})
    out, data = tmp_path / "out.csv", tmp_path / "mine.npz"
    np.savez(data, x=run.dataset().split("test")[0].numpy())
    arguments = ["assign", str(run.path), str(data)]
    result = CliRunner().invoke(main, [*arguments, "-o", str(out)])
    assert result.exit_code == 0, result.output
    rows = list(csv.DictReader(out.open()))
    assert {row["facet_0"][:2] for row in rows} == {"'="}
    assert all(row["facet_1"].isdigit() for row in rows)
    assert "=a: " in result.output
    lines = CliRunner().invoke(main, [*arguments, "--json"]).output.splitlines()
    assert json.loads(lines[0])["facet_0"] == rows[0]["facet_0"][1:]
