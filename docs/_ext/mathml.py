"""Equations as MathML, which browsers draw themselves: no script, no font, no network."""

from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx


def setup(app: Sphinx) -> dict[str, Any]:
    """Let settings choose ``html_math_renderer = "mathml"``."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _inline(writer: Any, node: nodes.math) -> None:
    writer.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _block(writer: Any, node: nodes.math_block) -> None:
    ids = "".join(f' id="{name}"' for name in node["ids"][:1])
    equation = tex2mathml(node.astext(), as_block=True)
    writer.body.append(f'<div class="equation"{ids} tabindex="0">{equation}</div>\n')
    raise nodes.SkipNode
