"""What checks the documentation sees what is wrong with it; CI builds it and runs the check."""

from __future__ import annotations

import sys
from itertools import product

import pytest
from browser import Browser, needs_browser
from conftest import ROOT

SITE = ROOT / "build" / "site"
PAGES = [
    "index.html",
    "start.html",
    "comparison.html",  # has wide tables
    "mathematics.html",
    "models.html",
    "gallery/index.html",
    "gallery/plain_pyro.html",
    "api/generated/pyro_mfcvae.guides.html",
    "search.html",
]
LONG = ["settings.html", "commands.html", "changelog.html", "measured.html", "genindex.html"]
VIEWS = [(390, "light"), (1200, "dark"), (390, "dark"), (1200, "light")]


@pytest.fixture
def broken_links(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs" / "_ext")
    yield __import__("links").broken_links
    del sys.modules["links"]


def test_links_that_lead_nowhere_are_found(broken_links, tmp_path):
    (tmp_path / "folder").mkdir()
    other = '<a href="../index.html#here">a</a> <a href="../index.html#there">b</a>'
    (tmp_path / "folder" / "other.html").write_text(other)
    text = (
        '<h1 id="here">A</h1> <a href="#here">a</a> <a href="folder/other.html">b</a>'
        '<a href="missing.html">c</a> <img src="missing.png"> <a href="https://pyro.ai">d</a>'
    )
    (tmp_path / "index.html").write_text(text)
    assert sorted(broken_links(tmp_path)) == [
        "folder/other.html: ../index.html#there",
        "index.html: missing.html",
        "index.html: missing.png",
    ]


def test_what_another_host_would_see_is_found(broken_links, tmp_path):
    text = '<script src="https://a.b/c.js"></script> <img src="data:image/png;base64,">'
    (tmp_path / "index.html").write_text(text + '<link rel="stylesheet" href="//a.b/d.css">')
    found = ["index.html: https://a.b/c.js", "index.html: //a.b/d.css"]
    assert broken_links(tmp_path) == found


@needs_browser
@pytest.mark.slow
@pytest.mark.skipif(not SITE.is_dir(), reason=".ci/site has not built the site")
def test_a_browser_shows_the_site(tmp_path):
    with Browser(tmp_path / "profile") as browser:
        for page, (width, scheme) in [*product(PAGES, VIEWS), *product(LONG, VIEWS[:2])]:
            browser.open(SITE / page, width, scheme=scheme)
            assert browser.ask("document.documentElement.scrollWidth") <= width, page
            browser.assert_sound()
