"""The experiments of the papers, for ``mfcvae reproduce``."""

from pyro_mfcvae.studies.papers import (  # noqa: F401, I001  (they register, in this order)
    tables,
    toy,
    pictures,
    curves,
    ablations,
    vlac,
    gmvae,
    ugvae,
    family,
)
from pyro_mfcvae.studies.jobs import Arm, Outcome
from pyro_mfcvae.studies.papers.driver import Plan, Request, reproduce
from pyro_mfcvae.studies.papers.experiment import (
    EXPERIMENTS,
    SCALES,
    Experiment,
    accuracy,
    agreement,
    register_experiments,
    seeds,
)
from pyro_mfcvae.studies.papers.preset_seeds import get_experiment
from pyro_mfcvae.studies.results import Entry

__all__ = [
    "EXPERIMENTS",
    "SCALES",
    "Arm",
    "Entry",
    "Experiment",
    "Outcome",
    "Plan",
    "Request",
    "accuracy",
    "agreement",
    "get_experiment",
    "register_experiments",
    "reproduce",
    "seeds",
]
