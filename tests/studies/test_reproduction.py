"""Experiments of the paper: what they are made of, and running, interrupting and repeating them."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from filelock import FileLock
from models import tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import config_to_dict, override
from pyro_mfcvae.errors import ConfigError, DataError, RunError
from pyro_mfcvae.evaluation import ON_TRAINING
from pyro_mfcvae.evaluation.results import Evaluation, FacetResults, FactorResults, path_of
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.signals import Interrupted
from pyro_mfcvae.studies.engine import run_folder
from pyro_mfcvae.studies.execution import InTurn
from pyro_mfcvae.studies.jobs import Watch
from pyro_mfcvae.studies.papers import (
    EXPERIMENTS,
    SCALES,
    Arm,
    Entry,
    Experiment,
    Plan,
    Request,
    get_experiment,
    pictures,
    reproduce,
    seeds,
)
from pyro_mfcvae.studies.papers.curves import CurvePanel, best_facet, over_epochs, panels_of
from pyro_mfcvae.studies.papers.driver import _make_arms
from pyro_mfcvae.studies.papers.pictures import contrasting_pairs
from pyro_mfcvae.studies.papers.tables import own_accuracies
from pyro_mfcvae.studies.results import as_cells, as_page
from pyro_mfcvae.training import Callback

PUBLISHED = {
    "table-1",
    "table-2",
    "table-shapes",
    "table-7",
    "ablations",
    "fast-ablations",
    "figure-1",
    "figure-7",
    "figure-10",
    "figure-12",
    "vlac",
    "family",
    "gmvae-arcs",
    "gmvae-mnist",
    "gmvae-svhn",
    "ugvae-mnist",
    "ugvae-shapes",
    "ugvae-domains",
    "ugvae-celeba",
    *(f"figure-{n}" for n in (4, 5, 6, *range(13, 25))),
}

ACCURACY = path_of("majority_accuracy", facet=1, factor="floor_hue")


def _tiny_arms(scale):
    config = tiny_config(**{"training.evaluate_every": "2"})
    facets = {"floor_hue": 1}
    return [
        Arm("five", config, "guide vade", facets),
        Arm("three", override(config, ["guide.name=enumerate"]), "guide enumerate", facets),
    ]


def _tiny_panels(arm):
    yield from panels_of(arm)
    if arm.label == "five":
        yield CurvePanel("seen", arm.label, "floor_hue", None, ON_TRAINING)


# Two models of a few seconds each.
TINY = Experiment(
    name="tiny",
    title="a title",
    source="nowhere",
    n_seeds=seeds(2, 1, 1),
    arms=_tiny_arms,
    numbers=own_accuracies,
    draw=over_epochs(_tiny_panels),
    shorter={},
    remarks=["a note"],
)


def _config_parts() -> list[str]:
    """What turns any settings into the tiny ones."""
    settings = config_to_dict(tiny_config(**{"training.evaluate_every": "2"}))
    return [f"{part}={json.dumps(settings[part])}" for part in ("data", "model", "training")]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("name", sorted(EXPERIMENTS))
def test_every_experiment_is_sound_at_every_scale(name, scale):
    experiment = EXPERIMENTS[name]
    arms = {arm.label: arm for arm in experiment.arms(scale)}
    assert len(arms) == len(experiment.arms(scale))
    folders = {run_folder(Path(), arm.config) for arm in arms.values()}
    assert len(folders) == len(arms), "two arms are the same model"
    for entry in experiment.entries(list(arms.values())):
        facets = arms[entry.arm].config.model.facets
        if entry.path[0] == "facets":
            assert entry.n_clusters == facets[entry.path[1]].n_clusters
        if scale == "quick":
            assert not entry.published
    assert experiment.n_seeds[scale] >= 1
    for arm in arms.values():
        assert all(j < len(arm.config.model.facets) for j in arm.facets.values())
        if scale == "quick":
            assert arm.config.data.name in ("shapes", "aspects", "mixed", "arcs")


def test_data_of_models_that_are_not_asked_for_are_found_as_well(tmp_path):
    request = Request("reduced", only=["mnist"], data_dir=tmp_path, device="cpu")
    arms = {arm.label: arm.config for arm in _make_arms(get_experiment("table-2"), request)}
    for label in ("mnist", "vade-mnist", "vade-svhn"):
        assert arms[label].data.options["data_dir"] == str(tmp_path)


def test_everything_that_is_promised_is_there():
    assert set(EXPERIMENTS) == PUBLISHED


@pytest.mark.parametrize(
    ("name", "arm", "row", "published"),
    [
        ("table-1", "mnist", "z of facet 1", "94.95 (0.04)"),
        ("table-1", "shapes3d-2", "z of both", "98.19 (0.30)"),
        ("table-2", "mnist", "MFCVAE", "92.02 (3.18), 10 seeds"),
        (
            "table-2",
            "vade-conv-svhn",
            "VaDE, convolutional",
            "30.80 (1.99), by one of the two accuracies",
        ),
        ("figure-12", "mnist", "facet 1", "91.85 (3.09), 10 seeds"),
        ("figure-18", "svhn", "facet 0", "56.25 (0.93), 10 seeds"),
        ("table-shapes", "shapes3d-1", "facet 1", "99.46 (1.10), 10 seeds"),
        ("table-7", "mnist", "real pictures", "0.112"),
        ("table-7", "vade-svhn", "samples of VaDE, temperature 0.3", "0.187"),
    ],
)
def test_published_numbers_stand_beside_what_they_are_compared_with(name, arm, row, published):
    entries = get_experiment(name).entries(get_experiment(name).arms("full"))
    assert published in {e.published for e in entries if (e.arm, e.row) == (arm, row)}


@pytest.mark.parametrize("name", ["table-1", "table-2", "table-shapes"])
def test_reduced_is_shorter_and_nothing_else(name):
    pairs = zip(*(get_experiment(name).arms(s) for s in ("reduced", "full")), strict=True)
    for arm, full in pairs:
        short, long = arm.config.training, full.config.training
        assert short.n_epochs < long.n_epochs
        assert short.n_fade_in_batches <= long.n_fade_in_batches
        length = {"epochs_per_step", "n_fade_in_batches", "pretraining"}
        differing = {
            f.name for f in fields(short) if getattr(short, f.name) != getattr(long, f.name)
        }
        assert differing <= length
        assert replace(arm.config, training=long) == full.config


def test_reproduce_trains_measures_writes_and_repeats_nothing(tmp_path, monkeypatch):
    told = []

    class Told(Watch):
        def on_begin(self, job):
            told.append(str(job))

    request = Request(out=tmp_path / "out")
    results, folder = reproduce(TINY, request, watch=Told())
    assert told == [f"{arm}, seed {seed}" for seed in (0, 1) for arm in ("five", "three")]
    assert json.loads((folder / "results.json").read_text()) == json.loads(json.dumps(results))
    (first, *_) = Plan(TINY, request).outcomes()
    by_facet = [f["floor_hue"]["majority_accuracy"] for f in results["runs"][0]["facets"]]
    assert best_facet(first, "floor_hue") == int(np.argmax(by_facet))
    assert results["figures"] == ["tiny.png"]
    assert (folder / "tiny.png").stat().st_size > 5000
    line = results["table"][0]
    runs = [run for run in results["runs"] if run["arm"] == "five"]
    values = [run["facets"][1]["floor_hue"]["majority_accuracy"] for run in runs]
    assert list(line["values"].values()) == values
    assert line["mean"] == pytest.approx(np.mean(values))
    assert line["sd"] == pytest.approx(np.std(values, ddof=1))
    assert line["metric"].endswith("K = 5")
    # The same noise and one sample: both guides give one model.
    three = [run for run in results["runs"] if run["arm"] == "three"]
    assert [r["elbo"]["test"] for r in three] == pytest.approx(
        [r["elbo"]["test"] for r in runs], rel=1e-3
    )
    assert all(run["seconds"] > 0 and run["packages"] for run in results["runs"])
    page = (folder / "table.md").read_text()
    assert page == as_page(results)
    assert f"{100 * line['mean']:.2f} ({100 * line['sd']:.2f}), 2 seeds" in page

    def broken(*_arguments, **_options):
        raise AssertionError("trained again")

    monkeypatch.setattr("pyro_mfcvae.runs.complete.train", broken)
    monkeypatch.setattr("pyro_mfcvae.runs.complete.resume", broken)
    again, _ = reproduce(TINY, request)
    assert again["runs"] == results["runs"]
    with pytest.raises(RunError, match="five, seed 2: .*trained again; three, seed 2: "):
        reproduce(TINY, replace(request, n_seeds=3))
    # A smaller request loses nothing of what is there.
    fewer, _ = reproduce(TINY, replace(request, n_seeds=1, only=["three"]))
    assert fewer["runs"] == results["runs"]


def test_other_settings_have_results_of_their_own(tmp_path):
    request = Request(n_seeds=1, only=["five"], out=tmp_path)
    _, folder = reproduce(TINY, request)
    changed = replace(request, assignments=["model.facets.1.n_clusters=7"])
    results, other = reproduce(TINY, changed)
    assert other != folder
    assert results["table"][0]["metric"].endswith("K = 7")
    assert results["notes"][-1] == "settings changed: model.facets.1.n_clusters=7"
    assert Plan(TINY, replace(request, assignments=["training.n_threads=1"])).folder == folder


class _StopsAt(Callback):
    def __init__(self, step):
        self.step = step

    def on_step(self, state):
        state.interrupted = state.interrupted or state.step == self.step


def test_an_interrupted_experiment_goes_on(tmp_path):
    request = Request(n_seeds=1, only=["five"])
    whole, _ = reproduce(TINY, replace(request, out=tmp_path / "whole"))
    interrupted = replace(request, out=tmp_path / "interrupted")
    with pytest.raises(Interrupted):
        reproduce(TINY, interrupted, InTurn([_StopsAt(7)]))
    resumed, _ = reproduce(TINY, interrupted)
    for key in ("elbo", "facets", "occupied_clusters", "step"):
        assert resumed["runs"][0][key] == whole["runs"][0][key]
    seen = next((tmp_path / "interrupted/runs").iterdir())
    splits = [record["split"] for record in Run(seen).metrics()]
    assert splits.count("train_clusters") == splits.count("test") == 3


class _Signals(Callback):
    def on_step(self, state):
        if state.step == state.n_steps:
            os.kill(os.getpid(), signal.SIGINT)


def test_a_signal_in_the_last_step_ends_the_experiment(tmp_path):
    request = Request(n_seeds=1, out=tmp_path)
    with pytest.raises(Interrupted):
        reproduce(TINY, request, InTurn([_Signals()]))
    assert len(list((tmp_path / "runs").glob("mfcvae-*"))) == 1
    results, _ = reproduce(TINY, request)
    assert [run["step"] for run in results["runs"]] == [24, 24]


def test_what_was_killed_before_its_first_step_is_begun_again(tmp_path):
    request = Request(n_seeds=1, only=["five"], out=tmp_path)
    arm = TINY.arms("full")[0]
    folder = run_folder(tmp_path, arm.config)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    results, _ = reproduce(TINY, request)
    assert results["runs"][0]["folder"] == folder.name


def test_missing_data_are_told_before_any_training(tmp_path, monkeypatch):
    request = Request(out=tmp_path / "out", data_dir=tmp_path / "nothing")
    with pytest.raises(DataError, match=r"^shapes3d-1: .*3dshapes\.h5"):
        reproduce(get_experiment("table-shapes"), request)
    assert not (tmp_path / "out").exists()


def test_a_missing_data_set_can_be_left_out(tmp_path):
    def arms(scale):
        here, there = _tiny_arms(scale)
        data = replace(here.config.data, name="shapes3d", options={"data_dir": str(tmp_path)})
        return [here, replace(there, config=replace(there.config, data=data))]

    experiment = replace(TINY, arms=arms)
    with pytest.raises(DataError, match="without it: --only five$"):
        Plan(experiment, Request(out=tmp_path / "out"))
    Plan(experiment, Request(out=tmp_path / "out", only=["five"]))


@pytest.mark.parametrize(
    ("request_", "named"),
    [
        (Request(only=["six"]), "'six'.*five, three"),
        (Request(assignments=["training.batch=3"]), "^five: .*training.batch.*--only"),
        (Request(assignments=["guide.name=vade"]), "five and three"),
        (Request(device="tpu9"), "'tpu9'"),
    ],
)
def test_bad_requests(request_, named, tmp_path):
    with pytest.raises(ConfigError, match=named):
        reproduce(TINY, replace(request_, out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"scale": "fast"}, "'fast'"),
        ({"n_seeds": 0}, "seed"),
        ({"first_seed": -1}, "first seed"),
        ({"assignments": ["seed=3"]}, "--seeds and --first-seed"),
    ],
)
def test_impossible_requests(given, named):
    with pytest.raises(ConfigError, match=named):
        Request(**given)


def test_data_must_have_the_factors_that_are_judged_by(tmp_path):
    factors = json.dumps({"floor_hue": [0], "wall_hue": [5], "object_hue": [6], "scale": [0, 7]})
    assignments = [f"data.options.factors={factors}", "model.facets.0.n_clusters=4"]
    with pytest.raises(ConfigError, match=r"^five: the data have no labels floor_hue"):
        Plan(TINY, Request(assignments=assignments, out=tmp_path))


def test_folders_that_hold_no_finished_run_are_passed_over(tmp_path):
    config = TINY.arms("full")[0].config
    begun = run_folder(tmp_path, replace(config, seed=7))
    begun.mkdir(parents=True)
    begun.with_name(f"{begun.name}-old").mkdir()
    (tmp_path / "runs" / "mfcvae-shapes-a9696b14-seed-0").mkdir()
    results, _ = reproduce(TINY, Request(n_seeds=1, only=["five"], out=tmp_path))
    assert [run["seed"] for run in results["runs"]] == [0]


def test_finished_runs_are_opened_once(tmp_path, monkeypatch):
    reproduce(TINY, Request(n_seeds=1, out=tmp_path))
    opened = []
    monkeypatch.setattr(
        "pyro_mfcvae.studies.engine.is_finished",
        lambda run, _: bool(opened.append(run.path)) or True,
    )
    reproduce(TINY, Request(n_seeds=1, out=tmp_path))
    assert len(opened) == len(set(opened)) == 2


def test_two_processes_do_not_train_one_run(tmp_path):
    config = TINY.arms("full")[0].config
    folder = run_folder(tmp_path, config)
    folder.parent.mkdir(parents=True)
    with (
        FileLock(folder.with_name(f".{folder.name}.lock")),
        pytest.raises(RunError, match="another process is training"),
    ):
        reproduce(TINY, Request(n_seeds=1, only=["five"], out=tmp_path))


def test_a_figure_that_cannot_be_drawn_costs_nothing_else(tmp_path):
    def draw(experiment, outcomes):
        yield from TINY.draw(experiment, outcomes)
        raise ValueError("one cluster only")

    request = Request(n_seeds=1, only=["five"], out=tmp_path)
    results, folder = reproduce(replace(TINY, draw=draw), request)
    assert results["figures"] == ["tiny.png"]
    assert results["notes"][-1] == "not all figures could be drawn: one cluster only"
    assert "one cluster only" in (folder / "table.md").read_text()


@pytest.mark.parametrize(
    "name", ["table-1", "table-7", "figure-5", "figure-6", "figure-12", "figure-13", "figure-18"]
)
def test_experiments_end_to_end(name, tmp_path, monkeypatch):
    """The experiments themselves, on the tiny model: every number is found and every figure."""
    monkeypatch.setitem(pictures._STYLE, "scenes", 0)  # the tiny model uses one cluster of facet 1
    given = Request("quick", 1, 0, ["scenes"], _config_parts(), out=tmp_path)
    results, folder = reproduce(EXPERIMENTS[name], given)
    assert all(line["mean"] is not None for line in results["table"])
    assert bool(results["table"]) == (name in ("table-1", "table-7", "figure-12", "figure-18"))
    assert bool(results["figures"]) == name.startswith("figure")
    for figure in results["figures"]:
        assert (folder / figure).stat().st_size > 5000


def test_a_collapsed_facet_leaves_nothing_to_swap(tmp_path):
    given = Request("quick", 1, 0, ["scenes"], _config_parts(), out=tmp_path)
    results, _ = reproduce(EXPERIMENTS["figure-5"], given)
    assert results["figures"] == []
    assert "facet 1 has one cluster in use" in results["notes"][-1]


def test_ablations_end_to_end(tmp_path):
    changes = ["data", "training"]
    given = [part for part in _config_parts() if part.partition("=")[0] in changes]
    only = ["unchanged", "K=10", "style-dim=5"]
    results, _ = reproduce(
        EXPERIMENTS["ablations"], Request("quick", 1, 0, only, given, out=tmp_path)
    )
    assert results["figures"] == ["ablations.png"]
    assert {line["arm"] for line in results["table"]} == set(only)
    assert all(line["mean"] is not None for line in results["table"])


def test_aspects_end_to_end(tmp_path):
    only = ["3 aspects, 3 facets, 12 clusters", "2 aspects, 1 facet, 8 clusters"]
    given = [
        "data.options.n_observations=100",
        "training.batch_size=20",
        "training.epochs_per_step=1",
        "training.n_fade_in_batches=0",
    ]
    results, _ = reproduce(
        EXPERIMENTS["figure-1"], Request("quick", 1, 0, only, given, out=tmp_path)
    )
    assert results["figures"] == ["figure-1-clusters.png", "figure-1-several.png"]
    assert len(results["table"]) == 5
    assert all(line["mean"] is not None for line in results["table"])


def test_lpips_is_asked_for_before_anything_else(tmp_path, monkeypatch):
    def missing():
        raise DataError("no weights")

    monkeypatch.setattr("pyro_mfcvae.studies.papers.driver.require_lpips", missing)
    with pytest.raises(DataError, match="no weights"):
        reproduce(get_experiment("table-7"), Request(out=tmp_path))


def test_entries_read_measures():
    told = {"majority_accuracy": 0.5}
    facets = [FacetResults(5, 2), FacetResults(5, 2, {}, {"floor_hue": FactorResults(4, {}, told)})]
    terms = {"test": {"elbo": -3.0, "kl_z_0": 1.5}}
    found = Evaluation({}, terms, facets, others={"groups": {"trained": 0.25}})

    def value(*path):
        return Entry(arm="a", row="r", column="c", metric="m", path=path).value(found)

    assert value(*ACCURACY) == 0.5
    assert value(*path_of("elbo")) == -3
    assert value("elbo", "test", "kl_z_0") == 1.5
    assert value("groups", "trained") == 0.25
    for path in (("probe", "facets", 0), ("facets", 7), ("facets", 1, "factors", "shape"), ()):
        assert value(*path) is None


def test_shown():
    line = {"percent": True, "values": {0: 0.5, 1: 0.75}, "mean": 0.625, "sd": 0.1768}
    assert as_cells(line) == ("62.50 (17.68), 2 seeds", "50.00, 75.00")
    one = {"percent": False, "values": {3: 0.112}, "mean": 0.112, "sd": None}
    assert as_cells(one) == ("0.112, 1 seed", "0.112")
    assert as_cells({"values": {}}) == ("not measured", "")


def test_contrasting_pairs_differ_in_every_facet_and_repeat_no_pair():
    generator = np.random.default_rng(0)
    responsibilities = [generator.dirichlet(np.full(k, 0.2), size=300) for k in (4, 5, 3)]
    clusters = [r.argmax(1) for r in responsibilities]
    for facet in range(3):
        pairs = contrasting_pairs(responsibilities, facet, 12)
        assert pairs.shape == (12, 2)
        assert len({tuple(pair) for pair in pairs}) == 12
        for own in clusters:
            assert (own[pairs[:, 0]] != own[pairs[:, 1]]).all()


def test_contrasting_pairs_need_two_clusters():
    one = np.array([[1.0, 0.0]] * 5)
    assert contrasting_pairs([one, one], 0, 4).shape == (0, 2)


def test_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    listed = CliRunner().invoke(main, ["reproduce"])
    names = [line.split()[0] for line in listed.output.splitlines() if line[0] != " "]
    assert names[:5] == ["table-1", "table-2", "table-7", "table-shapes", "figure-1"]
    assert set(names) == PUBLISHED
    for arguments, named in (
        (["nothing"], "'nothing'"),
        (["table-1", "--quick", "--reduced"], "--quick and --reduced"),
        (["table-1", "--seeds", "0"], "--seeds"),
        (["table-1", "figure-4", "--only", "scenes"], "'scenes'"),
    ):
        wrong = CliRunner().invoke(main, ["reproduce", *arguments])
        assert wrong.exit_code == 2
        assert named in wrong.output


def test_a_preset_can_be_run_with_several_seeds(tmp_path):
    request = Request(n_seeds=2, out=tmp_path, assignments=_config_parts())
    results, folder = reproduce(get_experiment("shapes"), request)
    rows = {(line["row"], line["column"]) for line in results["table"]}
    factors = results["runs"][0]["facets"][0]
    assert rows == {(f"facet {j}", f"shapes, {f}") for j in (0, 1) for f in factors}
    assert folder.name.startswith("shapes-")
    assert results["figures"] == ["shapes.png"]
    with pytest.raises(ConfigError, match=r"shapes is a preset, .* --set training\.epochs"):
        reproduce(get_experiment("shapes"), replace(request, scale="quick"))
