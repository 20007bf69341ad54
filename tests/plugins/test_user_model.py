"""Models of one's own: files that are imported where a person names them, and nowhere else."""

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
from own_files import TINY, mfcvae, nothing_loaded, sha256, tiny_settings, write_data, write_sweep

from pyro_mfcvae.config import config_from_json, config_to_json, override
from pyro_mfcvae.config.observation import ObservationSpec
from pyro_mfcvae.data import data_settings, load_dataset
from pyro_mfcvae.errors import ConfigError, OtherModelWarning, RunError
from pyro_mfcvae.models import MODELS, build_model
from pyro_mfcvae.models.registry import model_class
from pyro_mfcvae.plugins import files as own_code
from pyro_mfcvae.plugins import user
from pyro_mfcvae.plugins.files import loaded_files
from pyro_mfcvae.plugins.user import load_again, load_model_file, with_model
from pyro_mfcvae.presets import get_preset
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.runs.train import train

OWN = '''
from pathlib import Path

import torch

from pyro_mfcvae import MFCVAE
from pyro_mfcvae.guides import GUIDES, register_guide

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
    """Counts its calls."""

    n_calls = 0

    def forward(self, x, seen=None):
        Mine.n_calls += 1
        super().forward(x, seen)
'''
MODEL = ("--model", "own.py:Own")
PLAIN = pytest.mark.filterwarnings("default::pyro_mfcvae.errors.OtherModelWarning")


def _write(folder: Path) -> None:
    (folder / "own.py").write_text(OWN)
    write_data(folder)


@pytest.fixture(autouse=True)
def _new_process(tmp_path, monkeypatch):
    """A folder of one's own, and nothing loaded, as when a process starts."""
    monkeypatch.chdir(tmp_path)
    _write(tmp_path)
    with nothing_loaded():
        yield


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run of the file, trained by the command line in a process of its own."""
    folder = tmp_path_factory.mktemp("trained")
    _write(folder)
    command = [sys.executable, "-m", "pyro_mfcvae", "train", *TINY, *MODEL, "--guide", "mine"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, "--out", "run"], cwd=folder, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "imported.txt").read_text() == "once\n"
    return folder


@pytest.fixture
def run(trained, tmp_path):
    """That run; its recorded file is elsewhere, and must not be what is imported."""
    shutil.copytree(trained / "run", tmp_path / "run")
    return Run(tmp_path / "run")


def _config(text: str | None = None):
    config = tiny_settings()
    return config if text is None else with_model(config, text)


def test_a_run_records_its_file(run, trained):
    settings = run.config.model
    assert (settings.name, settings.source.file) == ("Own", "own.py")
    assert settings.source.path == str(trained / "own.py")
    assert settings.source.sha256 == sha256("own.py")
    assert config_from_json(config_to_json(run.config)) == run.config
    assert run.config.guide.name == "mine"
    assert load_model_file("own.py:Own").sha256 == settings.source.sha256
    model = run.model()
    assert type(model).__name__ == "Own"
    assert model.shift.item() != 0
    with torch.no_grad():
        model(torch.zeros(3, 4), guide="mine")
    assert type(model.guide("mine")).n_calls == 1


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
    assert re.search(
        rf"this run's model is Own of own\.py \(sha256 {sha256('own.py')[:8]}…\); nothing is "
        r"executed that a run folder names: pass --model path/to/own\.py:Own",
        " ".join(result.output.split()),
    )
    assert not Path("imported.txt").exists()
    assert not Path("copy").exists()


def test_commands_on_a_run_take_the_file(run, monkeypatch):
    measured = run.evaluation()
    assert measured["facets"][0]["factors"].keys() == {"kind"}
    result = mfcvae("evaluate", "run", *MODEL)
    assert result.exit_code == 0, result.output
    assert run.evaluation() == measured
    opened = "pyro_mfcvae.drawing.draw_run"  # what it draws, the training has drawn already
    monkeypatch.setattr(opened, lambda run, *_: [type(run.model()).__name__])
    assert mfcvae("figures", "run", *MODEL).output == "Own\n"
    few = ("--samples", "2", "--n-draws", "2", "--n-observations", "4")
    result = mfcvae("compare", "run", *MODEL, "--guides", "mine,vade", *few)
    assert result.exit_code == 0, result.output
    rows = {row["guide"]: row for row in run.comparison()["guides"]}
    assert rows["mine"]["elbo"] == rows["vade"]["elbo"]
    result = mfcvae("intervene", "generate", "run", *MODEL, "--arrays", "drawn.npz")
    assert result.exit_code == 0, result.output
    result = mfcvae("train", "--resume", "run", *MODEL)
    assert "run is finished" in result.output


def test_a_copy_keeps_the_name_of_the_file_alone(run, trained):
    result = mfcvae("export", "run", "copy", *MODEL)
    assert result.exit_code == 0, result.output
    copy = Run("copy")
    assert copy.config.model.source.path == "own.py"
    assert copy.config.model.source.sha256 == sha256("own.py")
    assert str(trained) not in (copy.path / "config.json").read_text()
    assert torch.equal(copy.model().shift, run.model().shift)


def test_an_interrupted_run_goes_on_bit_for_bit():
    config = _config("own.py:Own")
    whole, _, _ = train(config, "whole")
    halted, _, _ = train(config, "halted", [StopAt(4)])
    before = (halted.path / "config.json").read_bytes()
    assert halted.step() == 4
    result = mfcvae("train", "--resume", "halted", *MODEL)
    assert result.exit_code == 0, result.output
    states = [run.model().state_dict() for run in (whole, halted)]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert (halted.path / "config.json").read_bytes() == before
    named = mfcvae("train", "--resume", "halted", "--model", "vade")
    assert named.exit_code == 2
    assert "expected a Python file and the name of a model in it" in named.output


def test_an_interrupted_command_says_how_to_go_on(monkeypatch):
    from pyro_mfcvae.runs import train as experiment

    take_steps = experiment.take_steps
    stop = StopAt(2)
    monkeypatch.setattr(
        experiment, "take_steps", lambda state, own: take_steps(state, [*own, stop])
    )
    result = mfcvae("train", *TINY, "--out", "halted", *MODEL)
    assert result.exit_code == 130, result.output
    assert "mfcvae train --resume halted --model own.py:Own" in result.output


@PLAIN
def test_another_file_is_used_with_a_warning(run):
    Path("own.py").write_text(OWN + "\n# changed\n")
    result = mfcvae("evaluate", "run", *MODEL)
    assert result.exit_code == 0, result.output
    told = re.findall(r"warning: .*", result.output)
    recorded = run.config.model.source.sha256[:8]
    assert told == [
        f"warning: this run's model is Own of own.py (sha256 {recorded}…), but the given file is "
        f"another one or has changed (sha256 {sha256('own.py')[:8]}…); it is used"
    ]
    Path("own.py").write_text(OWN.replace("zeros(1)", "zeros(2)"))
    result = mfcvae("evaluate", "run", *MODEL)
    assert result.exit_code == 1
    assert "does not fit config.json" in result.output


def test_models_of_one_name_are_told_apart():
    for folder in ("one", "two", "three"):
        Path(folder).mkdir()
        text = OWN.replace('"mine"', f'"{folder}"').replace("another", folder)
        Path(folder, "own.py").write_text(f"# {folder}\n{text}")
    configs = [_config(f"{folder}/own.py:Own") for folder in ("one", "two")]
    classes = [model_class(config.model) for config in configs]
    assert classes[0] is not classes[1]
    for kind, folder in zip(classes, ("one", "two"), strict=True):
        assert Path(sys.modules[kind.__module__].__file__) == Path(folder, "own.py").resolve()
    source = {"path": "own.py", "sha256": sha256("three/own.py")}
    third = override(_config(), [f"model.source={json.dumps(source)}", "model.name=Own"])
    with pytest.raises(ConfigError, match=r"none is that one \(sha256 .{8}…, sha256 .{8}…\)"):
        model_class(third.model)
    with pytest.raises(ConfigError, match=r"unknown model 'Own'; choose one of .*mfcvae"):
        build_model(override(_config(), ["model.name=Own"]).model, ObservationSpec((4,)))


def test_a_file_is_imported_once_until_it_changes():
    load_model_file("own.py:Own")
    first = _config("own.py:Own")
    load_model_file(f"{Path.cwd()}/../{Path.cwd().name}/own.py:Second")
    assert Path("imported.txt").read_text() == "once\n"
    kept, kind = loaded_files(), model_class(first.model)
    Path("own.py").write_text(OWN.replace('register_guide("mine")', 'register_guide("ours")'))
    second = _config("own.py:Own")
    assert Path("imported.txt").read_text() == "once\nonce\n"
    assert "ours" in user.GUIDES
    assert "mine" not in user.GUIDES
    assert model_class(second.model) is not kind
    with pytest.warns(OtherModelWarning, match="has changed"):
        assert model_class(first.model) is model_class(second.model)
    assert len(kept) == 2
    with pytest.raises(ConfigError, match="own.py has changed since this was started"):
        load_again(kept)
    load_again(loaded_files())


def test_an_edit_of_the_same_length_and_time_is_seen():
    load_model_file("own.py:Own")
    stat = Path("own.py").stat()
    Path("own.py").write_text(OWN.replace("torch.zeros(1)", "torch.ones( 1)"))
    os.utime("own.py", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    model = build_model(_config("own.py:Own").model, ObservationSpec((4,)))
    assert model.shift.item() == 1
    assert not Path("__pycache__").exists()


BROKEN = {
    "raises.py": OWN + "\nx = {}\nx['no such key']\n",
    "syntax.py": OWN + "\ndef f(:\n",
    "exits.py": OWN + "\nraise SystemExit(3)\n",
    "beside.py": "import own\n",
    "taken.py": OWN.replace('"mine"', '"enumerate"'),
    "as_vade.py": "from pyro_mfcvae.models import MODELS\nMODELS['vade'] = MODELS['mfcvae']\n",
    "abstract.py": "from pyro_mfcvae.models import FacetModel\nclass Own(FacetModel): pass\n",
    "narrow.py": OWN.replace("*args, **kwargs):", "observation, facets):").replace(
        "*args, **kwargs", "observation, facets"
    ),
    "empty.py": "",
    "number.py": "Own = 3\n",
}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.py:Own", r"nowhere\.py: there is no such file"),
        ("folder.py:Own", r"folder\.py cannot be read: Is a directory"),
        ("own.py", r"expected a Python file .* as path/to/file\.py:Name, got 'own\.py'"),
        ("own.py:", "got 'own.py:'"),
        ("own.txt:Own", "got 'own.txt:Own'"),
        ("own.py:no name", "got 'own.py:no name'"),
        ("own.py:Other", r"own\.py has no Other; its models are Own, Second$"),
        ("empty.py:Own", r"empty\.py has no Own; it has no subclass of FacetModel$"),
        ("own.py:Mine", r"Mine of .*own\.py must be a subclass of FacetModel, got <class .*Mine"),
        ("number.py:Own", r"must be a subclass of FacetModel, got 3"),
        ("abstract.py:Own", r"Own of .*abstract\.py must define model$"),
        ("narrow.py:Own", r"must be made of observation, facets, likelihood, encoder, decoder"),
        ("raises.py:Own", r"raises\.py cannot be imported: KeyError: 'no such key'$"),
        ("syntax.py:Own", r"syntax\.py cannot be imported: SyntaxError: .*line \d+\)$"),
        ("exits.py:Own", r"exits\.py cannot be imported: SystemExit: 3$"),
        ("beside.py:Own", r"cannot be imported: ModuleNotFoundError: No module named 'own'"),
        ("taken.py:Own", r"registers the guide 'enumerate', a name that is taken; choose another"),
        ("as_vade.py:MFCVAE", r"registers the model 'vade', a name that is taken"),
    ],
)
def test_what_cannot_be_loaded_leaves_nothing_behind(text, message):
    Path("folder.py").mkdir()
    for name, content in BROKEN.items():
        Path(name).write_text(content)
    tables = [dict(table) for table in user._REGISTRIES.values()]
    path = list(sys.path)
    with pytest.raises(ConfigError, match=message):
        load_model_file(text)
    assert [dict(table) for table in user._REGISTRIES.values()] == tables
    assert not [name for name in sys.modules if name.startswith(own_code._PREFIX)]
    assert sys.path == path
    assert not loaded_files()


def test_a_failed_edit_leaves_what_was_loaded():
    config = _config("own.py:Own")
    kind, guide = model_class(config.model), user.GUIDES["mine"]
    Path("own.py").write_text(OWN + "\nraise ValueError('half way')\n")
    with pytest.raises(ConfigError, match="ValueError: half way"):
        load_model_file("own.py:Own")
    assert model_class(config.model) is kind
    assert user.GUIDES["mine"] is guide
    assert sys.modules[kind.__module__].Own is kind


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
    config = with_model(_config(), "plain")
    assert (config.model.name, config.model.source) == ("plain", None)
    assert type(build_model(config.model, ObservationSpec((4,)))).__name__ == "Plain"


def test_registered_models_are_named_likewise():
    result = mfcvae(
        "train",
        *TINY[:-2],
        "--facets",
        "2:3",
        "--model",
        "vade",
        "--out",
        "vade",
        "--set",
        "training.epochs_per_step=[1]",
        "--set",
        "training.n_fade_in_batches=0",
    )
    assert result.exit_code == 0, result.output
    settings = Run("vade").config.model
    assert (settings.name, settings.source) == ("vade", None)
    assert settings.likelihood == get_preset("shapes").config.model.likelihood
    unknown = mfcvae("train", "--model", "gan")
    assert unknown.exit_code == 2
    assert "unknown model 'gan'; choose one of" in unknown.output
    assert "FILE.py:Name" in unknown.output
    with pytest.raises(ConfigError, match="source.sha256"):
        override(_config(), ['model.source={"path": "own.py", "sha256": "123"}'])
    back = with_model(_config("own.py:Own"), "mfcvae")
    assert back == _config()


def test_a_report_takes_the_files_of_its_runs(run, monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.drawing.draw_run", lambda *_: None)
    Path("other.py").write_text(OWN.replace('"mine"', '"other"'))
    other, _, _ = train(_config("other.py:Second"), "second")
    for name in [name for name in MODELS if "@" in name]:
        del MODELS[name]
    unmeasured = mfcvae("report", "second")
    assert "this run's model is Second of other.py" in unmeasured.output
    assert other.evaluation() is None
    result = mfcvae("report", "run", "second", *MODEL, "--model", "other.py:Second")
    assert result.exit_code == 0, result.output
    assert "could not be" not in result.output
    assert other.evaluation()["facets"]
    result = mfcvae("report", "second")
    page = (other.path / "report.html").read_text()
    assert "mfcvae evaluate second --model path/to/other.py:Second" in page
    assert "load_model_file(&#39;path/to/other.py:Second&#39;)" in page


def test_a_sweep_of_one_s_own_model():
    spec = write_sweep(seeds=1, grid={"guide.name": ["mine", "enumerate"]})
    result = mfcvae("sweep", "sweep.json", *MODEL, "--out", "swept")
    assert result.exit_code == 0, result.output
    trials = json.loads(Path("swept/sweep.json").read_text())["trials"]
    assert [trial["state"] for trial in trials] == ["finished"] * 2, trials
    runs = [Run(path.parent) for path in Path("swept/runs").glob("*/config.json")]
    assert [r.config.model.source.sha256 for r in runs] == [sha256("own.py")] * 2
    Path("elsewhere").mkdir()
    shutil.copy("own.py", "elsewhere")
    again = mfcvae("sweep", "sweep.json", "--model", "elsewhere/own.py:Own", "--out", "swept")
    assert again.exit_code == 0, again.output
    assert len(list(Path("swept/runs").glob("*/config.json"))) == 2  # the same, wherever it lies
    assert Path("imported.txt").read_text() == "once\n"
    spec["set"]["model.name"] = "mfcvae"
    Path("sweep.json").write_text(json.dumps(spec))
    twice = mfcvae("sweep", "sweep.json", *MODEL, "--out", "swept")
    assert twice.exit_code == 2
    assert "the model is given and set by model.name, too" in twice.output


@pytest.mark.slow
def test_started_processes_know_the_file():
    """The trials of a sweep, and the devices of a run."""
    write_sweep(seeds=2)
    command = [sys.executable, "-m", "pyro_mfcvae"]
    started = [
        ["sweep", "sweep.json", "--jobs", "2", *MODEL, "--guide", "own.py:Mine", "--out", "swept"],
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


def test_an_opened_run_says_which_file_it_wants(run):
    with pytest.raises(RunError, match="run cannot be opened: this run's model is Own of own.py"):
        run.model()
