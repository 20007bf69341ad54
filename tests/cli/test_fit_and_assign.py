"""From a table or a folder of pictures to clusters of its rows, and of new ones."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from click.shell_completion import ShellComplete
from command_line import mfcvae
from PIL import Image

from pyro_mfcvae.cli import main
from pyro_mfcvae.evaluation import predict
from pyro_mfcvae.runs import assign
from pyro_mfcvae.runs.run import Run

QUICK = ["--set", "training.epochs_per_step=[2]", "--set", "training.device=cpu"]
pytestmark = pytest.mark.filterwarnings("ignore::pyro_mfcvae.errors.DataWarning")

FEATURES = ["length", "mass", "age"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fit")


@pytest.fixture(autouse=True)
def _own_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


@pytest.fixture(scope="module")
def table(folder):
    rng = np.random.default_rng(0)
    kind = rng.integers(2, size=60)
    x = 1000 * kind[:, None] + rng.normal(size=(60, 3)) * [1, 100, 10] + [5, 4000, 50]
    found = pd.DataFrame(x, columns=FEATURES)
    found.insert(1, "kind", np.array(["a", "b"])[kind])
    found.insert(0, "id", [f"row\x1b{i}" for i in range(60)])
    found.to_csv(folder / "mine.csv", index=False)
    return found


@pytest.fixture(scope="module")
def run(table, folder):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        words = ["fit", "mine.csv", "--facets", "3,2", "--out", "run", *QUICK]
        result = mfcvae(*words)
    for name in ("assign.csv", "report.html", "figures"):
        assert f"run/{name}" in result.output
        assert (folder / "run" / name).exists()
    return folder / "run"


def read(path):
    return pd.read_csv(path if isinstance(path, Path) else io.StringIO(path))


def test_every_row_has_its_cluster_under_its_name(run, table):
    found = read(run / "assign.csv")
    assert list(found) == ["row", "facet_0", "facet_0_p", "facet_1", "facet_1_p"]
    assert found["row"][7] == r"row\x1b7"
    expected = predict(Run(run).model(), table[FEATURES])
    for j in (0, 1):
        assert (found[f"facet_{j}"] == expected.clusters[j]).all()
        p = expected.responsibilities[j].max(1)
        np.testing.assert_allclose(found[f"facet_{j}_p"], p, atol=1e-6)
    assert Run(run).config.model.likelihood.name == "columns"


def test_names_that_spreadsheets_take_for_formulas_are_text(run, table):
    names = ["=1+1", "+A1", "-A1", "@sum", " =1", "plain", "a=b", "ä", "-", "x"]
    table.assign(id=[*names, *table["id"][10:]]).to_csv("formulas.csv", index=False)
    found = read(mfcvae("assign", run, "formulas.csv").stdout)["row"]
    assert list(found[:8]) == ["'=1+1", "'+A1", "'-A1", "'@sum", "' =1", "plain", "a=b", "ä"]
    as_json = mfcvae("assign", run, "formulas.csv", "--json").stdout.splitlines()
    assert json.loads(as_json[0])["row"] == "=1+1"


def test_the_same_rows_in_any_format_and_order(run, table):
    expected = read(run / "assign.csv")
    clusters = expected.drop(columns="row")
    table[[*FEATURES[::-1], "kind"]].to_csv("turned.csv", index=False)
    table.to_parquet("mine.parquet")
    x = table[FEATURES].to_numpy()
    np.save("mine.npy", x)
    np.savez("named.npz", x=x[:, ::-1], feature_names=FEATURES[::-1])
    with h5py.File("mine.h5", "w") as file:
        file["x"] = x
    for name in ("turned.csv", "mine.parquet", "mine.npy", "named.npz", "mine.h5"):
        result = mfcvae("assign", run, name)
        pd.testing.assert_frame_equal(read(result.stdout).drop(columns="row"), clusters)
        assert ("by their names" in result.stderr) == (name in ("turned.csv", "named.npz"))
    mfcvae("assign", run, "mine.npy", "-o", "out.parquet", "-q")
    pd.testing.assert_frame_equal(pd.read_parquet("out.parquet").drop(columns="row"), clusters)


def test_a_single_row_as_json(run, table):
    table.iloc[3:4].to_csv("one.csv", index=False)
    (line,) = mfcvae("assign", run, "one.csv", "--json").stdout.splitlines()
    expected = read(run / "assign.csv").iloc[3]
    assert json.loads(line)["facet_0"] == expected["facet_0"]
    told = mfcvae("assign", run, "one.csv", "-o", "one.jsonl", "--json").stdout
    assert sum(json.loads(told)["sizes"]["facet_1"]) == 1
    assert Path("one.jsonl").read_text() == f"{line}\n"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.drop(columns="mass"), ["mass"]),
        (lambda t: t.rename(columns={"mass": "weight"}), ["mass", "weight"]),
        (lambda t: t.assign(mass=["x", *map(str, t["mass"][1:])]), ["mass", "'x'", "row 0"]),
        (lambda t: t.assign(mass=[np.inf, *t["mass"][1:]]), ["mass", "row 0"]),
        (lambda t: t.assign(mass=t["mass"] * 1e6), ["unit"]),
    ],
)
def test_other_columns_are_refused(run, table, change, words):
    change(table).to_csv("other.csv", index=False)
    result = mfcvae("assign", run, "other.csv", "-o", "never.csv", status=1)
    for word in [*words, "other.csv"]:
        assert word in result.stderr
    assert not Path("never.csv").exists()


def test_another_number_of_columns_without_names(run):
    np.save("narrow.npy", np.zeros((5, 2)))
    assert "(3,)" in mfcvae("assign", run, "narrow.npy", status=1).stderr


def test_results_replace_no_data(run, table):
    before = Path("mine.csv").read_bytes()
    assert "mine.csv" in mfcvae("assign", run, "mine.csv", "-o", "mine.csv", status=2).stderr
    assert Path("mine.csv").read_bytes() == before
    assert ".parquet" in mfcvae("assign", run, "mine.csv", "-o", "out.xlsx", status=2).stderr


def test_names_of_columns_go_with_an_export(run):
    mfcvae("export", run, "copy")
    assert Run("copy").feature_names() == tuple(FEATURES)


def test_pictures_are_copied_by_their_clusters(monkeypatch):
    rng = np.random.default_rng(0)
    for i in range(24):
        file = Path(f"photos/{i % 2}/{i}.png")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(256, size=(9, 8, 3), dtype=np.uint8)).save(file)
    size = ["--set", "data.options.size=8"]
    mfcvae("fit", "photos", "--facets", "2,1", "--out", "pictures", "-q", *size, *QUICK)
    Path("new").mkdir()
    for name in ("1.png", "3.png"):
        (Path("new") / name).write_bytes((Path("photos/1") / name).read_bytes())
    Image.fromarray(rng.integers(256, size=(30, 30), dtype=np.uint8)).save("new/grey.png")
    result = mfcvae("assign", "pictures", "new", "--copy-to", "sorted")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert list(rows[0]) == ["row", "facet_0", "facet_0_p"]  # the other one has no clusters
    copies = {file.name: file for file in Path("sorted").rglob("*.png")}
    for row in rows:
        copy = copies.pop(row["row"])
        assert copy == Path("sorted/facet_0", f"cluster_{row['facet_0']}", row["row"])
        assert copy.read_bytes() == (Path("new") / row["row"]).read_bytes()
    assert copies == {}
    assert len(list(Path("new").iterdir())) == 3
    (Path("new") / "a.png").write_bytes(b"no picture")
    assert "a.png" in mfcvae("assign", "pictures", "new", status=1).stderr
    assert mfcvae("assign", "pictures", "new", "--skip-broken").stdout == result.stdout
    with monkeypatch.context() as patch:
        in_small_pieces(patch)
        assert mfcvae("assign", "pictures", "new", "--skip-broken").stdout == result.stdout
    (Path("new") / "a.png").unlink()
    again = mfcvae("assign", "pictures", "new", "--copy-to", "sorted", status=2)
    assert "sorted" in again.stderr
    inside = mfcvae("assign", "pictures", "new", "--copy-to", "new/sorted", status=2)
    assert "new/sorted" in inside.stderr


def test_commands_that_read_folders_leave_broken_pictures_out():
    for i in range(12):
        Path("some").mkdir(exist_ok=True)
        picture = np.random.default_rng(i).integers(256, size=(8, 8), dtype=np.uint8)
        Image.fromarray(picture).save(f"some/{i}.png")
    Path("some/half.png").write_bytes(Path("some/0.png").read_bytes()[:50])
    assert "half.png" in mfcvae("inspect", "some", status=1).stderr
    assert "half.png" in mfcvae("inspect", "some", "--skip-broken").stdout
    quick = ["--set", "training.epochs_per_step=[1]", "--facets"]
    mfcvae("train", "--data", "some", "--skip-broken", *quick, "2:2", "--out", "trained")
    assert Run("trained").config.data.options["skip_broken"]
    mfcvae("fit", "some", "--skip-broken", "-q", *QUICK, "--facets", "2", "--out", "fitted")
    assert len(read(Path("fitted/assign.csv"))) == 12
    assert "skip_broken" in mfcvae("inspect", "mine.csv", "--skip-broken", status=1).output


def test_a_table_from_the_standard_input(run, table):
    text = table.to_csv(index=False)
    expected = mfcvae("assign", run, "mine.csv")
    for separator in (",", "\t", ";"):
        piped = table.to_csv(index=False, sep=separator)
        result = mfcvae("assign", run, "-", "-o", "-", piped=piped)
        assert result.stdout == expected.stdout
    found, known = (
        json.loads(mfcvae("inspect", data, "--json", piped=text).stdout)["columns"]
        for data in ("-", "mine.csv")
    )
    assert found == known
    mfcvae("fit", "-", "--facets", "3,2", "--out", "piped", "-q", *QUICK, piped=text)
    assert (Path("piped/assign.csv")).read_bytes() == (run / "assign.csv").read_bytes()
    assert not Path(Run("piped").config.data.options["path"]).is_relative_to(Path.cwd())


@pytest.mark.parametrize("piped", [b"", b" \n", b"PK\x03\x04\x00\x00", b"\x89HDF\r\n\x1a\n\x00"])
def test_other_data_do_not_come_from_a_pipe(piped):
    assert "standard input: " in mfcvae("inspect", "-", piped=piped, status=1).stderr


def test_pieces_make_up_the_whole(run, table, monkeypatch):
    table[[*FEATURES[::-1], "id"]].to_csv("pieces.csv", sep=";", index=False)
    table.set_index("id").to_parquet("pieces.parquet")
    table.to_csv("pieces.tsv", sep="\t", index=False)
    np.save("pieces.npy", table[FEATURES].to_numpy())
    names = [f"pieces.{suffix}" for suffix in ("csv", "parquet", "tsv", "npy")]
    whole = [read(mfcvae("assign", run, name).stdout) for name in names]
    in_small_pieces(monkeypatch)
    pieces = [mfcvae("assign", run, name) for name in names]
    assert len(whole[0]) == 60
    for one, other in zip(pieces, whole, strict=True):
        pd.testing.assert_frame_equal(read(one.stdout), other, rtol=0, atol=2e-6)  # of 6 digits
    assert whole[0].equals(whole[1])
    assert pieces[0].stderr.count("by their names") == 1


def in_small_pieces(monkeypatch):
    monkeypatch.setattr(assign, "_MOST_ROWS", 7)
    monkeypatch.setattr("pyro_mfcvae.data.tables._CELLS", 50)
    monkeypatch.setattr("pyro_mfcvae.data.folder._PIECE", 500)
    monkeypatch.setattr("pyro_mfcvae.data.rows._KEPT", 100)


@pytest.mark.parametrize("value", ["x", np.inf])
def test_what_is_wrong_far_down_is_told_with_its_row(run, table, value, monkeypatch):
    in_small_pieces(monkeypatch)
    masses = [*map(str, table["mass"][:57]), str(value), *map(str, table["mass"][58:])]
    table.assign(mass=masses).to_csv("late.csv", index=False)
    result = mfcvae("assign", run, "late.csv", status=1)
    assert all(word in result.stderr for word in ("late.csv", "'mass'", "row 57"))
    assert result.stdout == ""


def test_tables_as_json_and_nothing_at_all(run):
    few = ["--guides", "vade", "--samples", "1", "--n-draws", "2", "--n-observations", "5"]
    for name, more, file in (("evaluate", [], "evaluation"), ("compare", few, "comparison")):
        printed = json.loads(mfcvae(name, run, *more, "--json").stdout)
        assert printed == json.loads((run / f"{file}.json").read_text())
        assert mfcvae(name, run, *more, "-q").output == ""
    columns = json.loads(mfcvae("inspect", "mine.csv", "--json").stdout)["columns"]
    assert {each["name"]: each["use"] for each in columns}["kind"] == "label"
    assert mfcvae("inspect", "mine.csv", "-q").output == ""


def test_lists_as_json_and_names_alone():
    presets = json.loads(mfcvae("presets", "--json").stdout)
    assert mfcvae("presets", "-q").stdout.splitlines() == list(presets)
    parts = json.loads(mfcvae("parts", "--json").stdout)
    assert "vade" in parts["guide"]
    assert mfcvae("parts", "guide", "-q").stdout.splitlines() == list(parts["guide"])


def test_settings_of_an_earlier_run(run):
    mfcvae("train", "--config", run, "--seed", "7", "--out", "again")
    first, second = Run(run).config, Run("again").config
    assert (second.seed, second.model) == (7, first.model)
    mfcvae("train", "--config", run / "config.json", "--out", "same")
    assert Run("same").config == first
    assert "--config" in mfcvae("train", "mnist", "--config", run, status=2).stderr


@pytest.mark.parametrize(
    ("words", "incomplete", "found"),
    [
        (["train"], "mnist-f", "mnist-fast"),
        (["train", "--model"], "gm", "gmvae"),
        (["train", "--guide"], "enum", "enumerate"),
        (["train", "--data"], "shapes3", "shapes3d"),
        (["evaluate"], "runs/m", "runs/mine-001"),
        (["assign", "runs/mine-001"], "celeb", "celeba"),
        (["presets"], "vla", "vlac"),
    ],
)
def test_a_shell_completes_names_and_runs(words, incomplete, found):
    Path("runs/mine-001").mkdir(parents=True, exist_ok=True)
    Path("runs/mine-001/config.json").touch()
    completion = ShellComplete(main, {}, "mfcvae", "_MFCVAE_COMPLETE")
    items = completion.get_completions(words, incomplete)
    assert any(item.value.startswith(found) for item in items)
    assert all(item.value.startswith(incomplete) for item in items)
