"""Equations as MathML, which browsers draw themselves: no script, no font, no network."""

import re
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Let settings choose ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


_LONGEST = 120  # of a line, in letters of TeX
_SCRIPT = {"L": "\N{SCRIPT CAPITAL L}", "N": "\N{MATHEMATICAL SCRIPT CAPITAL N}"}


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(_mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    equations = "".join(_mathml(line, "block") for line in _lines(node.astext()))
    writer.body.append(f'<div class="equation" tabindex="0">{equations}</div>\n')
    raise nodes.SkipNode


def _lines(tex: str) -> list[str]:
    """A long equation as the lines that it was written in, where none ends within braces."""
    lines = [line for line in re.split(r"\\qquad|\n\s*(?=[-+])", tex) if line.strip()]
    whole = all(line.count("{") == line.count("}") for line in lines)
    return lines if len(tex) > _LONGEST and whole else [tex]


def _mathml(tex: str, display: str) -> str:
    """MathML of TeX, with what browsers leave out of it: script letters, and blanks after log."""
    found = convert(re.sub(r"\\log\b", r"\\log\\,", tex), display=display)
    for letter, script in _SCRIPT.items():
        found = found.replace(f'<mi mathvariant="script">{letter}</mi>', f"<mi>{script}</mi>")
    return found.replace("<mi>&#x0007E;</mi>", "<mo>&#x0223C;</mo>")
