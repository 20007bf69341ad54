"""Pages on runs: what they say, that they are safe to open, and that a browser shows them."""

from __future__ import annotations

import json
import os
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from browser import Browser, needs_browser
from click.testing import CliRunner
from models import tiny_config
from PIL import Image

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import config_from_dict, config_to_dict, config_to_json, override
from pyro_mfcvae.errors import ConfigError, DataError, RunError
from pyro_mfcvae.evaluation import tables
from pyro_mfcvae.evaluation.results import (
    Bound,
    Comparison,
    Diversity,
    Evaluation,
    FacetResults,
    FactorResults,
    GuideResults,
    Probe,
)
from pyro_mfcvae.figures import draw_figure, get_figure
from pyro_mfcvae.report import comparison, facts, summary, write_report
from pyro_mfcvae.report.facts import Facts
from pyro_mfcvae.report.pictures import read_pictures
from pyro_mfcvae.runs import draw as drawing
from pyro_mfcvae.runs import train as experiment
from pyro_mfcvae.runs.run import Run

SHORT = {"training.epochs_per_step": "[1,1]", "training.evaluate_every": "1"}
TEMPLATES = Path(facts.__file__).parent / "templates"


class Page(HTMLParser):
    """Elements with their attributes, the visible text, and the rows of tables."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.rows: list[list[str]] = []
        self._hidden = self._in_cell = False
        self.source = path.read_text(encoding="ascii")
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._hidden = tag == "style"
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._in_cell = True

    def handle_endtag(self, tag):
        self._hidden = False
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        if not self._hidden:
            self.text += data
            if self._in_cell:
                self.rows[-1][-1] += data.strip()

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def _draw(run: Run, dataset: object = None) -> None:
    """Stands in for the drawing, which has tests of its own and takes long."""
    run.figures.mkdir(exist_ok=True)
    drawn = {}
    for j in range(len(run.config.model.facets)):
        for kind in ("clusters", "samples", "latents"):
            drawn[f"{kind}-facet-{j}"] = None
            Image.new("RGB", (130, 65), (40 * j, 90, 160)).save(
                run.figures / f"{kind}-facet-{j}.png"
            )
    (run.figures / "figures.json").write_text(json.dumps(drawn))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory) -> Path:
    """A tiny run whose report measured and drew everything itself."""
    folder = tmp_path_factory.mktemp("report") / "tiny"
    experiment.train(tiny_config(**SHORT), folder)
    said = []
    assert write_report([folder], say=said.append) == folder / "report.html"
    assert [text.partition(": ")[2] for text in said[:3]] == [
        "preparing the data",
        "evaluating",
        "drawing",
    ]
    return folder


@pytest.fixture
def run(drawn, tmp_path, monkeypatch) -> Path:
    """A copy of that run in the current folder, with the quick drawing's figures."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", _draw)
    shutil.copytree(drawn, "tiny", ignore=shutil.ignore_patterns("figures", "report.html"))
    _draw(Run("tiny"))
    return Path("tiny")


def _another(path: Path, name: str, *assignments: str) -> Path:
    """The same run under another name, as if it had been trained with other settings."""
    shutil.copytree(path, name)
    config = override(Run(path).config, assignments)
    (Path(name) / "config.json").write_text(config_to_json(config))
    for state in Path(name).glob("checkpoints/*/state.json"):
        state.write_text("{}")  # the model cannot be opened: results must stand for themselves
    return Path(name)


def _mfcvae(*arguments: str):
    return CliRunner().invoke(main, ["report", *arguments], prog_name="mfcvae")


def _assert_well_made(page: Page) -> None:
    """Nothing from outside, nothing that runs, nothing without a name."""
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
        if tag == "img":
            assert attributes["src"].startswith(("data:image/webp;base64,", "data:image/png"))
        else:
            assert "src" not in attributes
        if "href" in attributes:
            assert attributes["href"].removeprefix("#") in ids
    assert "url(" not in page.source
    assert "@import" not in page.source
    alternatives = [image["alt"] for image in page.all("img")]
    assert all(len(text) > 40 for text in alternatives)
    assert len(set(alternatives)) == len(alternatives)
    assert all(cell["scope"] in ("row", "col") for cell in page.all("th"))
    assert len(page.all("caption")) == len(page.all("table")) == page.source.count('="region"')
    (policy,) = (m for m in page.all("meta") if "http-equiv" in m)
    assert policy["content"].startswith("default-src 'none'; img-src data:;")
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all(
        "meta"
    )


def test_a_page_on_one_run(drawn):
    page = Page(drawn / "report.html")
    _assert_well_made(page)
    results = Run(drawn).evaluation()
    names = {path.stem for path in (drawn / "figures").glob("*.png")}
    assert len(page.all("img")) == len(names) >= 13
    assert "preset shapes, finished: 8 steps" in page.text
    for j, facet in enumerate(results.facets):
        assert f"(K = {facet.n_clusters})" in page.text
        for factor in facet.factors:
            share = results.value("majority_accuracy_training_map", "test", j, factor)
            (row,) = (r for r in page.rows if r[0] == factor)
            assert row[2 + j] == f"{100 * share:.1f}\N{NO-BREAK SPACE}%"
            for part, title in (("test", "held out"), ("train", "training")):
                rows = [r for r in page.rows if r[:2] == [f"{factor} (4)", title]]
                if factor == "floor_hue":
                    assert f"{100 * results.value('nmi', part, j, factor):.1f}" in rows[j]
    elbo = [f"{results.value('elbo', part):.2f}" for part in ("test", "train")]
    assert ["ELBO", "", *elbo] in page.rows
    assert ["facet 0", "6", "3"] in [row[:3] for row in page.rows]
    assert ["training.epochs_per_step", "1, 1", "24, 220"] in page.rows
    assert ["fingerprint of the data", results.data] in page.rows
    assert '"epochs_per_step"' in page.text
    assert "mfcvae evaluate" in page.text
    assert "Probe" not in page.text
    assert (drawn / "report.html").stat().st_size < 6_000_000


def test_what_else_was_measured_is_shown(run):
    results = Run(run).evaluation()
    factors = results.factors
    quarters, halves = (dict.fromkeys(factors, share) for share in (0.25, 0.5))
    slow = {
        "probe": Probe(77, 19, [quarters] * 2, halves, dict.fromkeys(factors, 0)),
        "importance_weighted_bound": Bound(8, {"train": 77, "test": 19}, -1.5, -2.5),
        "diversity": Diversity(9, {"pixels": {"data": 0.5, "samples": 0.25}}),
    }
    results.facets[0].factors["shape"].test["another_measure"] = 0.123
    Run(run).write_evaluation(results.with_slow(slow))
    guide = GuideResults("vade", 4, 0.5, 0.5, 0.5, 0.0125, {}, 0.5, 0.5, 0.5)
    Run(run).write_comparison(Comparison("enumerate", 5, 2, [guide]))
    for name in ("means-facets-0-1", "novelty-facet-1", "something", "clusters-facet-7"):
        Image.new("RGB", (20, 20), "blue").save(run / f"figures/{name}.png")
    (run / "figures/guides.png").write_bytes(b"no picture")
    said = []
    page = Page(write_report([run], say=said.append))
    _assert_well_made(page)
    assert ["all facets", *["50.0"] * len(factors)] in page.rows
    assert ["held out", "19", "-2.50", "–"] in page.rows
    assert ["pixels", "0.5000", "0.2500"] in page.rows
    assert ["4", "vade", "0.50 ± 0.50", *["0.5000"] * 3, "0.5", "12.5"] in page.rows
    assert "another measure" in page.text
    assert "The figure guides.png is damaged and left out." in page.text
    assert any("guides.png" in text for text in said)
    parts = ("Novelty.", "Facets 0 and 1: what the model", "Further figures\n", "Something.")
    order = [page.text.rindex(part) for part in parts]
    assert order == sorted(order)
    assert "called clusters-facet-7." in page.text[order[2] :]


def test_figures_are_known_by_their_names(tmp_path):
    for name in (
        "traversals-facet-2",
        "clusters-facet-10",
        "clusters-facet-2",
        "agreement",
        "means-facets-0-2",
        "odd--facet-",
        "interpolation",
    ):
        Image.new("RGBA", (26, 13), (0, 0, 0, 0)).save(tmp_path / f"{name}.png")
    pictures, damaged = read_pictures(tmp_path, 11)
    assert not damaged
    assert [(p.kind.name, p.facets) for p in pictures] == [
        ("clusters", (2,)),
        ("clusters", (10,)),
        ("means", (0, 2)),
        ("traversal", (2,)),
        ("interpolation", ()),
        ("agreement", ()),
        ("odd--facet-", ()),
    ]
    assert (pictures[0].width, pictures[0].height) == (19, 10)
    assert pictures[2].caption.startswith("Facets 0 and 2: ")
    assert read_pictures(tmp_path / "missing", 2) == ((), [])


def _told(homogeneity: float, accuracy: float, n_classes: int = 10) -> FactorResults:
    measures = {"homogeneity": homogeneity, "majority_accuracy_training_map": accuracy}
    return FactorResults(n_classes, measures, measures)


def _facts(*factors: dict, used: int = 7, step: int = 9, nmi: dict | None = None, **terms: float):
    measures = {"occupied_clusters": {"train": used, "test": used}}
    facets = [FacetResults(20, 2, dict(measures), each) for each in factors]
    pairs = {"redundancy": nmi} if nmi else {}
    found = Evaluation({}, {"test": terms}, facets, pairs, step=step, n_steps=9)
    return Facts(Run.__new__(Run), found, None, [], {}, (), {}, None, ())


def test_the_summary_says_what_the_numbers_say():
    said = summary.summarise(
        _facts({"shape": _told(0.7, 0.881, 4), "hue": _told(0.3, 0.3)}, {"hue": _told(0.97, 0.98)})
    )
    assert said.replace("\N{NO-BREAK SPACE}", " ") == (
        "Facet 1 separates hue (98.0 % majority accuracy over 10 classes, K = 20); facet 0 "
        "separates shape (88.1 % majority accuracy over 4 classes, K = 20) and partly follows hue "
        "(30.0 % majority accuracy over 10 classes, K = 20)."
    )
    # A class that nearly all have makes any clustering accurate, and tells nothing.
    assert "follows none of the labelled factors: at best rare" in summary.summarise(
        _facts({"rare": _told(0.01, 0.97, 2)})
    )
    assert "no labels" in summary.summarise(_facts({}))
    assert "7 of its 20 clusters" in summary.summarise(_facts({}))
    assert "into one cluster" in summary.summarise(_facts({"hue": _told(0, 0.1)}, used=1))
    assert summary.summarise(_facts({}, step=4)).startswith("Not finished, step 4 of 9")
    assert summary.summarise(_facts({}, step=0)).startswith("Not trained yet")
    assert "Facet 0 has a fade weight of only 0.25." in summary.summarise(_facts({}, fade_0=0.25))


def test_facets_that_say_the_same_are_named():
    nmi = [[1, 0.1, 0.8], [0.1, 1, 0.2], [0.8, 0.2, 1]]
    said = summary.summarise(_facts({}, {}, {}, nmi={"train": nmi, "test": nmi}))
    assert "facets 0 and 2 share an NMI of at least 0.80, more than" in said
    assert "much the same" in said
    # Too few observations: chance alone gives 0.3.
    nmi = {"train": [[1, 0.02], [0.02, 1]], "test": [[1, 0.3], [0.3, 1]]}
    apart = "at most 0.02, the lower one of training and held out: they partition the data in"
    assert apart in summary.summarise(_facts({}, {}, nmi=nmi))
    assert "NMI" not in summary.summarise(_facts({}, {}, used=1, nmi=nmi))


def test_texts_are_escaped(run):
    evil = '"><img src=x onerror=alert(1)><script>alert(2)<'
    text = json.dumps(Run(run).evaluation().to_dict()).replace("floor_hue", json.dumps(evil)[1:-1])
    evil_run = Path(evil.replace("/", ""))
    shutil.copytree(run, evil_run)
    (evil_run / "evaluation.json").write_text(text)
    (evil_run / "environment.json").write_text(json.dumps({"command": [evil, evil], evil: evil}))
    Image.new("RGB", (20, 20), "blue").save(evil_run / f"figures/{evil}.png")
    for page in (Page(write_report([evil_run])), Page(write_report([run, evil_run]))):
        _assert_well_made(page)
        assert f"{evil_run}" in page.text
        assert evil_run.name not in page.source


@pytest.mark.parametrize("facets", ["3:4", "2:3,2:3,2:3"])
def test_tables_of_numbers_without_labels(facets, tmp_path, monkeypatch):
    from pyro_mfcvae.config import Component, with_facets

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", _draw)
    x = np.random.default_rng(0).normal(size=(40, 5)).astype(np.float32)
    np.savez("mine.npz", x=x)
    at_once = SHORT | {"training.n_fade_in_batches": "0"}
    values = config_to_dict(with_facets(tiny_config(**at_once), facets))
    values["data"] = config_to_dict(tiny_config())["data"] | {
        "name": "file",
        "options": {"path": str(tmp_path / "mine.npz")},
    }
    values["preset"] = None
    config = config_from_dict(values)
    assert isinstance(config.data, Component)
    folder = experiment.train(config, "mine")[0].path
    page = Page(write_report([folder]))
    _assert_well_made(page)
    assert "The data have no labels" in page.text
    assert "Overview" not in page.text
    assert "data file, finished" in page.text
    n_facets = facets.count(":")
    assert len(page.all("img")) == 3 * n_facets
    assert (["0 and 1"] in [row[:1] for row in page.rows]) == (n_facets > 1)
    # The data go away: what was measured and drawn is still there.
    Path("mine.npz").unlink()
    shutil.rmtree("mine/figures")
    page = Page(write_report([folder]))
    _assert_well_made(page)
    assert re.search("could not be drawn for this page: .*no such file", page.text)
    (folder / "evaluation.json").unlink()
    page = Page(write_report([folder]))
    assert re.search("could not be measured and drawn for this page", page.text)
    assert "has not been evaluated" in page.text


def test_an_older_evaluation_is_replaced_or_named(run):
    results = Run(run).evaluation()
    Run(run).write_evaluation(replace(results, model="another", step=4))
    write_report([run])
    assert Run(run).evaluation() == results
    Run(run).write_evaluation(replace(results, model="another", step=4))
    broken = DataError("the data are gone")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Run, "dataset", lambda *_: (_ for _ in ()).throw(broken))
        page = Page(write_report([run]))
    assert "could not be measured for this page: the data are gone" in page.text
    assert "The measures are those of step 4; the newest checkpoint is of step 8" in page.text
    assert "Not finished, step 4 of 8" in page.text
    shutil.rmtree(run / "figures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(drawing, "draw_run", _fail)
        page = Page(write_report([run]))
    assert "could not be drawn for this page: disk full" in page.text
    assert "The measures are those of" not in page.text
    assert Run(run).evaluation() == results


def _fail(*_):
    raise OSError("disk full")


def test_figures_older_than_the_checkpoint_are_drawn_again(run):
    drawn = run / "figures/clusters-facet-0.png"
    drawn.write_bytes(b"mine")
    write_report([run])
    assert drawn.read_bytes() == b"mine"
    newest = max(run.glob("checkpoints/*/state.json"))
    later = drawn.stat().st_mtime + 1
    os.utime(newest, (later, later))
    write_report([run])
    assert drawn.read_bytes() != b"mine"


def test_runs_side_by_side(run):
    others = [_another(run, f"seed-{i}", f"seed={i}") for i in (1, 2)]
    values = []
    for i, other in enumerate(others):
        results = Run(other).evaluation()
        results.elbo["test"]["elbo"] = -100.0 - i
        for facet, share in zip(results.facets, (0.25 + i / 4, 0.125), strict=True):
            facet.factors["shape"].test["majority_accuracy_training_map"] = share
        Run(other).write_evaluation(results)
        values.append(results)
    page = Page(write_report([*others, run]))
    _assert_well_made(page)
    assert Path("report.html").exists()
    assert ["seed", "1", "2", "0"] in page.rows
    elbo = Run(run).evaluation().value("elbo")
    (row,) = (row for row in page.rows if row[0] == "ELBO, held out, nats")
    assert ["best" in cell for cell in row[1:4]] == [elbo < -100, False, elbo > -100]
    mean, sd = np.mean([-100, -101, elbo]), np.std([-100, -101, elbo], ddof=1)
    assert row[4] == f"{mean:.2f} ({sd:.2f})"
    (row,) = (row for row in page.rows if row[:2] == ["shape", "majority accuracy, training map"])
    assert row[2] == "25.0facet 0, K = 6"
    assert "over runs that differ in nothing but their seed. Of 3 seeds" in page.text
    alternatives = [image["alt"] for image in page.all("img")]
    assert sum("typical members" in text for text in alternatives) == 6
    assert sum("over epochs" in text for text in alternatives) == 2


def test_what_may_not_be_compared_is_not(run, monkeypatch):
    for name in ("elbo-of-runs", "accuracy-of-runs"):
        monkeypatch.setattr(type(get_figure(name)), "fits", lambda *_: "left out here")
    assert "All settings are the same" in _text_of_comparison(run, _another(run, "same"))
    likelihood = _another(run, "likelihood", "model.likelihood.options.scale=0.5")
    text = _text_of_comparison(run, likelihood)
    assert "likelihoods differ" in text
    results = Run(run).evaluation()
    other = _another(run, "other", "seed=5")
    Run(other).write_evaluation(replace(results, data="another"))
    text = _text_of_comparison(run, other)
    assert "different data" in text
    assert " best" not in text.split("Every facet")[0].replace("marked as best", "")
    Run(other).write_evaluation(replace(results, data=None))
    assert "Not every run recorded which data" in _text_of_comparison(run, other)


def _text_of_comparison(*runs: Path) -> str:
    page = Page(write_report(runs))
    _assert_well_made(page)
    return page.text


def test_means_are_taken_over_distinct_seeds_only(run):
    def groups(*paths: Path) -> list[tuple[int, ...]]:
        return comparison.compare([facts.gather(Run(path)) for path in paths]).seeds()

    one, two = (_another(run, f"seed-{i}", f"seed={i}") for i in (1, 2))
    wide = _another(run, "wide", "seed=3", "training.batch_size=30")
    moved = _another(run, "moved", "seed=4", "training.device=cuda")
    assert groups(one, two, wide, moved) == [(0, 1, 3)]
    assert groups(run, _another(run, "again")) == []


def test_curves_of_several_runs_are_drawn_from_their_logs():
    def log(values: list[float], split: str = "train", name: str = "elbo") -> list[dict]:
        return [
            {"step": 10 * i, "epoch": i, "split": split, "values": {name: value}}
            for i, value in enumerate(values, start=1)
        ]

    runs = {"a": log([-9, -3, -2]), "b": log([-8, -4]) + log([-5.0], "test"), "c": []}
    (axes,) = draw_figure("elbo-of-runs", runs).axes
    labels = [line.get_label() for line in axes.lines]
    assert labels == ["a", "b", "b, held out"]
    np.testing.assert_allclose(axes.lines[0].get_xydata(), [[1, -9], [2, -3], [3, -2]])
    shares = log([0.2, 0.9], "test", "majority_accuracy_1_shape")
    few = log([0.5], "test", "majority_accuracy_0_hue")
    panels = draw_figure("accuracy-of-runs", {"a": shares, "b": few}).axes
    assert [axes.get_title() for axes in panels] == ["shape", "hue"]
    assert panels[0].lines[0].get_linestyle() == "--"
    for name, given in (("elbo-of-runs", {"c": []}), ("accuracy-of-runs", runs)):
        assert get_figure(name).fits(given) == "no run has such log points"


def test_a_run_that_was_measured_once_is_a_marker():
    once = {"step": 4, "epoch": 2, "split": "test"}
    values = {"elbo": -2.0, "majority_accuracy_0_kind": 0.5}
    train = [{"step": n, "epoch": n / 2, "split": "train", "values": {"elbo": -n}} for n in (2, 4)]
    records = {"a": [*train, once | {"values": values}]}
    (axes,) = draw_figure("elbo-of-runs", records).axes
    assert [line.get_marker() for line in axes.lines] == ["None", "o"]
    (axes,) = draw_figure("accuracy-of-runs", records).axes
    assert [line.get_marker() for line in axes.lines] == ["o"]


def test_a_facet_with_one_cluster_has_nothing_to_be_certain_of():
    entropy = {"train": 0.5, "test": 0.25}
    measures = {"occupied_clusters": {"train": 1, "test": 1}, "assignment_entropy": entropy}
    facets = [FacetResults(n_clusters, 2, measures) for n_clusters in (3, 1)]
    found = Evaluation({"train": 1, "test": 1}, {}, facets)
    rows = [[cell.text for cell in row] for row in tables.use_table(found).rows]
    assert rows[0][3:] == ["1", "1", "0.25", "0.50"]
    assert rows[1][3:] == ["1", "1", "–", "–"]


def test_own_reports_are_replaced_and_nothing_else(run):
    out = Path("page.html")
    for _ in range(2):
        result = _mfcvae(str(run), "--out", str(out))
        assert result.exit_code == 0, result.output
        assert result.output.splitlines()[-1] == str(out)
    page = out.read_bytes()
    (run / "evaluation.json").write_text("{")
    failed = _mfcvae(str(run), "--out", str(out))
    assert failed.exit_code == 1
    assert "remove it and measure again" in failed.output
    assert out.read_bytes() == page
    assert not list(Path().glob(".*html*"))
    out.write_text("<html>my own</html>")
    taken = _mfcvae(str(run), "--out", str(out))
    assert taken.exit_code == 2
    assert "exists and is no report of this command" in taken.output
    assert out.read_text() == "<html>my own</html>"


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "Missing argument"),
        (["nowhere"], 1, "no run folder"),
        (["empty"], 1, "no run folder"),
        (["broken"], 1, "cannot be used"),
        (["bare"], 1, "holds no checkpoint that can be used"),
        (["tiny", "./empty/../tiny"], 2, "given twice"),
        (["tiny", "nowhere"], 1, "no run folder"),
        (["tiny", "--out", "missing/page.html"], 2, "missing is no folder; make it first"),
        (["tiny", "--out", "empty"], 2, "empty is a folder"),
        (["tiny", "--data-dir", "empty"], 2, "reads no files"),
        (["odd"], 1, "evaluation.json is damaged .n_observations: .*remove it"),
        (["fewer"], 1, "has 1 facets, config.json 2"),
        (["guides"], 1, "comparison.json is damaged"),
    ],
)
def test_one_clear_message_and_no_page(run, arguments, status, message):
    Path("empty").mkdir()
    Path("broken").mkdir()
    Path("broken/config.json").write_text("{")
    Path("bare").mkdir()
    shutil.copy(run / "config.json", "bare")
    results = Run(run).evaluation().to_dict()
    for name, file, content in (
        ("odd", "evaluation.json", {"model": results["model"]}),
        ("fewer", "evaluation.json", results | {"facets": results["facets"][:1]}),
        ("guides", "comparison.json", {"guides": [1]}),
    ):
        shutil.copytree(run, name)
        (Path(name) / file).write_text(json.dumps(content))
    result = _mfcvae(*arguments)
    assert result.exit_code == status, result.output
    assert re.search(message, result.output), result.output
    assert "Traceback" not in result.output
    assert not list(Path().rglob("*.html"))


def test_the_library_raises_what_the_command_says(run):
    with pytest.raises(ConfigError, match="given twice"):
        write_report([run, run])
    with pytest.raises(RunError, match="no run folder"):
        write_report(["nowhere"])


def _luminance(color: str) -> float:
    channels = np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_colours_have_contrast_in_every_scheme():
    style = (TEMPLATES / "style.css").read_text(encoding="ascii")
    schemes = [
        dict(re.findall(r"--(\w+): (#\w{6});", block))
        for block in re.findall(r":root \{(.*?)\}", style, re.DOTALL)
    ]
    assert len(schemes) == 3  # light, dark, print
    for colors in schemes:
        pairs = [(text, "ground") for text in ("text", "quiet", "link")]
        pairs += [("text", ground) for ground in ("raised", "bar", "best", "note")]
        pairs.append(("quiet", "best"))
        for pair in pairs:
            low, high = sorted(_luminance(colors[name]) for name in pair)
            assert (high + 0.05) / (low + 0.05) >= 4.5, pair  # WCAG 2, level AA


@needs_browser
def test_a_browser_shows_the_page(drawn, run, tmp_path):
    evil = Path("<img src=x onerror=document.title='hacked'>")
    shutil.copytree(run, evil)
    both = write_report([run, _another(run, "a-run-with-a-rather-long-name-" * 4), evil])
    (tmp_path / "profile").mkdir()
    with Browser(tmp_path / "profile") as browser:
        for path in (drawn / "report.html", both):
            n_images = len(Page(path).all("img"))
            for width, scheme in ((390, "dark"), (1200, "light")):
                browser.open(path, width, scheme=scheme)
                assert browser.ask("document.title").endswith("mfcvae report")
                assert browser.ask("document.documentElement.scrollWidth") <= width
                if path != both:  # the first table is seen whole
                    first = "document.querySelector('.scroll')"
                    assert browser.ask(f"{first}.scrollWidth <= {first}.clientWidth")
                loaded = "[...document.images].filter(image => image.naturalWidth > 10).length"
                assert browser.ask(loaded) == n_images
                fits = "Math.max(...[...document.images].map(i => i.getBoundingClientRect().right))"
                assert browser.ask(fits) <= width
                ground = browser.ask("getComputedStyle(document.body).backgroundColor")
                assert ground == {"dark": "rgb(21, 24, 28)", "light": "rgb(255, 255, 255)"}[scheme]
                browser.assert_sound()
            browser.press_tab()
            assert browser.ask("document.activeElement.className") == "skip"
            browser.press_tab()
            assert browser.ask("document.activeElement.closest('nav') !== null")
