"""The experiments of the papers, for ``mfcvae reproduce``."""

from pyro_mfcvae.studies.papers import (  # noqa: F401, I001  (they register, in this order)
    tables,
    diversity,
    toy,
    pictures,
    curves,
    ablations,
    vlac,
    gmvae,
    arcs,
    ugvae,
    family,
)
from pyro_mfcvae.studies.papers.definition import (
    EXPERIMENTS,
    SCALES,
    Arm,
    Entry,
    Experiment,
    Outcome,
    register_experiments,
)
from pyro_mfcvae.studies.papers.driver import Plan, Request, reproduce
from pyro_mfcvae.runs.complete import Interrupted
from pyro_mfcvae.studies.papers.seeds import get_experiment

__all__ = [
    "EXPERIMENTS",
    "SCALES",
    "Arm",
    "Entry",
    "Experiment",
    "Interrupted",
    "Outcome",
    "Plan",
    "Request",
    "get_experiment",
    "register_experiments",
    "reproduce",
]
