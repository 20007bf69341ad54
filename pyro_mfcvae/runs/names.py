"""Names of a run's facets and clusters, as its folder keeps them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ConfigDict
from typing_extensions import TypedDict

from pyro_mfcvae.files import read_json, validated, write_whole
from pyro_mfcvae.naming import Names, check_facet_names, check_names


class _Written(TypedDict, total=False):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]
    facets: dict[int, str]
    clusters: list[dict[int, str]]


@dataclass(frozen=True)
class Given:
    """Names that a person gave.

    Attributes:
        facets: of facets.
        clusters: of each facet's clusters.
    """

    facets: Names
    clusters: tuple[Names, ...]


def read_names(path: Path, n_clusters: Sequence[int]) -> Given:
    """The names in ``names.json``, which may be missing; K of each facet tells what can have some.

    Raises:
        RunError: if the file is damaged, or its names are of other facets or clusters.
    """

    def read(values: Any) -> Given:
        record = validated(_Written, values)
        facets = check_facet_names(record.get("facets", {}), len(n_clusters))
        return Given(facets, check_names(record.get("clusters", []), n_clusters))

    try:
        return read_json(path, read, "; mend or remove it")
    except FileNotFoundError:
        return Given({}, tuple({} for _ in n_clusters))


def write_names(path: Path, given: Given, n_clusters: Sequence[int]) -> None:
    """Replace ``names.json``; empty names are left out.

    Raises:
        ValueError: if a facet or a cluster does not exist, or cannot be called so.
    """
    facets = check_facet_names(_without_empty(given.facets), len(n_clusters))
    clusters = check_names([*map(_without_empty, given.clusters)], n_clusters)
    record = {"facets": facets, "clusters": clusters}
    write_whole(path, json.dumps(record, indent=2) + "\n")


def _without_empty(names: Names) -> Names:
    return {k: name for k, name in names.items() if name.strip()}
