"""Code of a person's own: imported where a person names it, and nowhere else."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from distributed_job import StopAt
from models import small_model
from own_files import (
    TINY,
    forget_all,
    mfcvae,
    nothing_loaded,
    sha256,
    tiny_settings,
    write_data,
    write_sweep,
)

from pyro_mfcvae.config import (
    config_from_dict,
    config_from_json,
    config_to_dict,
    config_to_json,
    override,
)
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.data import data_settings, load_dataset
from pyro_mfcvae.errors import ConfigError, OtherModelWarning, RunError
from pyro_mfcvae.evaluation.fitting import fitting_guides
from pyro_mfcvae.guides import GUIDES
from pyro_mfcvae.plugins import (
    build_model,
    files,
    guide_class,
    load_again,
    load_guide_file,
    load_model_file,
    loaded_files,
    model_class,
    with_guide,
    with_model,
)
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.registry import Registry, take_back
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train
from pyro_mfcvae.studies.engine import run_folder

OWN = '''
import torch

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.guides import GUIDES, ClosedFormGuide, register_guide

with open("imported.txt", "a") as file:
    file.write("once\\n")


class Own(MFCVAE):
    """Latents are shifted before they are decoded."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.shift = torch.nn.Parameter(torch.zeros(1))

    def decode(self, zs):
        return super().decode([z + self.shift for z in zs])


class Second(Own):
    """Another one."""


@register_guide("mine")
class Mine(GUIDES["vade"]):
    """Vade under another name."""


class Sharp(ClosedFormGuide):
    """Learns how sharp q(c | x) is."""

    def __init__(self, model):
        super().__init__(model)
        self.log_sharpness = torch.nn.Parameter(torch.ones(()))

    def over_samples(self, log_responsibilities):
        return log_responsibilities.mean(0) * self.log_sharpness.exp()


class NoBound(ClosedFormGuide):
    """Does not say what it is."""


class Needy(Sharp):
    def __init__(self, model, sharpness):
        super().__init__(model)


class enumerate(Sharp):
    """Has the name of another guide."""
'''
MODEL, GUIDE = ("--model", "own.py:Own"), ("--guide", "own.py:Sharp")
BOTH = (*MODEL, *GUIDE)
FEW = ("--samples", "2", "--n-draws", "2", "--n-observations", "4")
_LOAD = {"model": load_model_file, "guide": load_guide_file}


def _write(folder: Path) -> None:
    (folder / "own.py").write_text(OWN)
    write_data(folder)


def _edit(*changes: tuple[str, str], file: str = "own.py") -> None:
    text = OWN
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    Path(file).write_text(f"{text}\n# changed\n")


def _given(model: str = "own.py:Own", guide: str = "own.py:Sharp"):
    return with_guide(with_model(tiny_settings(), model), guide)


def _drawn(run, *_):
    """In place of figures, which take seconds: what there is to draw them of."""
    model = run.model()
    return [type(model).__name__, *model.guides]


def _n_imports() -> int:
    file = Path("imported.txt")
    return len(file.read_text().split()) if file.exists() else 0


@pytest.fixture(autouse=True)
def _new_process(tmp_path, monkeypatch):
    """A folder of its own, and nothing loaded, as when a process starts."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("pyro_mfcvae.runs.draw.draw_run", _drawn)
    _write(tmp_path)
    with nothing_loaded():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the files, trained by the command line in a process of its own."""
    folder = tmp_path_factory.mktemp("trained")
    _write(folder)
    command = [sys.executable, "-m", "pyro_mfcvae", "train", *TINY, *BOTH, "--out", "run"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "imported.txt").read_text() == "once\n"
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """That run; its recorded file is elsewhere, and must not be what is imported."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return Run(tmp_path / "run")


def test_a_run_records_its_files(run, trained):
    for settings, name in ((run.config.model, "Own"), (run.config.guide, "Sharp")):
        assert (settings.name, settings.source.file) == (name, "own.py")
        assert settings.source.path == str(trained / "own.py")
        assert settings.source.sha256 == sha256("own.py")
    assert config_from_json(config_to_json(run.config)) == run.config
    load_model_file("own.py:Own")
    assert load_guide_file("own.py:Sharp") == load_model_file("own.py:Own")
    assert _n_imports() == 1
    model = run.model()
    assert type(model).__name__ == "Own"
    assert model.shift.item() != 0  # learnt and loaded
    guide = model.guides["Sharp"]
    assert type(guide) is GUIDES["Sharp"]
    assert guide.log_sharpness.item() not in (0, 1)
    plain = run.config.without_folders()
    assert (plain.model.source.path, plain.guide.source.path) == ("own.py", "own.py")


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
    start = sha256("own.py")[:8]
    for given, kind, name in (((), "model", "Own"), (MODEL, "guide", "Sharp")):
        result = mfcvae(*arguments, *given)
        assert result.exit_code in (1, 2)
        told = rf"{kind} is {name} of own\.py \(sha256 {start}.* --{kind} path/to/own\.py:{name}"
        assert re.search(told, " ".join(result.output.split()))
        assert not Path("copy").exists()
        assert _n_imports() == len(given) / 2
        with pytest.raises(RunError, match=f"this run's {kind} is {name} of own.py"):
            run.model()
        with pytest.raises(ConfigError, match=f"this run's {kind} is {name} of own.py"):
            train(run.config, "again")


def test_commands_on_a_run_take_the_files(run, trained):
    measured = run.evaluation()
    assert measured.facets[0].factors.keys() == {"kind"}
    result = mfcvae("evaluate", "run", *BOTH)
    assert result.exit_code == 0, result.output
    assert run.evaluation() == measured
    assert mfcvae("figures", "run", *BOTH).output == "Own\nSharp\n"
    result = mfcvae("compare", "run", *BOTH, "--guides", " vade, own.py:Sharp, mine", *FEW)
    assert result.exit_code == 0, result.output
    elbos = {row.guide: row.elbo for row in run.comparison().guides}
    assert elbos["mine"] == elbos["vade"] > elbos["Sharp"]
    result = mfcvae("intervene", "generate", "run", *BOTH, "--arrays", "drawn.npz")
    assert result.exit_code == 0, result.output
    assert "run is finished" in mfcvae("train", "--resume", "run", *BOTH).output
    result = mfcvae("export", "run", "copy", *BOTH)
    assert result.exit_code == 0, result.output
    copy = Run("copy")
    plain = run.config.without_folders()
    assert (copy.config.model, copy.config.guide) == (plain.model, plain.guide)
    assert str(trained) not in (copy.path / "config.json").read_text()
    assert torch.equal(copy.model().shift, run.model().shift)
    assert _n_imports() == 1


def test_an_interrupted_run_goes_on_bit_for_bit(monkeypatch):
    from pyro_mfcvae.runs import train as experiment

    whole, _, _ = train(_given(), "whole")
    take_steps, stop = experiment.take_steps, StopAt(4)
    with monkeypatch.context() as patch:
        patch.setattr(
            experiment, "take_steps", lambda state, own, say: take_steps(state, [*own, stop], say)
        )
        result = mfcvae("train", *TINY, "--out", "halted", *BOTH)
    assert result.exit_code == 130, result.output
    assert "train --resume halted --model own.py:Own --guide own.py:Sharp" in result.output
    halted = Run("halted")
    before = (halted.path / "config.json").read_bytes()
    assert halted.step() == 4
    for kind, name in (("model", "vade"), ("guide", "vade")):
        named = mfcvae("train", "--resume", "halted", f"--{kind}", name)
        assert named.exit_code == 2
        assert "path/to/file.py:Name" in named.output
    result = mfcvae("train", "--resume", "halted", *BOTH)
    assert result.exit_code == 0, result.output
    states = [each.model().state_dict() for each in (whole, halted)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert (halted.path / "config.json").read_bytes() == before


@pytest.mark.filterwarnings("default::pyro_mfcvae.errors.OtherModelWarning")
def test_another_file_is_used_with_a_warning(run):
    _edit()
    result = mfcvae("evaluate", "run", *BOTH)
    assert result.exit_code == 0, result.output
    recorded, given = run.config.model.source.sha256[:8], sha256("own.py")[:8]
    for kind, name in (("model", "Own"), ("guide", "Sharp")):
        told = rf"warning: .* {kind} is {name} of own.py \(sha256 {recorded}.*\(sha256 {given}"
        assert len(re.findall(told, result.output)) == 1
    for change in (("zeros(1)", "zeros(2)"), ("ones(())", "ones(2, 1)")):
        _edit(change)
        result = mfcvae("evaluate", "run", *BOTH)
        assert result.exit_code == 1
        assert "does not fit config.json" in result.output


def test_models_of_one_name_are_told_apart():
    for folder in ("one", "two", "three"):
        Path(folder).mkdir()
        _edit(('"mine"', f'"{folder}"'), file=f"{folder}/own.py")
    classes = [model_class(_given(f"{n}/own.py:Own", "vade").model) for n in ("one", "two")]
    assert classes[0] is not classes[1]
    for kind, folder in zip(classes, ("one", "two"), strict=True):
        assert Path(sys.modules[kind.__module__].__file__) == Path(folder, "own.py").resolve()
    source = {"path": "own.py", "sha256": sha256("three/own.py")}
    third = override(tiny_settings(), [f"model.source={json.dumps(source)}", "model.name=Own"])
    with pytest.raises(ConfigError, match=r"none is that one \(sha256 .{8}…, sha256 .{8}…\)"):
        model_class(third.model)
    with pytest.raises(ConfigError, match=r"unknown model 'Own'; choose one of .*mfcvae"):
        build_model(override(tiny_settings(), ["model.name=Own"]).model, ObservationSpec((4,)))


def test_a_changed_file_replaces_what_was_loaded():
    first = _given()
    load_model_file(f"{Path.cwd()}/../{Path.cwd().name}/own.py:Second")
    kept, kinds = loaded_files(), (model_class(first.model), guide_class(first.guide))
    assert len(kept) == 3
    assert _n_imports() == 1
    assert with_guide(tiny_settings(), "Sharp").guide == first.guide  # known now, and recorded
    assert with_guide(with_model(first, "mfcvae"), "vade") == tiny_settings()
    _edit(('"mine"', '"ours"'))
    second = _given()
    assert _n_imports() == 2
    assert "ours" in GUIDES
    assert "mine" not in GUIDES
    for find, part, kind in ((model_class, "model", kinds[0]), (guide_class, "guide", kinds[1])):
        assert find(getattr(second, part)) is not kind
        with pytest.warns(OtherModelWarning, match="has changed"):
            assert find(getattr(first, part)) is find(getattr(second, part))
    with pytest.raises(ConfigError, match="own.py has changed since this was started"):
        load_again(kept)
    load_again(loaded_files())
    Path("own.py").write_text("from pyro_mfcvae.guides import VadeGuide\n")
    load_guide_file("own.py:VadeGuide")
    assert "Sharp" not in GUIDES
    Path("own.py").write_text(OWN)
    load_guide_file("own.py:Sharp")
    assert "VadeGuide" not in GUIDES


def test_an_edit_of_the_same_length_and_time_is_seen():
    load_model_file("own.py:Own")
    stat = Path("own.py").stat()
    Path("own.py").write_text(OWN.replace("torch.zeros(1)", "torch.ones( 1)"))
    os.utime("own.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    model = build_model(_given(guide="vade").model, ObservationSpec((4,)))
    assert model.shift.item() == 1
    assert not Path("__pycache__").exists()


def _load_own_and_a_copy() -> None:
    """Two files with the same bytes."""
    shutil.copy("own.py", "copy.py")
    for file in ("own.py", "copy.py"):
        load_guide_file(f"{file}:Sharp")


def test_a_copy_stays_when_the_other_file_changes():
    _load_own_and_a_copy()
    copied = GUIDES["Sharp"]
    _edit(("class Sharp", "class Keen"), ("(Sharp", "(Keen"), ('"mine"', '"ours"'))
    load_guide_file("own.py:Keen")
    assert GUIDES["Sharp"] is copied
    assert {"mine", "ours"} <= GUIDES.keys()
    assert [Path(text).name for _, text in loaded_files()] == ["copy.py:Sharp", "own.py:Keen"]
    _edit()  # what it registers is the copy's by now
    with pytest.raises(ConfigError, match="guide 'mine'"):
        load_guide_file("own.py:Sharp")
    assert GUIDES["Sharp"] is copied
    assert "ours" in GUIDES
    Path("copy.py").write_text("from pyro_mfcvae.guides import VadeGuide\n")
    load_guide_file("copy.py:VadeGuide")
    assert not {"Sharp", "mine"} & GUIDES.keys()


def test_a_copy_that_is_gone_does_not_stay():
    _load_own_and_a_copy()
    Path("own.py").unlink()
    _edit(("class Sharp", "class Keen"), ("(Sharp", "(Keen"), file="copy.py")
    load_guide_file("copy.py:Keen")
    assert "Sharp" not in GUIDES
    assert "mine" in GUIDES
    assert [Path(text).name for _, text in loaded_files()] == ["copy.py:Keen"]


BROKEN = {
    "raises.py": OWN.replace('"mine"', '"new"') + "\nx = {}\nx['no such key']\n",
    "syntax.py": OWN + "\ndef f(:\n",
    "exits.py": OWN.replace('"mine"', '"new"') + "\nraise SystemExit(3)\n",
    "beside.py": "import own\n",
    "taken.py": OWN.replace('"mine"', '"enumerate"'),
    "as_vade.py": "from pyro_mfcvae.models import MODELS\nMODELS['vade'] = MODELS['mfcvae']\n",
    "abstract.py": "from pyro_mfcvae.models import FacetModel\nclass Own(FacetModel): pass\n",
    "narrow.py": OWN.replace("*args, **kwargs):", "observation, facets):")
    .replace("*args, **kwargs", "observation, facets")
    .replace('"mine"', '"new"'),
    "empty.py": "",
    "number.py": "Own = 3\n",
    "elsewhere.py": OWN.replace('"mine"', '"new"'),
}


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("model", "nowhere.py:Own", r"nowhere\.py: there is no such file"),
        ("model", "folder.py:Own", r"folder\.py cannot be read: Is a directory"),
        ("model", "own.py", r"path/to/file\.py:Name .*got 'own\.py'"),
        ("model", "own.py:", "got 'own.py:'"),
        ("guide", "own.py:no name", "guide .*got 'own.py:no name'"),
        ("model", "own.txt:Own", r"own\.txt cannot be imported"),
        ("model", "not/a/module:Own", "got 'not/a/module:Own'"),
        ("model", "own.py:Other", r"own\.py has no Other; its models are Own, Second$"),
        ("guide", "own.py:Other", r"no Other; its guides are Mine, Sharp, NoBound, Needy, enumer"),
        ("model", "empty.py:Own", r"empty\.py has no Own; it has no subclass of FacetModel$"),
        ("model", "own.py:Mine", r"Mine of .*own\.py must be a subclass of FacetModel, got <class"),
        ("guide", "own.py:Own", r"Own of .*own\.py must be a subclass of Guide, got <class"),
        ("model", "number.py:Own", r"must be a subclass of FacetModel, got 3"),
        ("model", "abstract.py:Own", r"Own of .*abstract\.py must define model$"),
        ("guide", "own.py:NoBound", r"NoBound of .*own\.py must define over_samples$"),
        ("model", "narrow.py:Own", r"made of observation, facets, likelihood, encoder, decoder"),
        ("guide", "own.py:Needy", r"Needy of .*own\.py must be made of model, .*sharp"),
        ("model", "raises.py:Own", r"raises\.py cannot be imported: KeyError: 'no such key'$"),
        ("model", "syntax.py:Own", r"syntax\.py cannot be imported: SyntaxError: .*line \d+\)$"),
        ("model", "exits.py:Own", r"exits\.py cannot be imported: SystemExit: 3$"),
        ("model", "beside.py:Own", r"cannot be imported: ModuleNotFoundError: No module named 'o"),
        ("model", "taken.py:Own", "guide 'enumerate'"),
        ("model", "as_vade.py:MFCVAE", "model 'vade'"),
        ("guide", "own.py:enumerate", "guide 'enumerate'"),
        ("guide", "elsewhere.py:Sharp", "guide 'Sharp'"),
    ],
)
def test_what_cannot_be_loaded_leaves_nothing_behind(kind, text, message):
    Path("folder.py").mkdir()
    for name, content in BROKEN.items():
        Path(name).write_text(content)
    load_guide_file("own.py:Sharp")
    before = [dict(table) for table in [*Registry.all, files._LOADED]]
    modules, path = {name for name in sys.modules if name.startswith(files._PREFIX)}, [*sys.path]
    with pytest.raises(ConfigError, match=message):
        _LOAD[kind](text)
    assert [dict(table) for table in [*Registry.all, files._LOADED]] == before
    assert {name for name in sys.modules if name.startswith(files._PREFIX)} == modules
    assert sys.path == path


def test_a_failed_edit_leaves_what_was_loaded():
    config = _given()
    kinds = model_class(config.model), guide_class(config.guide), GUIDES["mine"]
    Path("own.py").write_text(OWN + "\nraise ValueError('half way')\n")
    with pytest.raises(ConfigError, match="ValueError: half way"):
        load_model_file("own.py:Own")
    assert (model_class(config.model), guide_class(config.guide), GUIDES["mine"]) == kinds
    assert sys.modules[kinds[0].__module__].Own is kinds[0]


def test_a_package_is_named_as_python_names_it(monkeypatch):
    """With relative imports, which a file alone cannot have."""
    Path("site/lab").mkdir(parents=True)
    Path("site/lab/__init__.py").touch()
    Path("site/lab/base.py").write_text(OWN)
    Path("site/lab/mine.py").write_text("from .base import *\nfrom .base import Own as Shifted\n")
    monkeypatch.syspath_prepend("site")
    given = ("--model", "lab.mine:Shifted", "--guide", "lab.base:Sharp")
    try:
        result = mfcvae("train", *TINY, *given, "--out", "run")
        assert result.exit_code == 0, result.output
        config = Run("run").config
        assert (config.model.name, config.model.source.path) == ("Shifted", "lab.mine")
        assert config.guide.source.sha256 == sha256("site/lab/base.py")
        assert mfcvae("evaluate", "run", *given).exit_code == 0
        load_again(loaded_files())
        forget_all()
        with pytest.raises(RunError, match="--model lab.mine:Shifted"):
            Run("run").model()
        assert "lab.other cannot be imported" in mfcvae("train", "--guide", "lab.other:No").output
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "lab"]:
            del sys.modules[name]
            take_back(name)


def test_what_a_file_registers_is_known_by_name():
    Path("parts.py").write_text(
        "from pyro_mfcvae.data import Dataset, register_dataset\n"
        "from pyro_mfcvae.models import MODELS, register_model\n"
        "import torch\n"
        "@register_dataset('points')\n"
        "def points(n: int = 6) -> Dataset:\n"
        "    return Dataset('points', torch.rand(n, 4), range(4), range(4, n))\n"
        "@register_model('plain')\n"
        "class Plain(MODELS['mfcvae']):\n"
        "    pass\n"
    )
    load_model_file("parts.py:Plain")
    assert len(load_dataset(data_settings("points")).x) == 6
    config = with_model(tiny_settings(), "plain")
    assert (config.model.name, config.model.source) == ("plain", None)
    assert type(build_model(config.model, ObservationSpec((4,)))).__name__ == "Plain"


def test_a_guide_of_a_file_that_was_not_trained_is_named_with_it():
    load_guide_file("own.py:Sharp")
    _, left_out = fitting_guides(small_model(), ["Sharp", "vade"], "enumerate")
    assert left_out.keys() == {"Sharp"}
    assert "--guide path/to/own.py:Sharp" in left_out["Sharp"]


@pytest.mark.parametrize("kind", ["model", "guide"])
def test_unknown_names(kind):
    result = mfcvae("train", *TINY, f"--{kind}", "oracle")
    assert result.exit_code == 2
    told = rf"unknown {kind} 'oracle'; choose one of .*--{kind} FILE\.py:Name"
    assert re.search(told, " ".join(result.output.split()))
    result = mfcvae("train", *TINY, "--set", f"{kind}.name=own.py:Own")
    assert result.exit_code == 2
    assert f"--{kind} FILE.py:Name" in " ".join(result.output.split())
    source = json.dumps({"path": "own.py", "sha256": "123"})
    with pytest.raises(ConfigError, match="source.sha256"):
        override(tiny_settings(), [f"{kind}.source={source}"])


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        (GUIDE, "guide.name", "vade"),
        (GUIDE, "guide", "{}"),
        (("--guide", "vade"), "guide.source", "null"),
        (MODEL, "model.name", "gmvae"),
    ],
)
def test_each_is_given_once(given, path, value):
    result = mfcvae("train", *TINY, *given, "--set", f"{path}={value}", "--out", "run")
    assert result.exit_code == 2
    assert f"set by {path}" in " ".join(result.output.split())
    assert not Path("run").exists()


def test_another_name_leaves_the_file_behind():
    own = _given()
    assert override(own, ["guide.name=Sharp", "model.name=Own", "seed=0"]) == own
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
    own = run_folder(Path(), _given())
    assert own != run_folder(Path(), config)
    Path("other").mkdir()
    shutil.move("own.py", "other/own.py")
    assert run_folder(Path(), _given("other/own.py:Own", "other/own.py:Sharp")) == own


def test_a_registered_model_is_named_without_a_file():
    one_step = ("--set", "training.epochs_per_step=[1]", "--set", "training.n_fade_in_batches=0")
    given = (*TINY[:-2], "--facets", "2:3", "--model", "vade", *one_step)
    result = mfcvae("train", *given, "--out", "vade")
    assert result.exit_code == 0, result.output
    settings = Run("vade").config.model
    assert (settings.name, settings.source) == ("vade", None)
    assert settings.likelihood == get_preset("shapes").config.model.likelihood


def test_a_report_names_the_files_of_its_runs(run):
    _edit(
        ('"mine"', '"other"'), ("class Sharp", "class Keen"), ("(Sharp", "(Keen"), file="other.py"
    )
    other, _, _ = train(_given("other.py:Second", "vade"), "second")
    forget_all()
    assert "this run's model is Second of other.py" in mfcvae("report", "second").output
    assert other.evaluation() is None
    result = mfcvae("report", "run", "second", *BOTH, "--model", "other.py:Second")
    assert result.exit_code == 0, result.output
    assert "could not be" not in result.output
    assert other.evaluation().facets
    mfcvae("report", "run")
    page = (run.path / "report.html").read_text()
    assert "run --model path/to/own.py:Own --guide path/to/own.py:Sharp" in page
    assert "from pyro_mfcvae import Run, load_model_file, load_guide_file" in page
    assert "load_guide_file(&#39;path/to/own.py:Sharp&#39;)" in page
    assert "load_model_file(&#39;path/to/own.py:Own&#39;)" in page


def test_a_sweep_of_one_s_own_model_and_guides():
    spec = write_sweep(seeds=1, grid={"guide.name": ["Sharp", "mine", "enumerate"]})
    result = mfcvae("sweep", "sweep.json", *BOTH, "--out", "swept")
    assert result.exit_code == 0, result.output
    trials = json.loads(Path("swept/sweep.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["finished"] * 3, trials
    configs = [Run(path.parent).config for path in Path("swept/runs").glob("*/config.json")]
    assert {config.model.source.sha256 for config in configs} == {sha256("own.py")}
    sources = {c.guide.name: c.guide.source and c.guide.source.sha256 for c in configs}
    assert sources == {"Sharp": sha256("own.py"), "mine": None, "enumerate": None}
    Path("elsewhere").mkdir()
    shutil.copy("own.py", "elsewhere")
    moved = [word.replace("own.py", "elsewhere/own.py") for word in BOTH]
    again = mfcvae("sweep", "sweep.json", *moved, "--out", "swept")
    assert again.exit_code == 0, again.output
    assert len(list(Path("swept/runs").glob("*/config.json"))) == 3  # the same, wherever it lies
    assert _n_imports() == 1
    for kind, name, given in (("model", "mfcvae", MODEL), ("guide", "vade", GUIDE)):
        twice = {**spec, "set": {**spec["set"], f"{kind}.name": name}, "grid": {}}
        Path("sweep.json").write_text(json.dumps(twice))
        result = mfcvae("sweep", "sweep.json", *given, "--out", "swept")
        assert result.exit_code == 2
        assert f"set by {kind}.name" in result.output


@pytest.mark.slow
def test_started_processes_know_the_file():
    """The trials of a sweep, and the devices of a run."""
    write_sweep(seeds=2)
    command = [sys.executable, "-m", "pyro_mfcvae"]
    started = [
        ["sweep", "sweep.json", "--jobs", "2", *BOTH, "--out", "swept"],
        ["train", *TINY, *MODEL, "--guide", "mine", "--devices", "2", "--out", "shared"],
        ["train", *TINY, *MODEL, "--guide", "mine", "--out", "single"],
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for arguments in started:
        done = subprocess.run(
            [*command, *arguments], env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    trials = json.loads(Path("swept/sweep.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["finished"] * 2, trials
    load_model_file("own.py:Own")
    shared, single = (Run(name).model().state_dict() for name in ("shared", "single"))
    for name, value in single.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-4, atol=1e-5)
