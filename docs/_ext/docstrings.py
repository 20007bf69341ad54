"""Docstrings and help texts as they are written here: (B, *event) is no emphasis, for instance."""

import re
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx

_TRAILING = re.compile(r"^(:\w+ \w+)_:")
_STAR = re.compile(r"(?<![\w\\*`])\*(?=\w)")


def setup(app: Sphinx) -> dict[str, Any]:
    """Escape stars after napoleon has read the sections of a docstring."""
    app.connect("missing-reference", _leave_type)
    app.connect("doctree-read", _draw_dashes)
    app.connect("sphinx-click-process-description", _keep_examples)
    app.connect("autodoc-process-docstring", _escape, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _escape(app: Sphinx, what: str, name: str, of: Any, options: Any, lines: list[str]) -> None:
    for i, line in enumerate(lines):
        line = _TRAILING.sub(r"\1\\_:", line)
        parts = line.split("``")  # every other one is literal
        lines[i] = "``".join(p if k % 2 else _STAR.sub(r"\\*", p) for k, p in enumerate(parts))


def _leave_type(app: Sphinx, env: Any, node: nodes.Element, content: nodes.Node) -> Any:
    """A type in a signature stays text where it has no page; a role must lead somewhere."""
    is_type = node["refdomain"] == "py" and not isinstance(content, nodes.literal)
    return content if is_type else None


def _keep_examples(app: Sphinx, context: Any, lines: list[str]) -> None:
    """Examples of a help text are literal; sphinx-click gives them as a block of lines."""
    for i, line in enumerate(lines):
        if line.startswith("| Example"):
            lines[i] = f"{line[2:]}:\n"
        elif line.startswith("| "):
            lines[i] = f"    {line[2:]}"
    lines[:] = "\n".join(lines).split("\n")


def _draw_dashes(app: Sphinx, page: nodes.document) -> None:
    """Between an argument and what it is; two of them in other places are an option."""
    for text in [node for node in page.findall(nodes.Text) if node == " -- "]:
        text.parent.replace(text, nodes.Text(" – "))
