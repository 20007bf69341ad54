"""Many settings and seeds: what is trained, what trains it, and what came out."""

from pyro_mfcvae.runs.complete import Interrupted
from pyro_mfcvae.studies.sweep.driver import Sweep
from pyro_mfcvae.studies.sweep.engines import InTurn, Processes, SweepEngine, Watch
from pyro_mfcvae.studies.sweep.objective import Objective
from pyro_mfcvae.studies.sweep.on_ray import OnRay
from pyro_mfcvae.studies.sweep.spec import EXAMPLE, Random, Space, Spec, read_spec, spec_from_dict
from pyro_mfcvae.studies.sweep.trials import Trial

__all__ = [
    "EXAMPLE",
    "InTurn",
    "Interrupted",
    "Objective",
    "OnRay",
    "Processes",
    "Random",
    "Space",
    "Spec",
    "Sweep",
    "SweepEngine",
    "Trial",
    "Watch",
    "read_spec",
    "spec_from_dict",
]
