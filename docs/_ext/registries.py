"""Pages made of what the library knows by name, each kind by a directive of its own."""

import importlib
import inspect
from collections.abc import Iterator
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

import pyro_mfcvae
from pyro_mfcvae.config.described import SETTINGS, Setting
from pyro_mfcvae.evaluation.measures import MEASURES
from pyro_mfcvae.presets import PRESETS
from pyro_mfcvae.registry import Registry

# These register everything that has a name.
for module in ("data", "guides", "models", "nets", "studies.papers", "training.start.pretrain"):
    importlib.import_module(f"pyro_mfcvae.{module}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Make the directives known."""
    app.add_directive("settings", Settings)
    app.add_directive("parts", Parts)
    app.add_directive("measures", Measures)
    app.add_directive("presets", Presets)
    app.add_directive("front-door", FrontDoor)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class _Written(SphinxDirective):
    """Something that is written as Markdown, and read as if it stood on the page."""

    def run(self) -> list[nodes.Node]:
        return self.parse_text_to_nodes("\n".join(self.lines()), allow_section_headings=True)

    def lines(self) -> Iterator[str]:
        raise NotImplementedError


class Settings(_Written):
    """All settings, a section for each class of them."""

    def lines(self) -> Iterator[str]:
        places: dict[str, list[Setting]] = {}
        for setting in SETTINGS.values():
            places.setdefault(setting.name.rpartition(".")[0], []).append(setting)
        for place, settings in places.items():
            yield f"## {place or 'The run'}\n"
            for setting in settings:
                yield from _described(setting)


def _described(setting: Setting) -> Iterator[str]:
    default = "must be given" if setting.default is None else f"default `{setting.default}`"
    kept = "" if setting.changes_results else "; changes no result"
    yield f"(setting-{setting.name})="
    yield f"`{setting.name}`"
    yield f": {setting.description[0].upper()}{setting.description[1:]}\n"
    yield f"  *{setting.values}; {default}{kept}*\n"


class Parts(_Written):
    """All parts of one kind, such as ``guide``: code with its docstring, all else in a line."""

    required_arguments = 1
    final_argument_whitespace = True

    def lines(self) -> Iterator[str]:
        (registry,) = (each for each in Registry.all if each.what == self.arguments[0])
        for name, part in registry.items():
            if part.__module__ == "__main__":  # of an example that has been run
                continue
            if inspect.isclass(part) or inspect.isfunction(part):
                kind = "class" if inspect.isclass(part) else "function"
                yield f"### `{name}`\n"
                yield f"```{{eval-rst}}\n.. auto{kind}:: {part.__module__}.{part.__qualname__}"
                yield "   :no-index:\n```\n"
            else:
                yield f"`{name}`\n: {registry.describe(name)}\n"


class Measures(_Written):
    """The table of measures."""

    def lines(self) -> Iterator[str]:
        for name, measure in MEASURES.items():
            better = {True: "more is better", False: "less is better", None: ""}
            told = ", ".join(filter(None, [measure.title, better[measure.more_is_better]]))
            yield f"`{name}`\n: {measure.explanation}\n\n  *{told}*\n"


class Presets(_Written):
    """The presets, with their sources and the results to expect."""

    def lines(self) -> Iterator[str]:
        for preset in PRESETS.values():
            yield f"`{preset.name}`\n: {preset.description}\n"
            yield f"  *Source:* {preset.source}\n\n  *Expected:* {preset.expected}\n"


class FrontDoor(_Written):
    """What the package itself offers, with links to where it is described."""

    def lines(self) -> Iterator[str]:
        yield "```{eval-rst}"
        for name in pyro_mfcvae.__all__:
            offered = getattr(pyro_mfcvae, name)
            if home := pyro_mfcvae._HOMES.get(name):
                kind = "class" if inspect.isclass(offered) else "func"
                first = (inspect.getdoc(offered) or "").partition("\n")[0].replace("*", r"\*")
                yield f":py:{kind}:`{name} <pyro_mfcvae.{home}.{name}>`\n   {first}\n"
        yield "```"
