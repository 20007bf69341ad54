"""Guides of one's own: from files, in settings, by command, and at any number of samples."""

from __future__ import annotations

import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import ROOT
from distributed_job import StopAt
from models import gradients, observations, relative_error, small_model
from own_files import TINY, mfcvae, nothing_loaded, sha256, tiny_settings, write_data, write_sweep
from pyro.infer import TraceEnum_ELBO
from variants import load

from pyro_mfcvae import Noise, load_guide_file
from pyro_mfcvae.config import (
    config_from_dict,
    config_from_json,
    config_to_dict,
    config_to_json,
    override,
)
from pyro_mfcvae.errors import ConfigError, OtherModelWarning, RunError
from pyro_mfcvae.evaluation.fitting import fitting_guides
from pyro_mfcvae.guides import GUIDES, ClosedFormGuide, Guide, guide_class
from pyro_mfcvae.inference.noise import site_noise
from pyro_mfcvae.plugins import user
from pyro_mfcvae.plugins.files import loaded_files
from pyro_mfcvae.plugins.user import load_again, with_guide, with_model
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train

OWN = '''
import torch

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.guides import ClosedFormGuide, Guide, register_guide

with open("imported.txt", "a") as file:
    file.write("once\\n")


class Sharp(ClosedFormGuide):
    """Learns how sharp q(c | x) is."""

    def __init__(self, model):
        super().__init__(model)
        self.log_sharpness = torch.nn.Parameter(torch.ones(()))

    def over_samples(self, log_responsibilities):
        return log_responsibilities.mean(0) * self.log_sharpness.exp()


class Model(MFCVAE):
    """A model beside it."""


class NoBound(ClosedFormGuide):
    """Does not say what it is."""


class Needy(Sharp):
    def __init__(self, model, sharpness):
        super().__init__(model)


class enumerate(Sharp):
    """Has the name of another guide."""
'''
GUIDE = ("--guide", "own.py:Sharp")
TOLD = (
    r"this run's guide is Sharp of own\.py \(sha256 {}…\); nothing is executed that a run folder "
    r"names: pass --guide path/to/own\.py:Sharp, or in Python give it to load_guide_file first"
)


def _write(folder: Path) -> None:
    (folder / "own.py").write_text(OWN)
    write_data(folder)


def _drawn(run, *_):
    """In place of figures, which take seconds: what there is to draw them of."""
    return [*run.model().guides]


@pytest.fixture(autouse=True)
def _new_process(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_mfcvae.drawing.draw_run", _drawn)
    _write(tmp_path)
    with nothing_loaded():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, nothing_loaded():
        patch.chdir(folder)
        patch.setattr("pyro_mfcvae.drawing.draw_run", _drawn)
        _write(folder)
        done = mfcvae("train", *TINY, *GUIDE, "--out", "run")
        assert done.exit_code == 0, done.output
        assert Path("imported.txt").read_text() == "once\n"
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """The run; its recorded file is elsewhere, and must not be what is imported."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return Run(tmp_path / "run")


@pytest.mark.parametrize("n_samples", [1, 4])
def test_what_a_person_writes_is_called_with_any_number_of_samples(n_samples):
    """The uniform q(c | x) has the gap of E_q [log q(c) - log p(c | z)] to summing c out."""
    shapes = []

    class Uniform(ClosedFormGuide):
        def over_samples(self, log_responsibilities):
            shapes.append(tuple(log_responsibilities.shape))
            return torch.zeros_like(log_responsibilities[0])

    model, x = small_model(), observations()
    with torch.no_grad():
        with Noise(0):
            best = model(x, guide="enumerate", n_samples=n_samples).elbo
        with Noise(0):
            elbo = model(x, guide=Uniform(model), n_samples=n_samples).elbo
        gap = 0.0
        for j, (q, prior) in enumerate(zip(model.encode(x), model.facets, strict=True)):
            eps = site_noise(0, 0, f"z_{j}", _shape(n_samples, q), x)
            z = (q.mean + q.stddev * eps).reshape(n_samples, *q.mean.shape)
            log_r = (prior.component_log_prob(z) + prior.log_weights).log_softmax(-1)
            gap = gap - log_r.mean(-1).mean(0) - math.log(prior.n_clusters)
    assert shapes == [(n_samples, len(x), prior.n_clusters) for prior in model.facets]
    assert (gap > 0.01).all()
    torch.testing.assert_close(best - elbo, gap, rtol=1e-9, atol=1e-9)


def _shape(n_samples, q):
    return torch.Size([*([n_samples] if n_samples > 1 else []), *q.mean.shape])


@pytest.mark.parametrize("guide", ["vade", "expectation"])
def test_one_sample_is_its_own_average(guide):
    """Bit for bit: what there is of one sample goes through unchanged, and so does its gradient."""

    class Shortened(GUIDES[guide]):
        def logits(self, inferred):
            return inferred.prior.log_responsibilities(inferred.z)

    model, x = small_model(), observations()
    found = []
    for each in (model.guide(guide), Shortened(model)):
        with Noise(0):
            loss = model(x, guide=each).loss
        found.append((loss, gradients(model, loss)))
    assert torch.equal(found[0][0], found[1][0])
    assert relative_error(found[0][1], found[1][1]) == 0


def test_a_guide_without_an_average_cannot_be_made():
    class Unsaid(ClosedFormGuide):
        pass

    class Empty(Guide):
        pass

    model, x = small_model(), observations()
    with pytest.raises(TypeError, match="over_samples"):
        Unsaid(model)
    with pytest.raises(ConfigError, match="Empty does not enumerate clusters, as it defines no lo"):
        model(x, guide=Empty(model))


@pytest.mark.parametrize("n_samples", [1, 5])
def test_tempered_clusters_lie_below_the_optimum_by_their_kl(n_samples):
    """ELBO(vade) - ELBO(T) = KL(q_T || q_1), from densities written out; T = 1 is vade itself."""
    module, model, x = load("own_guide"), small_model(), observations()
    with torch.no_grad():
        logits = []
        for j, (q, prior) in enumerate(zip(model.encode(x), model.facets, strict=True)):
            eps = site_noise(0, 0, f"z_{j}", _shape(n_samples, q), x)
            z = (q.mean + q.stddev * eps).reshape(n_samples, *q.mean.shape)
            log_joint = prior.component_log_prob(z) + prior.log_weights
            logits.append(log_joint.log_softmax(-1).mean(0))

        def elbo(guide):
            with Noise(0):
                return model(x, guide=guide, n_samples=n_samples).elbo

        best = elbo("vade")
        torch.testing.assert_close(elbo(module.Tempered(model, 1.0)), best, rtol=1e-12, atol=0)
        for temperature in (5.0, 2.0, 0.5, 0.02):
            kl = 0.0
            for logit in logits:
                log_q, log_best = (logit / temperature).log_softmax(-1), logit.log_softmax(-1)
                kl = kl + (log_q.exp() * (log_q - log_best)).sum(-1)
            guide = module.Tempered(model, temperature).double()
            torch.testing.assert_close(best - elbo(guide), kl, rtol=1e-8, atol=1e-9)
            assert (kl > 0).all()


def test_tempered_clusters_under_pyro_s_own_objective():
    model, x = small_model(), observations()
    guide = load("own_guide").Tempered(model, 3.0).double()
    with Noise(0):
        elbo = model(x, guide=guide).elbo.sum().item()
    with Noise(0):
        stock = TraceEnum_ELBO(max_plate_nesting=1).loss(model.model, guide, x)
    assert -stock == pytest.approx(elbo, rel=1e-9)


def test_own_guide():
    """The example's table: no temperature does better than vade, and that no better than a sum."""
    assert len((ROOT / "examples/own_guide.py").read_text().splitlines()) < 60
    bounds = load("own_guide").main(80, 4)
    vade = bounds.pop("vade")
    assert bounds.pop("enumerate") > vade
    assert bounds.pop("tempered, T = 1.0") == pytest.approx(vade, abs=1e-5)
    assert len(bounds) == 4
    assert max(bounds.values()) < vade - 1e-4


def test_the_example_from_the_command_line():
    """Training lowers its temperature as the settings say."""
    given = ["--guide", f"{ROOT}/examples/own_guide.py:Tempered"]
    done = mfcvae("train", *TINY, *given, "--set", "guide.temperature=[5,1]", "--out", "cooled")
    assert done.exit_code == 0, done.output
    cooled = Run("cooled").model().guides["Tempered"].temperature.item()
    n_steps = 3 * 3  # of 48 observations in batches of 20
    assert cooled == pytest.approx(5 ** (1 / n_steps))  # one step before the end
    few = ("--samples", "3", "--n-draws", "2", "--n-observations", "6")
    done = mfcvae("compare", "cooled", "--guides", f"vade,{given[1]}", *few)
    assert done.exit_code == 0, done.output
    elbos = {row["guide"]: row["elbo"] for row in Run("cooled").comparison()["guides"]}
    assert elbos.keys() == {"enumerate", "vade", "Tempered"}
    assert elbos["enumerate"] > elbos["vade"] > elbos["Tempered"]


def test_a_run_records_its_guide(run, trained):
    settings = run.config.guide
    assert (settings.name, settings.source.file) == ("Sharp", "own.py")
    assert settings.source.path == str(trained / "own.py")
    assert settings.source.sha256 == sha256("own.py")
    assert config_from_json(config_to_json(run.config)) == run.config
    assert load_guide_file("own.py:Sharp").sha256 == settings.source.sha256
    guide = run.model().guides["Sharp"]
    assert guide.log_sharpness.item() not in (0, 1)  # learnt and loaded
    assert type(guide) is GUIDES["Sharp"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("evaluate", "run"),
        ("figures", "run"),
        ("compare", "run", "--guides", "vade", "--samples", "1", "--n-draws", "2"),
        ("intervene", "generate", "run"),
        ("export", "run", "copy"),
        ("train", "--resume", "run"),
    ],
)
def test_what_a_run_folder_names_is_not_executed(arguments, run):
    result = mfcvae(*arguments)
    assert result.exit_code in (1, 2)
    told = TOLD.format(sha256("own.py")[:8])
    assert re.search(told, " ".join(result.output.split()))
    assert not Path("imported.txt").exists()
    assert not Path("copy").exists()
    with pytest.raises(RunError, match="run cannot be opened: this run's guide is Sharp of own.py"):
        run.model()
    with pytest.raises(ConfigError, match=told):
        train(run.config, "again")


def test_commands_on_a_run_take_the_file(run, trained):
    measured = run.evaluation()
    result = mfcvae("evaluate", "run", *GUIDE)
    assert result.exit_code == 0, result.output
    assert run.evaluation() == measured
    assert mfcvae("figures", "run", *GUIDE).output == "Sharp\n"
    few = ("--samples", "2", "--n-draws", "2", "--n-observations", "4")
    result = mfcvae("compare", "run", "--guides", " vade, own.py:Sharp", *few)
    assert result.exit_code == 0, result.output
    rows = {row["guide"]: row for row in run.comparison()["guides"]}
    assert rows["vade"]["elbo"] > rows["Sharp"]["elbo"]
    result = mfcvae("intervene", "generate", "run", *GUIDE, "--arrays", "drawn.npz")
    assert result.exit_code == 0, result.output
    result = mfcvae("train", "--resume", "run", *GUIDE)
    assert "run is finished" in result.output
    result = mfcvae("export", "run", "copy", *GUIDE)
    assert result.exit_code == 0, result.output
    copy = Run("copy")
    assert (copy.config.guide.source.path, copy.config.model) == ("own.py", run.config.model)
    assert copy.config.guide.source.sha256 == sha256("own.py")
    assert str(trained) not in (copy.path / "config.json").read_text()
    assert Path("imported.txt").read_text() == "once\n"


def test_an_interrupted_run_goes_on_bit_for_bit(monkeypatch):
    from pyro_mfcvae.runs import train as experiment

    config = with_guide(tiny_settings(), "own.py:Sharp")
    whole, _, _ = train(config, "whole")
    take_steps, stop = experiment.take_steps, StopAt(4)
    with monkeypatch.context() as patch:
        patch.setattr(experiment, "take_steps", lambda state, own: take_steps(state, [*own, stop]))
        result = mfcvae("train", *TINY, "--out", "halted", *GUIDE, "--model", "own.py:Model")
    assert result.exit_code == 130, result.output
    assert "train --resume halted --model own.py:Model --guide own.py:Sharp" in result.output
    halted, _, _ = train(config, "other", [StopAt(4)])
    assert halted.step() == 4
    result = mfcvae("train", "--resume", "other", *GUIDE)
    assert result.exit_code == 0, result.output
    states = [run.model().state_dict() for run in (whole, halted)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    named = mfcvae("train", "--resume", "other", "--guide", "vade")
    assert named.exit_code == 2
    assert "expected a Python file and the name of a guide in it" in named.output


@pytest.mark.filterwarnings("default::pyro_mfcvae.errors.OtherModelWarning")
def test_another_file_is_used_with_a_warning(run):
    Path("own.py").write_text(OWN + "\n# changed\n")
    result = mfcvae("evaluate", "run", *GUIDE)
    assert result.exit_code == 0, result.output
    recorded = run.config.guide.source.sha256[:8]
    assert re.findall(r"warning: .*", result.output) == [
        f"warning: this run's guide is Sharp of own.py (sha256 {recorded}…), but the given file is "
        f"another one or has changed (sha256 {sha256('own.py')[:8]}…); it is used"
    ]
    Path("own.py").write_text(OWN.replace("ones(())", "ones(2, 1)"))
    result = mfcvae("evaluate", "run", *GUIDE)
    assert result.exit_code == 1
    assert "does not fit config.json" in result.output


def test_a_changed_file_replaces_what_was_loaded():
    first = with_guide(tiny_settings(), "own.py:Sharp")
    kept, kind = loaded_files(), guide_class(first.guide)
    assert with_guide(tiny_settings(), "Sharp") == first  # known by now, and recorded
    assert with_guide(first, "vade") == tiny_settings()
    Path("own.py").write_text(OWN + "\n# changed\n")
    second = with_guide(tiny_settings(), "own.py:Sharp")
    assert Path("imported.txt").read_text() == "once\nonce\n"
    assert guide_class(second.guide) is not kind
    with pytest.warns(OtherModelWarning, match="has changed"):
        assert guide_class(first.guide) is GUIDES["Sharp"]
    with pytest.raises(ConfigError, match="own.py has changed since this was started"):
        load_again(kept)
    load_again(loaded_files())
    Path("own.py").write_text("from pyro_mfcvae.guides import VadeGuide\n")
    load_guide_file("own.py:VadeGuide")
    assert "Sharp" not in GUIDES
    Path("own.py").write_text(OWN)
    load_guide_file("own.py:Sharp")
    assert "VadeGuide" not in GUIDES


_KEEN = OWN.replace("class Sharp", "class Keen").replace("(Sharp", "(Keen")


def _own_and_a_copy() -> str:
    """Two files with the same bytes, loaded; returns these."""
    own = OWN + "\n\nregister_guide('sharper')(Sharp)\n"
    for file in ("own.py", "copy.py"):
        Path(file).write_text(own)
        load_guide_file(f"{file}:Sharp")
    return own


def test_a_copy_stays_when_the_other_file_changes():
    own = _own_and_a_copy()
    copied = GUIDES["Sharp"]
    Path("own.py").write_text(_KEEN)
    load_guide_file("own.py:Keen")
    assert GUIDES["Sharp"] is GUIDES["sharper"] is copied
    assert [Path(text).name for _, text in loaded_files()] == ["copy.py:Sharp", "own.py:Keen"]
    Path("own.py").write_text(own + "\n# changed\n")  # what it registers is the copy's by now
    with pytest.raises(ConfigError, match="registers the guide 'sharper', a name that is taken"):
        load_guide_file("own.py:Sharp")
    assert GUIDES["sharper"] is copied
    Path("copy.py").write_text("from pyro_mfcvae.guides import VadeGuide\n")
    load_guide_file("copy.py:VadeGuide")
    assert not {"Sharp", "sharper"} & GUIDES.keys()


def test_a_copy_that_is_gone_does_not_stay():
    _own_and_a_copy()
    Path("own.py").unlink()
    Path("copy.py").write_text(_KEEN)
    load_guide_file("copy.py:Keen")
    assert not {"Sharp", "sharper"} & GUIDES.keys()
    assert [Path(text).name for _, text in loaded_files()] == ["copy.py:Keen"]


def test_a_model_and_a_guide_of_one_file():
    config = with_guide(with_model(tiny_settings(), "own.py:Model"), "own.py:Sharp")
    assert Path("imported.txt").read_text() == "once\n"
    assert config.model.source == config.guide.source
    assert {kind for kind, _ in loaded_files()} == {"model", "guide"}
    assert {
        part.source.path
        for part in vars(config.without_folders()).values()
        if getattr(part, "source", None)
    } == {"own.py"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.py:Sharp", r"nowhere\.py: there is no such file; expected path/to/file\.py:Name"),
        ("own.py", r"name of a guide in it, as path/to/file\.py:Name, got 'own\.py'"),
        ("own.py:Other", r"own\.py has no Other; its guides are Sharp, NoBound, Needy, enumerate$"),
        ("empty.py:Own", r"empty\.py has no Own; it has no subclass of Guide$"),
        ("own.py:Model", r"Model of .*own\.py must be a subclass of Guide, got <class .*Model"),
        ("own.py:Guide", r"Guide of .*own\.py must be a subclass of Guide, got <class .*Guide"),
        ("own.py:NoBound", r"NoBound of .*own\.py must define over_samples$"),
        ("own.py:Needy", r"Needy of .*own\.py must be made of model, as Guide is: missing .*sharp"),
        ("own.py:enumerate", r"own\.py: there is another guide called enumerate; choose another"),
        ("elsewhere.py:Sharp", r"elsewhere\.py: there is another guide called Sharp; choose anoth"),
        ("taken.py:Sharp", r"registers the guide 'vade', a name that is taken; choose another"),
    ],
)
def test_what_cannot_be_loaded_leaves_nothing_behind(text, message):
    load_guide_file("own.py:Sharp")
    Path("empty.py").write_text("")
    Path("elsewhere.py").write_text(OWN + "\n# elsewhere\n")
    Path("taken.py").write_text(OWN.replace("class Sharp", "@register_guide('vade')\nclass Sharp"))
    tables, loaded = [dict(table) for table in user._REGISTRIES.values()], loaded_files()
    with pytest.raises(ConfigError, match=message):
        load_guide_file(text)
    assert [dict(table) for table in user._REGISTRIES.values()] == tables
    assert loaded_files() == loaded


def test_a_guide_of_a_file_that_was_not_trained_is_named_with_it():
    load_guide_file("own.py:Sharp")
    _, left_out = fitting_guides(small_model(), ["Sharp", "vade"], "enumerate")
    told = "its networks were not trained: train with --guide path/to/own.py:Sharp"
    assert left_out == {"Sharp": told}


def test_unknown_guides():
    unknown = r"unknown guide 'oracle'; choose one of amortized, .*, or .* with --guide FILE\.py"
    with pytest.raises(ConfigError, match=unknown):
        with_guide(tiny_settings(), "oracle")
    result = mfcvae("train", *TINY, "--guide", "oracle")
    assert result.exit_code == 2
    assert re.search(unknown, " ".join(result.output.split()))
    result = mfcvae("train", *TINY, "--set", "guide.name=own.py:Sharp")
    assert result.exit_code == 2
    assert "settings take names only; give a file to --guide" in " ".join(result.output.split())
    values = config_to_dict(tiny_settings())
    with pytest.raises(ConfigError, match="guide.source.sha256"):
        config_from_dict(values | {"guide": {"source": {"path": "own.py", "sha256": "123"}}})


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        (GUIDE, "guide.name", "vade"),
        (GUIDE, "guide", "{}"),
        (("--guide", "vade"), "guide.source", "null"),
        (("--model", "own.py:Model"), "model.name", "gmvae"),
    ],
)
def test_a_guide_is_given_once(given, path, value):
    result = mfcvae("train", *TINY, *given, "--set", f"{path}={value}", "--out", "run")
    assert result.exit_code == 2
    assert f"is given and set by {path}, too; leave one out" in " ".join(result.output.split())
    assert not Path("run").exists()


def test_another_name_leaves_the_file_behind():
    own = with_guide(with_model(tiny_settings(), "own.py:Model"), "own.py:Sharp")
    assert override(own, ["guide.name=Sharp", "model.name=Model", "seed=0"]) == own
    other = override(own, ["guide.name=vade", "model.name=mfcvae"])
    assert other == tiny_settings()
    source = json.dumps(config_to_dict(own)["guide"]["source"])
    for order in (1, -1):
        assignments = ["guide.name=Sharp", f"guide.source={source}"][::order]
        assert override(other, assignments).guide == own.guide


def test_settings_without_a_file_are_what_they_were():
    config = tiny_settings()
    values = config_to_dict(config)
    assert values["guide"].pop("source") is None
    assert config_from_dict(values) == config
    assert "source" not in config_to_dict(config, defaults=False).get("guide", {})


def test_a_report_names_the_file(run):
    result = mfcvae("report", "run", *GUIDE)
    assert result.exit_code == 0, result.output
    page = (run.path / "report.html").read_text()
    assert f"mfcvae evaluate {run.path.name} --guide path/to/own.py:Sharp" in page
    assert "from pyro_mfcvae import Run, load_guide_file" in page
    assert "load_guide_file(&#39;path/to/own.py:Sharp&#39;)" in page


def test_a_sweep_varies_guides_of_one_s_own():
    spec = write_sweep(seeds=1, grid={"guide.name": ["Sharp", "enumerate"]})
    result = mfcvae("sweep", "sweep.json", *GUIDE, "--out", "swept")
    assert result.exit_code == 0, result.output
    trials = json.loads(Path("swept/sweep.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["finished"] * 2, trials
    guides = [Run(path.parent).config.guide for path in Path("swept/runs").glob("*/config.json")]
    sources = {guide.name: guide.source and guide.source.sha256 for guide in guides}
    assert sources == {"Sharp": sha256("own.py"), "enumerate": None}
    spec["set"]["guide.name"] = "vade"
    Path("sweep.json").write_text(json.dumps({**spec, "grid": {}}))
    twice = mfcvae("sweep", "sweep.json", *GUIDE, "--out", "swept")
    assert twice.exit_code == 2
    assert "the guide is given and set by guide.name, too" in twice.output
