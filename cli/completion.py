"""What a shell completes: names from registries, imported only then, and runs."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_in(registry: str, or_else: str = "") -> Complete:
    """Completes names of a registry.

    Args:
        registry: ``package:NAME``, within the library, of names or of what returns them.
        or_else: what else may stand there, ``"file"`` or ``"dir"``.
    """

    def complete(
        ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        package, _, name = registry.partition(":")
        known = getattr(import_module(f"pyro_mfcvae.{package}"), name)
        known = known() if callable(known) else known
        found = [CompletionItem(each) for each in sorted(known) if each.startswith(incomplete)]
        return found or ([CompletionItem(incomplete, type=or_else)] if or_else else [])

    return complete


def complete_runs(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Completes folders of runs: those under ``runs``, and others by their path."""
    runs = sorted(path.parent for path in Path().glob("runs/*/config.json"))
    found = [CompletionItem(str(run)) for run in runs if str(run).startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="dir")]


PRESETS = names_in("presets:PRESETS")
PRETRAINED = names_in("pretrained:pretrained_models")
EXPERIMENTS = names_in("studies.papers:EXPERIMENTS")
DATASETS = names_in("data:DATASETS", "file")
MODELS = names_in("models:MODELS", "file")
GUIDES = names_in("guides:GUIDES", "file")
TRACKERS = names_in("training.trackers:TRACKERS")
