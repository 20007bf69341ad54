"""Pages: facts into templates, and onto the disk.

A page asks for nothing: styles and pictures are inside, there is no script, and its content
security policy forbids whatever a text that slipped through might try. Texts are escaped by the
templates.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined

from pyro_mfcvae import __version__
from pyro_mfcvae.config import config_to_json
from pyro_mfcvae.errors import ConfigError, RunError
from pyro_mfcvae.evaluation import tables
from pyro_mfcvae.evaluation.results import Evaluation
from pyro_mfcvae.figures import all_figures
from pyro_mfcvae.files import open_regular, write_whole
from pyro_mfcvae.report import comparison, origin, summary
from pyro_mfcvae.report.facts import Facts, gather
from pyro_mfcvae.report.pictures import Picture, make_picture
from pyro_mfcvae.runs.run import Run
from pyro_mfcvae.tables import Table
from pyro_mfcvae.training.say import Say

_NAME = "report.html"
_MARK = '<meta name="generator" content="mfcvae report'


@dataclass(frozen=True)
class Section:
    """Part of a page.

    Attributes:
        anchor: its name in links.
        title: its heading.
        tables: in their order.
        pictures: in their order.
        text: before both.
        first: tables before the pictures.
    """

    anchor: str
    title: str
    tables: tuple[Table, ...] = ()
    pictures: tuple[Picture, ...] = ()
    text: str = ""
    first: tuple[Table, ...] = ()


def write_report(
    paths: Sequence[Path | str],
    out: Path | str | None = None,
    data_dir: Path | None = None,
    say: Say = lambda _: None,
) -> Path:
    """Write one HTML page on a run, or on several runs side by side.

    What has not been measured or drawn is done first, and left in the runs' folders.

    Args:
        paths: of run folders.
        out: the file; None takes ``report.html`` in the run's folder, or in the current one for
            several runs. An earlier report is replaced.
        data_dir: folder of the data's files, in place of that in the settings.
        say: is told what is going on.

    Returns:
        the file.

    Raises:
        ConfigError: if a run is given twice, or the file's place is taken or missing.
        RunError: if a folder is no run, or there is nothing to report on it.
    """
    runs = [Run(path) for path in paths]
    folders = [run.path.resolve() for run in runs]
    for i, run in enumerate(runs):
        if folders[i] in folders[:i]:
            raise ConfigError(f"{run.path} is given twice; name every run once")
    path = Path(out) if out is not None else (runs[0].path if len(runs) == 1 else Path()) / _NAME

    def make() -> str:
        gathered = [gather(run, data_dir, say) for run in runs]
        for facts in gathered:
            for note in facts.notes:
                say(f"{facts.run.path}: {note}")
        return run_page(gathered[0]) if len(gathered) == 1 else comparison_page(gathered)

    return save_page(path, make)


def save_page(path: Path, make: Callable[[], str]) -> Path:
    """Make a page, once it is known that it can go there, and write it.

    Args:
        path: of the file. An earlier report is replaced.
        make: makes the page.

    Raises:
        ConfigError: if the file's place is taken or missing.
    """
    _check_destination(path)
    # Written with references for all but ASCII, so that no locale can spoil it.
    write_whole(path, make().encode("ascii", "xmlcharrefreplace").decode("ascii"))
    return path


def run_page(facts: Facts) -> str:
    """The page on one run."""
    found = facts.evaluation
    return render(
        "run.html",
        title=facts.name,
        subtitle=f"{_settings_name(facts)}, {summary.status(facts)}",
        facts=facts,
        summary=summary.summarise(facts),
        overview=found and tables.overview_table(found),
        sections=[s for s in _run_sections(facts) if s.tables or s.pictures or s.text],
        finding=lambda picture: _finding(facts, picture),
        settings=origin.settings_table(facts.run.config),
        config=config_to_json(facts.run.config),
        provenance=origin.origin_table(facts),
        measures=tables.explain_measures(found) if found else (),
        repetition=origin.how_to_repeat(facts),
        again=origin.how_to_measure(facts),
    )


def comparison_page(runs: Sequence[Facts]) -> str:
    """The page on several runs."""
    compared = comparison.compare(runs)
    records = {name: facts.metrics for name, facts in zip(compared.names, runs, strict=True)}
    kinds = [figure for figure in all_figures() if figure.reads == "runs"]
    n_facets = max(len(facts.run.config.model.facets) for facts in runs)
    return render(
        "comparison.html",
        title=f"{len(runs)} runs compared",
        compared=compared,
        runs=list(zip(compared.names, runs, strict=True)),
        summaries=[summary.summarise(facts) for facts in runs],
        statuses=[f"{_settings_name(facts)}, {summary.status(facts)}" for facts in runs],
        settings=comparison.differing_settings(compared),
        means=comparison.means_in_words(compared),
        results=comparison.results_table(compared),
        found=comparison.found_table(compared),
        facets=comparison.facets_table(compared),
        curves=[
            make_picture(kind, kind.draw(kind.compute(records)))
            for kind in kinds
            if kind.fits(records) is None
        ],
        galleries=[
            [
                (name, facts, picture)
                for name, facts in zip(compared.names, runs, strict=True)
                for picture in facts.pictures
                if picture.name == f"clusters-facet-{j}"
            ]
            for j in range(n_facets)
        ],
        finding=_finding,
    )


def _check_destination(path: Path) -> None:
    """Raise a ConfigError unless a report can go there without harm to another file."""
    if not path.parent.is_dir():
        raise ConfigError(f"{path.parent} is no folder; make it first, or choose another --out")
    if path.is_dir():
        raise ConfigError(f"{path} is a folder; give the name of a file, such as {path / _NAME}")
    if os.path.lexists(path) and not _is_report(path):
        raise ConfigError(
            f"{path} exists and is no report of this command, so it is left alone; choose another "
            "--out"
        )


def _is_report(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return _MARK.encode() in file.read(2000)
    except RunError:
        return False


def _run_sections(facts: Facts) -> list[Section]:
    """Facets, all facets together, training, probe, guides, and what is of no known kind."""
    pictures, found, compared = list(facts.pictures), facts.evaluation, facts.comparison
    names, clusters = facts.run.facet_names(), facts.run.cluster_names()

    def take(wanted: Callable[[Picture], bool]) -> tuple[Picture, ...]:
        chosen = tuple(picture for picture in pictures if wanted(picture))
        pictures[:] = [picture for picture in pictures if picture not in chosen]
        return chosen

    def make(*makers: Callable[[Evaluation], Table | None]) -> tuple[Table, ...]:
        made = [maker(found) for maker in makers] if found else []
        return tuple(table for table in made if table is not None)

    sections = [
        Section(
            f"facet-{j}",
            f"Facet {j}: {names[j]}" if j in names else f"Facet {j}",
            make(lambda results, j=j: tables.facet_table(results, j)),  # type: ignore[misc]
            take(lambda picture, j=j: picture.facets == (j,)),  # type: ignore[misc]
            f"{summary.describe_facet(facts, j)} {summary.explain_missing(facts, (j,))}".strip(),
            make(lambda results, j=j: tables.clusters_table(results, j, clusters[j])),  # type: ignore[misc]
        )
        for j in range(len(facts.run.config.model.facets))
    ]
    together = take(lambda p: len(p.facets) > 1 or p.kind.section == "together")
    missing = summary.explain_missing(facts, ())
    use = make(tables.use_table, tables.pairs_table)
    sections.append(Section("together", "All facets together", use, together, missing))
    guide = facts.run.config.guide
    objective = make(
        lambda results: tables.elbo_table(results, f"guide {guide.name}, S = {guide.n_samples}"),
        tables.run_table,
        tables.bound_table,
        tables.diversity_table,
    )
    curves = take(lambda picture: picture.kind.section == "training")
    sections.append(Section("training", "Training and objective", objective, curves))
    sections.append(Section("probe", "Probe", make(tables.probe_table)))
    guides = take(lambda picture: picture.kind.section == "guides")
    made = [tables.guides_table(compared), tables.guide_terms_table(compared)] if compared else []
    sections.append(Section("guides", "Guides", tuple(filter(None, made)), guides))
    sections.append(Section("further", "Further figures", (), tuple(pictures)))
    return sections


def _finding(facts: Facts, picture: Picture) -> str:
    """What is known of a figure's facet, for its alternative text."""
    if len(picture.facets) != 1 or not facts.facets:
        return ""
    return summary.describe_facet(facts, picture.facets[0])


def _settings_name(facts: Facts) -> str:
    config = facts.run.config
    return f"preset {config.preset}" if config.preset else f"data {config.data.name}"


def render(template: str, package: str = "pyro_mfcvae.report", **names: Any) -> str:
    """A page from its template, with every text escaped.

    Args:
        template: its name.
        package: that has it; templates that it builds on may be those of this package.
        **names: what the template shows.
    """
    packages = dict.fromkeys((package, "pyro_mfcvae.report"))
    environment = Environment(
        loader=ChoiceLoader([PackageLoader(each) for each in packages]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(version=__version__, **names)
