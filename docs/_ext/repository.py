"""Links to files of the repository, which the pages of the site and of the repository share.

A page may include such a file: ``{include} ../CONTRIBUTING.md``. Links of that file are relative to
where it lies, so they are turned here; and links to it lead to the page that includes it.
"""

import os
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import SphinxRole

DOCS = Path(__file__).resolve().parents[1]
_LINK = re.compile(r"(\]\()(?!https?:|#)([^)#\s]+)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Turn links as pages, and what they include, are read."""
    app.add_config_value("included_files", {}, "env")
    app.add_role("test", Test())
    app.connect("config-inited", _find_included)
    app.connect("source-read", _of_page)
    app.connect("include-read", _of_included)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Test(SphinxRole):
    """``{test}`FILE::NAME```: a test of the repository, which must be there."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        file, _, name = self.text.partition("::")
        path = DOCS.parent / file
        if not path.is_file() or f"def {name}(" not in path.read_text():
            raise ExtensionError(f"{self.env.docname}: there is no test {self.text}")
        return [nodes.literal(self.text, f"{path.name}::{name}", classes=["test"])], []


def _find_included(app: Sphinx, config: Any) -> None:
    """{file: page} of every file that a page includes; records of results get a page each."""
    (DOCS / "records").mkdir(exist_ok=True)
    for record in (DOCS.parent / "examples" / "results").glob("*.md"):
        page = (
            f"---\norphan: true\n---\n\n```{{include}} ../../examples/results/{record.name}\n```\n"
        )
        (DOCS / "records" / record.name).write_text(page)
    config.included_files = {
        os.path.normpath(page.parent / file): str(page)
        for page in DOCS.rglob("*.md")
        for file in re.findall(r"\{include\} (\S+)", page.read_text())
    }


def _of_page(app: Sphinx, page: str, source: list[str]) -> None:
    path = Path(app.env.doc2path(page))
    if path.suffix == ".md":
        source[0] = _turned(app, source[0], path.parent, path.parent)


def _of_included(app: Sphinx, file: Path, page: str, content: list[str]) -> None:
    here = Path(app.env.doc2path(page)).parent
    content[0] = _turned(app, content[0], (DOCS / file).resolve().parent, here)


def _turned(app: Sphinx, text: str, of: Path, here: Path) -> str:
    """A text with the links of the folder ``of`` as links of the folder ``here``."""

    def turn(match: re.Match[str]) -> str:
        target = os.path.normpath(of / match[2])
        target = app.config.included_files.get(target, target)
        example = os.path.relpath(target, DOCS.parent / "examples")
        if re.fullmatch(r"\w+\.py", example):
            target = str(DOCS / "gallery" / f"{example[:-3]}.rst")
        elif example == ".":
            target = str(DOCS / "gallery" / "index.rst")
        return match[1] + os.path.relpath(target, here)

    return _LINK.sub(turn, text)
