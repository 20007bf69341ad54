"""A run to be looked around in: what the page shows, who is answered, and that browsers show it."""

from __future__ import annotations

import base64
import csv
import hashlib
import io
import json
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from browser import Browser, needs_browser
from click.testing import CliRunner
from models import tiny_config

from pyro_mfcvae.cli import main
from pyro_mfcvae.config import config_from_dict, config_to_dict, with_facets
from pyro_mfcvae.evaluation import cluster_means, swap_pairs, traverse
from pyro_mfcvae.explore import Explored, open_run, write_page
from pyro_mfcvae.explore import server as serving
from pyro_mfcvae.explore.sheets import show
from pyro_mfcvae.figures import get_figure
from pyro_mfcvae.runs import train as experiment

uvicorn = pytest.importorskip("uvicorn")

SHORT = {"training.epochs_per_step": "[1,1]", "training.n_fade_in_batches": "1"}
EVIL = "</script><script>document.title='hacked'</script>"
ALONE = {"training.epochs_per_step": "1", "training.mixture_learning_rate": "null"}
TOKEN = "a-token"


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Explored:
    """A tiny run on pictures with labels and two facets."""
    folder = tmp_path_factory.mktemp("pictures") / "tiny"
    return Explored(experiment.train(tiny_config(**SHORT), folder)[0])


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> Explored:
    """A tiny run on rows, whose columns, rows and classes have names that mean no good."""
    folder = tmp_path_factory.mktemp("rows")
    x = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    names = np.array([f"={i}{EVIL}" for i in range(60)])
    kinds = np.array([EVIL, "=good"])[np.arange(60) % 2]
    np.savez(
        folder / "mine.npz",
        x=x,
        kind=kinds,
        row_names=names,
        feature_names=[f"={EVIL}", "b", "row", "facet_0"],
    )
    values = config_to_dict(with_facets(tiny_config(**SHORT), "1:3,3:2"))
    data = {"name": "file", "options": {"path": str(folder / "mine.npz")}}
    values |= {"data": values["data"] | data, "preset": None}
    return Explored(experiment.train(config_from_dict(values), folder / "rows")[0])


@pytest.fixture(autouse=True)
def _nameless(pictures, rows):
    yield
    for explored in (pictures, rows):
        explored.run.names_path.unlink(missing_ok=True)


def _pixels(shown: dict, i: int) -> np.ndarray:
    """A tile of a sheet, from 0 to 1, (channels, height, width)."""
    from PIL import Image

    sheet = shown["sheet"]
    image = Image.open(io.BytesIO(base64.b64decode(sheet["source"].partition(",")[2])))
    width, height = sheet["width"], sheet["height"]
    left, top = i % sheet["columns"] * width, i // sheet["columns"] * height
    tile = image.convert("RGB").crop((left, top, left + width, top + height))
    return np.asarray(tile).transpose(2, 0, 1) / 255


def test_a_page_shows_what_the_figures_do(pictures):
    content, seen = pictures.content(), pictures.seen
    assert content["numbers"] == list(range(len(seen.x)))
    for j, facet in enumerate(content["facets"]):
        space = get_figure("latents").compute(seen, j)
        np.testing.assert_allclose(facet["map"]["points"], space.projection.points, rtol=1e-3)
        assert facet["cluster_of"] == space.clusters.tolist()
        sizes = [cluster["size"] for cluster in facet["clusters"]]
        assert sizes == sorted(sizes, reverse=True)
        assert sum(sizes) == len(seen.x)
        assert len(facet["means"]["sheet"]["source"]) > 100
        typical = [int(row) for cluster in facet["clusters"] for row in cluster["typical"]]
        expected = [seen.observed(np.array([row]))[0] for row in typical]
        for i in (0, len(typical) - 1):
            np.testing.assert_allclose(_pixels(facet["typical"], i), expected[i], atol=0.51 / 255)
    json.dumps(content, allow_nan=False)
    found = pictures.pairs(0, 1)
    means = cluster_means(seen.model, (0, 1), (found["rows"], found["columns"]))
    flat = means.reshape(-1, *means.shape[2:])
    np.testing.assert_allclose(_pixels(found["decoded"], 1), flat[1].clip(0, 1), atol=0.51 / 255)


def test_interventions_are_those_of_the_library(rows):
    seen, columns = rows.seen, rows.content()["columns"]
    moved = rows.traverse(3, 1)
    first = moved["dimensions"][0]
    x = seen.x[3:4]
    expected = traverse(seen.model, x, 1, first["dimension"], moved["offsets"])[0]
    np.testing.assert_allclose(first["decoded"]["values"], expected, rtol=1e-3)
    swapped = np.array(rows.swap(3, 5, 0)["decoded"]["values"])
    np.testing.assert_allclose(swapped[:2], seen.x[[3, 5]], rtol=1e-3)
    expected = swap_pairs(seen.model, x, seen.x[5:6], 0)[0]
    np.testing.assert_allclose(swapped[2:], expected, rtol=1e-3)
    assert len(columns) == 4
    assert show(seen, np.array([[0.12345, np.nan]]), [1, 0]) == {"values": [[None, 0.1235]]}
    for asked in (lambda: rows.traverse(99, 0), lambda: rows.swap(0, 99, 0)):
        with pytest.raises(ValueError, match="from 0 to 11"):
            asked()
    with pytest.raises(ValueError, match="facet from 0 to 1"):
        rows.pairs(0, 2)


def test_the_selection_as_csv(rows):
    rows.name_cluster(0, 0, "=A1")
    rows.name_cluster(0, 1, "b")
    rows.name_cluster(0, 2, "c")
    assert rows.content()["names"][0] == {0: "=A1", 1: "b", 2: "c"}
    found = list(csv.reader(io.StringIO(rows.table([4, 0]).decode())))
    assert found[0][:5] == ["row", "facet_0", "facet_0_p", "facet_1", "facet_1_p"]
    assert found[0][5:] == ["kind", f"'={EVIL}", "b", "row (data)", "facet_0 (data)"]
    number = int(rows.dataset.test[4])
    assert found[1][0] == f"'={number}{EVIL}"
    assert {row[1] for row in found[1:]} <= {"'=A1", "b", "c"}
    assert {row[5] for row in found[1:]} <= {EVIL, "'=good"}
    assert float(found[1][7]) == pytest.approx(float(rows.seen.x[4, 1]), rel=1e-6)
    with pytest.raises(ValueError, match="at least one"):
        rows.table([])


def _script_and_policy(page: str) -> tuple[str, str]:
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (policy,) = re.findall(r'Content-Security-Policy" content="(.*?)"', page)
    return script, policy


def test_one_file_that_loads_nothing(rows, tmp_path):
    path = write_page(rows.run.path, tmp_path / "page.html")
    page = path.read_text(encoding="ascii")
    script, policy = _script_and_policy(page)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}';" in policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert "connect-src" not in policy
    assert page.count("<script") == 2
    assert "<img" not in page.replace(script, "")
    assert not re.findall(r"(?:src|href)=\"(?!#|data:)", page)
    held = re.search(r'id="data">(.*?)</script>', page, re.DOTALL)[1]
    content = json.loads(held)
    assert content["rows"] == rows.content()["rows"]
    assert list(content["decoded_pairs"]) == ["0,1"]
    path.write_text("mine")
    with pytest.raises(ValueError, match="exists and is no report"):
        write_page(rows.run.path, path)


def test_many_rows_are_shown_in_part(rows, monkeypatch):
    monkeypatch.setattr("pyro_mfcvae.explore.opened._N_POINTS", 5)
    monkeypatch.setattr("pyro_mfcvae.explore.opened._N_KNOWN", 8)
    monkeypatch.setattr("pyro_mfcvae.explore.opened._N_COLUMNS", 2)
    few = Explored(rows.run)
    content = few.content()
    assert content["numbers"] == [0, 2, 5, 8, 11]
    assert len(content["rows"]) == len(content["facets"][0]["map"]["points"]) == 5
    assert sum(cluster["size"] for cluster in content["facets"][0]["clusters"]) == 8
    assert (len(content["columns"]), content["n_columns"]) == (2, 4)
    assert np.shape(few.traverse(11, 0)["dimensions"][0]["decoded"]["values"]) == (13, 2)


@contextmanager
def served(explored: Explored) -> Iterator[str]:
    """The address of the page, served by a thread."""
    settings = uvicorn.Config(serving.make_app(explored, TOKEN), port=0, log_level="warning")
    server = uvicorn.Server(settings)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        thread.join(30)


def _ask(address: str, question: object = None, token: str = TOKEN, **headers: str):
    body = None if question is None else json.dumps(question).encode()
    request = urllib.request.Request(address, body, headers | {"X-Token": token})
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def test_only_who_has_the_token_is_answered(rows):
    with served(rows) as address:
        status, headers, page = _ask(f"{address}?token={TOKEN}")
        assert status == 200
        assert "connect-src 'self'" in _script_and_policy(page.decode())[1]
        assert TOKEN.encode() not in page
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Frame-Options"] == "DENY"
        assert "Access-Control-Allow-Origin" not in headers
        name = {"facet": 0, "cluster": 1, "name": "light"}
        for wrong in ("", "b-token", "é"):
            assert _ask(f"{address}?token={urllib.request.quote(wrong)}")[0] == 403
            assert _ask(f"{address}name", name, wrong.encode().decode("latin-1"))[0] == 403
        assert rows.run.cluster_names() == ({}, {})
        assert _ask(f"{address}?token={TOKEN}", Host="evil.example")[0] == 400
        assert _ask(f"{address}name", name)[0] == 200
        assert rows.run.cluster_names()[0] == {1: "light"}
        assert _ask(f"{address}pairs", {"first": 0, "second": 1})[0] == 200
        status, headers, table = _ask(f"{address}table", {"rows": [1]})
        assert headers["Content-Type"].startswith("text/csv")
        assert table == rows.table([1])
        for what, question, message in (
            ("name", name | {"name": "2"}, "number"),
            ("name", name | {"cluster": 3}, "from 0 to 2"),
            ("name", {"facet": 0}, "cluster"),
            ("name-facet", {"facet": 2, "name": "a"}, "from 0 to 1"),
            ("traverse", {"row": "x", "facet": 0}, "row"),
            ("swap", [], "dictionary"),
            ("table", {"rows": [99]}, "from 0 to 11"),
        ):
            status, _, answer = _ask(f"{address}{what}", question)
            assert status == 400, what
            assert message in json.loads(answer)["error"]
        assert _ask(f"{address}pairs")[0] == 405
        assert _ask(f"{address}other", {})[0] == 404
        rows.run.names_path.write_text("[]")
        status, _, answer = _ask(f"{address}?token={TOKEN}")
        assert (status, b"names.json is damaged" in answer) == (500, True)


def _mfcvae(*arguments: object):
    return CliRunner().invoke(main, list(map(str, arguments)), prog_name="mfcvae")


def test_one_clear_message(rows, monkeypatch, tmp_path):
    path = rows.run.path
    both = _mfcvae("report", path, path, "--interactive")
    assert both.exit_code == 2
    assert "one run" in both.output
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = _mfcvae("explore", path, "--port", port)
    assert result.exit_code == 2
    assert "--port" in result.output
    rows.run.names_path.write_text("[]")
    for command in (("explore", path), ("report", path, "--interactive")):
        result = _mfcvae(*command)
        assert result.exit_code == 1
        assert "names.json is damaged" in result.output
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    result = _mfcvae("explore", path)
    assert result.exit_code == 2
    assert "pyro_mfcvae[explore]" in result.output
    assert not list(path.glob("*.html"))


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def _assert_sound(browser: Browser, host: str = "") -> None:
    browser.assert_sound(host)
    assert browser.ask("document.title").endswith("mfcvae explore")  # nobody's script has run


def _said(browser: Browser, text: str) -> None:
    browser.wait_for(f"document.getElementById('said').textContent.includes({json.dumps(text)})")


@needs_browser
@pytest.mark.parametrize("which", ["pictures", "rows"])
def test_a_browser_shows_the_file(which, request, browser, tmp_path):
    explored = request.getfixturevalue(which)
    path = write_page(explored.run.path, tmp_path / "page.html")
    for width, scheme in ((390, "dark"), (1200, "light")):
        browser.open(path, width, scheme=scheme)
        browser.wait_for("document.querySelector('#pairs td') !== null")
        browser.ask("document.querySelector('#clusters button').click()")
        browser.ask("document.querySelector('#cluster .controls button').click()")
        assert browser.ask("document.documentElement.scrollWidth") <= width
        _assert_sound(browser)
    n = len(explored.seen.x)
    assert browser.ask("document.querySelectorAll('#points [role=option]').length") == n
    assert browser.ask("document.querySelectorAll('#points .center').length") > 0


@needs_browser
def test_the_keyboard_reaches_everything(pictures, browser, tmp_path):
    browser.open(write_page(pictures.run.path, tmp_path / "page.html"), 1200)
    browser.press_tab()
    assert browser.ask("document.activeElement.className") == "skip"
    reached = set()
    for _ in range(200):
        browser.press_tab()
        reached.add(browser.ask("document.activeElement.id"))
        if browser.ask("document.activeElement.id") == "points":
            break
    assert {"facet", "colour", "points"} <= reached
    current = "document.getElementById('points').getAttribute('aria-activedescendant')"
    browser.press("End", 35)
    assert browser.ask(current) == f"p{len(pictures.seen.x) - 1}"
    browser.press("Home", 36)
    assert browser.ask(current) == "p0"
    seen = {"p0"}
    for _ in range(3):
        for key, number in (("ArrowRight", 39), ("ArrowDown", 40), ("ArrowLeft", 37)):
            browser.press(key, number)
            seen.add(browser.ask(current))
    assert len(seen) > 2
    label = browser.ask(f"document.getElementById({current}).getAttribute('aria-label')")
    assert label.startswith("observation ")
    browser.press(" ", 32)
    _said(browser, "1 selected")
    state = f"document.getElementById({current}).getAttribute('aria-selected')"
    assert browser.ask(state) == "true"
    assert browser.ask("document.activeElement.id") == "points"
    outline = browser.ask("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"


@needs_browser
@pytest.mark.parametrize("which", ["pictures", "rows"])
def test_a_browser_works_with_the_server(which, request, browser):
    explored = request.getfixturevalue(which)
    with served(explored) as address:
        browser.open(f"{address}?token={TOKEN}", 1200)
        browser.wait_for("document.querySelector('#pairs td') !== null")
        browser.ask("document.querySelector('#clusters button').click()")
        number = int(browser.ask("document.querySelector('#clusters button').dataset.cluster"))
        for name, text in (("3", "number of another"), (EVIL, "is called </script>")):
            browser.ask(f"document.getElementById('cluster-name').value = {json.dumps(name)}")
            browser.ask("document.querySelector('#cluster form button').click()")
            _said(browser, text)
        assert explored.run.cluster_names()[0] == {number: EVIL}
        browser.ask("document.getElementById('facet-name').value = 'hue'")
        browser.ask("document.querySelector('#facet-name-form button').click()")
        _said(browser, "Facet 0 is called hue.")
        assert explored.run.facet_names() == {0: "hue"}
        for select in ("facet", "swap-facet", "pair"):
            options = browser.ask(f"document.getElementById('{select}').textContent")
            assert options.startswith("facet hue"), select
        assert browser.errors == [
            "Failed to load resource: the server responded with a status of 400 (Bad Request)"
        ]
        browser.errors.clear()
        for part in ("traverse", "swap"):
            browser.ask(f"document.getElementById('{part}-go').click()")
            browser.wait_for(f"document.getElementById('{part}').children.length > 0")
        slider = "document.querySelector('.slider input')"
        before = browser.ask("document.querySelector('.slider').textContent")
        browser.ask(f"{slider}.focus()")
        browser.press("ArrowRight", 39)
        after = browser.ask("document.querySelector('.slider').textContent")
        assert "+0.5 sd" in after
        assert after != before
        x, y, width, height = browser.ask(
            "scrollTo(0, 0), (box => [box.x, box.y, box.width, box.height])"
            "(document.querySelector('#map svg').getBoundingClientRect())"
        )
        browser.drag((x + 2, y + 2), (x + width - 2, y + height - 2))
        _said(browser, f"{len(explored.seen.x)} selected")
        _assert_sound(browser, address)
        browser.open(f"{address}?token={TOKEN}", 390)
        legend = browser.ask("document.getElementById('legend').textContent")
        assert EVIL in legend
        _assert_sound(browser, address)


@needs_browser
def test_one_facet_without_labels_has_no_pairs_and_no_swaps(rows, browser, tmp_path):
    values = config_to_dict(with_facets(tiny_config(**ALONE), "2:1"))
    np.savez(tmp_path / "bare.npz", x=rows.seen.x.numpy())
    data = {"name": "file", "options": {"path": str(tmp_path / "bare.npz")}}
    values |= {"data": values["data"] | data, "preset": None}
    run = experiment.train(config_from_dict(values), tmp_path / "one")[0]
    alone = open_run(run.path)
    content = alone.content()
    assert content["swaps"] == "the model has one facet only"
    assert content["pairs"] == content["labels"] == []
    assert content["columns"][0] == "column 0"
    assert not content["facets"][0]["has_clusters"]
    browser.open(write_page(run.path), 1200)
    assert browser.ask("document.getElementById('pairs-section').hidden")
    assert "has no clusters" in browser.ask("document.getElementById('clusters').textContent")
    _assert_sound(browser)


@pytest.mark.slow
def test_ctrl_c_ends_the_page(pictures):
    words = [sys.executable, "-m", "pyro_mfcvae", "explore", str(pictures.run.path), "--no-browser"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    address = process.stdout.readline().strip()
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+/\?token=[\w-]{32}", address)
    assert _ask(address)[0] == 200
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert "Traceback" not in process.stderr.read()
